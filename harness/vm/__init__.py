"""Guests on the host: QEMU, the templates that guests are restored from, and the channel to a guest's agent.

The life of a guest: ``qemu`` boots kernel, userland and layer, ``acceleration`` having proved whether KVM works; the agent greets, and
gets the project's ``code`` over the ``channel``; ``preparation`` says what it imports, loads and rehearses, ``bytecode``
compiles for it on the host; when it is ready,
``template`` saves RAM and device state, once per kernel. Each guest from then on is restored: that RAM mapped copy-on-write, wake, and
processes that are opened and closed. It ends by being killed.

Read ``guest``, ``channel``, ``template``, ``qemu`` in this order. When a guest fails, ``console`` and ``serial`` have its last words,
``stuck`` looks at a kernel that hangs, ``integrity`` at its files, ``ending`` says it to who started it, and ``pace`` tells how fast its
clock runs. ``shipping`` makes one file of a kernel's template. The guest's end of all this is :mod:`harness.agent`.
"""
