"""The keys of the terminal on standard input, one by one, for a program elsewhere that has a terminal, too."""

from __future__ import annotations

import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ("raw_terminal",)


@contextmanager
def raw_terminal() -> Iterator[None]:
    """Every key is passed on as it is, Ctrl-C too; the terminal is put back however the block ends."""
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        with suppress(termios.error):  # a terminal that was closed needs nothing
            termios.tcsetattr(0, termios.TCSADRAIN, before)
