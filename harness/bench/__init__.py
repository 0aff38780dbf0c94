"""What this machine can do, side by side: the host's half of ``nfharness bench``.

``guests`` measures a cold boot, guests restored from a template, their memory and whole runs, and asks a guest for its own figures
(:mod:`harness.guest.bench`: what tracing and registering cost). ``test_runs`` measures what a fresh kernel for each test costs,
``exploration`` how many steps a second an exploration gets through; ``commands`` times whole commands for them.
Each measurement is a list of samples; the command prints how they are distributed.

Read ``guests`` first: ``Metric`` is what all answer with, ``Effort`` how often things are measured.
"""
