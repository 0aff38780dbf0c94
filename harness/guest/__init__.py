"""What runs on the kernel under test: drivers for what is tested, and the executor of scenarios. Root in a guest, or on a machine that is
watched.

The life of a scenario: ``executor`` takes it from the host and keeps what it needs in a ``run``; ``ground`` and ``topology`` build its
namespaces and devices; each step is a function in ``steps``; ``senders`` and ``traffic`` send and await packets; ``journal`` reads each
hook array three ways after each step; ``fates`` and ``health`` say what became of the packets and of the kernel. What the tracer saw, and
what its steps answered, is the outcome.

Read ``executor``, ``run``, ``steps``. Drivers stand by themselves: ``module`` with ``genetlink`` and ``uapi`` (nfharness.ko), ``netns``,
``nfnetlink_hook``, ``queue``, ``conntrack``, ``bpf``. ``profile`` asks the kernel where kernels differ, ``observe`` watches a command,
``listing`` lists nftables' rules for it, ``tracing`` holds the process's tracer. Nothing here knows the host:
:mod:`harness.agent` calls it.
"""
