"""Mutants of core.c: wrong statements that the rules of a check have to catch.

The life of a mutant: ``generate`` reads a tree's core.c (``syntax``) and asks each operator (``operators``: ``statements``,
``expressions``) what it would get wrong, and where; ``schemata`` writes one core.c with all mutants, each beside what is right; ``build``
compiles it in a copy of the tree and leaves out those that do not compile; ``campaign`` gives each a fresh guest (``run``), in which the
rules of the changed lines run first (``order``); what became of it is ``kept`` for the next run. ``report`` says how many were caught;
``equivalents`` has the survivors that a run lets pass, each with the reason.

Read ``mutant``, ``operators``, ``schemata``, ``campaign``. The rules are :mod:`harness.conformance`'s; nothing here judges a kernel.
"""
