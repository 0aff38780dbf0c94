"""A guest's first process, from the kernel's start to the host's commands: stage 0, the agent, its children, what it prepares.

The life of a guest: ``init.sh`` mounts the userland under a tmpfs; ``stage0`` mounts the rest, greets the host, takes the project's code
and becomes the agent (``agent``). Told to prepare, the agent imports, loads nfharness.ko and the tracer, and rehearses (``prepare``),
then says that it is ready, and QEMU saves it. A restored guest goes on from there: wake (clock, random numbers), newer code if there is
any, which becomes the next agent and takes over the tracer, and open: each command or function is a child (``child``), a fork of the agent.

Read ``stage0``, ``agent``, ``child``, ``prepare``. ``interpreter`` is ``python3`` in such a fork, ``packages`` lays a disk over the
root. On a machine that ran before, stage 0 starts the agent as a process like any other. The host's end is :mod:`harness.vm`; both meet
at :mod:`harness.wire`. What a child does is in :mod:`harness.guest`.
"""
