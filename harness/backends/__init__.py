"""Where a kernel to run on comes from: a template's guest, a Vagrant machine, this machine, or one that ssh reaches; and the host's ends
of what runs there.

The life of an open guest: ``sources`` turns a kernel's name and a backend (``names``) into a source of guests, ready for a purpose (to
watch a command, to run scenarios, to run tests). A template's guest is restored fresh (:mod:`harness.vm`). On a kernel that ran before
(``machine``), ``attached`` starts an agent over a command's standard streams: ``local`` with sudo, ``ssh`` on another machine, ``vagrant``
on one of Vagrant's. The agent prepares itself, serves, and undoes what it did when the host hangs up.

Read ``sources``, then ``executor`` (runs scenarios: the other end is :mod:`harness.guest.executor`) and ``observer`` (watches a command:
the other end is :mod:`harness.guest.observe`). ``following`` gives its packets as they come to their ends, ``filtering`` leaves out those
that are not asked for, ``stories`` is both as a Python iterator; ``programs`` keeps what a machine has compiled for the tracer. A machine's
kernel keeps what is done to it; only a template's guest is new each time.
"""
