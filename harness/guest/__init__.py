"""What runs on the kernel under test: drivers for what is tested, and the executor of scenarios. Root in a guest, or on a machine that is
watched.

The life of a scenario: ``executor`` takes it from the host and keeps what it needs in a ``run``; ``ground`` and ``topology`` build its
namespaces and devices; each step is a function in ``steps``; ``senders`` and ``traffic`` send and await packets; ``journal`` reads each
hook array three ways after each step; ``fates`` and ``health`` say what became of the packets and of the kernel. What the tracer saw, and
what its steps answered, is the outcome.

Read ``executor``, ``run``, ``steps``. Drivers stand by themselves: ``module`` with ``genetlink`` and ``uapi`` (nfharness.ko; ``raw``:
private arrays, ``arrays``: live ones, ``ct``: core's way to conntrack, ``keys``: static keys, ``faults``: allocations that fail),
``netns``, ``first`` (``init_net``, lent), ``changes`` of a network that stands, ``nfnetlink_hook``, ``queue``, ``conntrack``, ``bpf``,
``churn``, ``inventory`` (what stands in a namespace), ``softirq`` and ``settle`` (when a packet is through). ``met`` makes an outcome of
what a step meets; ``leaks``, ``slabs`` and ``procs`` look at what should have gone. ``profile`` asks the kernel where kernels differ,
``observe`` watches a command, ``listing`` lists nftables' rules for it, ``pcap`` filters for a host without libpcap, ``symbolise`` names
addresses for the host, ``tracing`` holds the process's tracer, ``gcov`` takes its counters. ``stress`` with ``stress_tasks``, ``bench``
with ``costs``, and ``cost`` are the guest's ends of commands of these names; ``files`` takes files, ``clock`` tells the time, ``privilege``
says who may run scenarios, ``inotify`` tells what is made and written. Nothing here knows the host: :mod:`harness.agent` calls it.
"""
