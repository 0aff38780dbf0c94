"""What runs in the kernel under test to see every call of every hook: BPF programs, and what loads and arms them.

The life of a trace: ``tracer`` reads the kernel's types (``btf``, ``layout``), finds the verdict loops (``loops``) and the places of its
probes in their code (``probes``; ``stack``: how deep it is there; ``emulated``: where a probe costs one exception), compiles the programs
(``*.bpf.c``) with both, and loads them. A ``capture`` arms the probes (``kprobes``), takes records from the rings (``ring``) and balances
the books when it closes: what does not balance, or a ``witness`` that saw probes switched off, is a doubt. What the records tell is
:mod:`harness.walks`'.

Read ``tracer``, then ``capture``. ``compiler`` is the program that compiles, where BCC is; ``bytecode`` loads what comes out. ``symbols``
and ``modules`` name addresses, ``chains`` base chains of nftables, ``rules`` and ``tables`` find where its rules and those of xtables'
tables give verdicts, ``registrations`` where hooks come and go, ``turns`` what becomes of packets between hook points, ``connections`` the
key of conntrack's ids; ``bugs`` finds warnings that are built in, ``kmsg`` reads the kernel's log. All of it but ``compiler`` runs in a
guest, as root.
"""
