"""Reports of a run of tests, in the process that the user started: files for programs and readers, and the exit status.

The life of a result: ``results`` takes pytest's reports, each with what the guest sent of the kernel, and is the one source of every
report; ``reports`` hooks into pytest and writes what was asked for: ``junit`` (pytest's own file, one suite for each kernel), ``ktap``,
``page`` (HTML), ``annotated`` (GitHub), and a JSON object a line. ``points`` makes results of TAP's points, ``known`` forgives what is
waived or failed before, and ``runs`` reads what an earlier run wrote, for ``nfharness results``.

Read ``results``, then ``reports``. No report is written by xdist's workers: only the process that the user started knows all results.
"""
