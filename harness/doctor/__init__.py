"""What the host lacks, and what the cache holds.

``nfharness doctor`` asks ``examine`` (guests of QEMU), ``local`` (the kernel that runs here) or ``vagrant``, one file for each
``--backend``. Each answers with findings: a requirement, why it is there, its state, and a hint. What the host must have in any case is
listed in :mod:`harness.requirements`. ``inventory`` lists the cache for ``nfharness image``: entries, which are current, and which can
go.

Nothing is changed by looking, and nothing needs the network.
"""
