"""From a tracer's records to packets' stories, and from stories to text. Pure: no kernel, no BCC.

The life of a packet's walk: bytes of a ring are records (``framing``), records are events (``events``), events about one skb are its
life, and lives that belong together are a packet (``lives``). ``assembly`` makes of each packet a
:class:`harness.outcome.types.PacketOutcome`: its traversals with their calls, its summary (``summary``), what hooks made of it
(``changes``), which rule or table decided (``rules``, ``xtables``) and the end that it came to (``ends``). ``render`` and ``lines`` show it
on a terminal, the model's prediction beside it; ``short`` a line each, ``owners`` the hooks, ``pcapng`` a file for Wireshark,
``perfetto`` one for Perfetto; ``diagram`` tells where packets came by, and ``drawing`` where that stands in a picture. ``explain`` tells
what was true of a packet (``here``) for the rules that it met, as they were listed (``listed``), expression by expression
(``expressions``).

Read ``events``, ``lives``, ``assembly``, ``ends`` in this order. ``sightings`` tells apart what the kernel uses again (numbers of
namespaces, addresses of modules), ``window`` which events a long session still needs, ``totals`` what is counted of the others and
``names`` which names they met; ``registrations`` tells which hooks came and went meanwhile and over which array each traversal ran,
``timeline`` puts both in order. ``symbol`` is an address's name, ``filter`` with ``pcap`` says which packets are wanted, ``counts``
compares calls with the hooks' counters, ``losses`` tells when records were lost and which packets were under way. A ``recording`` is all
that assembling needs, ``joined`` makes one of several, ``session_lines`` is a followed one as JSON. What makes the records is in
:mod:`harness.trace`; ``events`` mirrors ``records.bpf.c``.
"""
