"""Exploration: scenarios that nobody has thought of, on the real kernel against the model, and the shortest of those where they differ.

The life of a finding: ``engine`` draws scenarios with Hypothesis (``scenarios``, ``topologies``, ``steps``), each of which makes sense;
``hunt`` runs them on a kernel's guests (``guests``) until one differs or the kernel dies; ``search`` runs it again in a fresh guest, with
what ran before it if it must, and shrinks it (``minimise``); ``kept`` keeps it to be tried first the next time.

Read ``hunt``, ``engine``, ``scenarios``, ``search``. ``sound`` makes a scenario of the steps that are left over. How a kind of step is
drawn is in the file of its concern in ``steps``.
"""
