"""What the host lacks, and what the cache holds.

The life of a finding: ``nfharness doctor`` asks the file of its ``--backend``: ``examine`` (guests of QEMU), ``local`` (the kernel that
runs here) or ``vagrant``. Each goes through its requirements (:mod:`harness.requirements` lists what the host must have in any case) and
answers with findings: a requirement, why it is there, its state, and a hint. For ``nfharness image``, ``inventory`` lists the cache:
entries, which are current, and which can go.

Read ``examine``, then ``inventory``. Nothing is changed by looking, and nothing needs the network.
"""
