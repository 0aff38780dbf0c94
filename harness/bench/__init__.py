"""What this machine can do, side by side: the host's half of ``nfharness bench``.

The life of a figure: ``guests`` measures a cold boot, guests restored from a template, their memory and whole runs, and asks a guest for
what tracing and registering cost there (:mod:`harness.guest.bench`); ``test_runs`` measures what a fresh kernel for each test costs,
``exploration`` how many steps a second an exploration gets through, ``verdicts`` how soon a kernel's developer has an answer;
``cost`` counts a hook's instructions for ``nfharness
cost``; ``commands`` times whole commands for them. Each measurement is a list of samples; the command prints how they are distributed.

Read ``guests`` first. ``Metric`` there is what all answer with, ``Effort`` how often things are measured. Nothing here compares with a
limit.
"""
