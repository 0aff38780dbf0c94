"""A warm Python: what ``python3`` would run, in a fork of the agent, where all that is slow to import is there already."""

from __future__ import annotations

import faulthandler
import os
import runpy
import signal
import sys

from harness.errors import UserError

__all__ = ("main",)

_FLAGS = ("-u", "-B")
"""Taken and without effect: the reader of a stream chooses its encoding, and the guest's files are thrown away."""


def main(argv: list[str]) -> None:
    """Run ``-c CODE``, ``-m MODULE``, a file, or standard input, with the arguments after it. SIGQUIT prints where it is.

    :param argv: what would follow ``python3``
    :raises UserError: an option that is not for this Python
    """
    os.chdir("/root")
    # Its own standard error: pytest puts another in the place of 2.
    faulthandler.register(signal.SIGQUIT, file=os.dup(2), all_threads=True)
    rest = list(argv)
    while rest and rest[0] in _FLAGS:
        rest.pop(0)
    what = rest.pop(0) if rest else "-"
    if what in ("-c", "-m") and not rest:
        raise UserError(f"{what} needs an argument", hint="nfharness exec --python -- -c 'print(1)'")
    names: dict[str, object] = {"__name__": "__main__", "__builtins__": __builtins__}
    if what == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), names)  # noqa: S102 - that is what it is for
    elif what == "-m":
        sys.argv = list(rest)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif what == "-":
        sys.argv = ["-", *rest]
        exec(compile(sys.stdin.read(), "<stdin>", "exec"), names)  # noqa: S102
    elif what.startswith("-"):
        raise UserError(f"{what} is not an option of this Python", hint="-c CODE, -m MODULE, FILE or -; -u and -B have no effect")
    else:
        sys.argv = [what, *rest]
        sys.path.insert(0, os.path.dirname(what))  # noqa: PTH120
        runpy.run_path(what, run_name="__main__")
