"""nfharness: a real-kernel integration harness for netfilter hooks.

The life of a command: ``__main__`` looks for ``.venv`` and lets ``bootstrap`` make it from the lock, with what ``requirements`` says that
the host must have; then the command line (``cli``) calls the rooms. ``docs/architecture.md`` lists the rooms from the ground up, and what
passes through them; each room's docstring names its modules.

Read ``netfilter`` (families, hook points, verdicts), ``errors`` (whose fault it is, and the exit status) and ``wire`` (what host and agent
say to each other) first: every room may import them. ``printable`` makes text from anywhere safe for a terminal.
"""

__version__ = "0.1.0"
