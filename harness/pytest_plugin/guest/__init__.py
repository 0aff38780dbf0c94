"""The guest's half of the pytest plugin: xdist's own worker, over one file of tests at a time, and what watches over each test.

The life of a test here: ``worker`` gets the files and the order from the host and starts pytest, which loads the plugin, which registers
``half``; ``watch`` looks around each test at what the kernel said, at its taint, and at what is left behind (``state``, and ``process`` of
the worker itself), and puts back what the next test needs (``standing``, and ``settings`` of the kernel); ``escapes`` catches what would
end pytest instead of a test, ``streams`` opens what a test closed, ``limits`` keeps back the agent's share, ``orphans`` lets dead ones go;
``comparing`` explains fates that differ, ``counting`` takes what gcov counted, ``shell`` is a terminal where a test has failed.

Read ``worker``, ``half``, ``watch``. ``rehearsal`` is the test that a template has run once. ``kselftests`` runs a kernel's own selftests
as tests, ``suites`` any directory's programs, both by ``programs``; ``tap`` reads the points that they print. The other end is
:mod:`harness.pytest_plugin.host`.
"""
