"""Ctrl-C and its kin become an exception wherever we are: every block's end then leaves nothing behind.

The exit status is the same at every moment that we have a say in: signals are held back until handlers are there, also while another
Python takes our place, and are ignored once the status is known. Python itself would die of one that comes while it ends. What comes in
the first milliseconds of Python, before it reads a line of ours, is not ours to heed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from harness.host.uninterrupted import postponed

__all__ = ("Interrupted", "hold", "interruptible", "make_deaf", "restored")

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_deaf = False
#: Seconds after which a signal comes again whose exception Python could not raise.
_AGAIN_S = 0.01


class Interrupted(KeyboardInterrupt):
    """A signal asked us to end.

    :param number: which
    """

    def __init__(self, number: int) -> None:
        super().__init__("interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}")
        self.number = number

    @property
    def exit_code(self) -> int:
        """The exit status as a shell has it: 130 for Ctrl-C."""
        return 128 + self.number


def interruptible() -> None:
    """Let those signals raise :class:`Interrupted`, those held back included, unless they are ignored already (``nohup``)."""
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _NUMBERS)


def hold() -> None:
    """Hold back those signals until :func:`interruptible` is called, by another program in our place if need be."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)


def make_deaf() -> None:
    """Ignore those signals from now on."""
    global _deaf  # noqa: PLW0603
    _deaf = True
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """End what is under way: the handler of the first signal.

    :raises Interrupted: that signal came; a second must not cut short what the first one lets us put in order
    """
    if not (_deaf or postponed(number)):
        make_deaf()
        sys.unraisablehook = _heed_again
        _silence_asyncio()
        raise Interrupted(number)


def _heed_again(unraisable: Any) -> None:
    """Send the signal again that came while a finalizer ran: Python raises nothing from there, so that nobody would be interrupted."""
    global _deaf  # noqa: PLW0603
    error = unraisable.exc_value
    if not isinstance(error, Interrupted):
        sys.__unraisablehook__(unraisable)
        return
    _deaf = False
    signal.signal(error.number, _interrupt)
    threading.Timer(_AGAIN_S, os.kill, (os.getpid(), error.number)).start()


def _silence_asyncio() -> None:
    """Keep asyncio from logging the interruption of a task that nobody awaits any more: it is told once, by the command line."""
    logger = getattr(sys.modules.get("asyncio.log"), "logger", None)
    if logger:
        logger.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], Interrupted)))


@contextmanager
def restored(numbers: list[signal.Signals], remove: Callable[[signal.Signals], object]) -> Iterator[None]:
    """Put the handlers of signals back when the block ends, as they are now, or ignored if one has come that ends us.

    :param remove: takes away what the block has put in their place; what comes meanwhile waits
    """
    before: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        held = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        for number in numbers:
            remove(number)
            signal.signal(number, signal.SIG_IGN if _deaf else before[number])
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
