"""The host's half of the pytest plugin: each kernel test is run in a guest, and reported as if it had run here.

The life of a test: ``controller`` says how many workers there may be and shows the header; ``markers`` are looked at; ``runner`` takes the
test from pytest; ``guests`` finds or starts a guest for its kernel (a ``gateway``, which is an execnet gateway over ``nfharness exec``),
sends it the tests' files (``files``), and takes the reports that come back; a guest that dies costs that one test. In the place of guests
there may be ``machines`` that were there before: ``vagrant`` makes one fresh, the others last.

A failure shows its packets' ``walks`` or, if that was asked for, opens a ``shell``; ``coverage`` keeps what gcov counted.

Read ``runner``, ``guests``, ``gateway``. The other end is :mod:`harness.pytest_plugin.guest`.
"""
