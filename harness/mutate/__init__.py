"""Mutants of core.c: wrong statements that the rules of a check have to catch.

Read :mod:`harness.mutate.mutant` first. A core.c → :func:`harness.mutate.generate.mutants` (what is wrong, where) →
:mod:`harness.mutate.schemata` (one core.c with all of them, each beside what is right) → :mod:`harness.mutate.build` (a copy of the tree
with it, those left out that do not compile) → :mod:`harness.mutate.run` (a fresh guest for each, the rules of its lines first) →
:mod:`harness.mutate.kept` (what was found, for the next run).
"""
