"""Ctrl-C and its kin become an exception wherever we are: every block's end then leaves nothing behind."""

from __future__ import annotations

import signal
from types import FrameType

__all__ = ("Interrupted", "interruptible")

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal asked us to end.

    :param number: which
    """

    def __init__(self, number: int) -> None:
        super().__init__("interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}")
        self.number = number

    @property
    def exit_code(self) -> int:
        """As a shell says it: 130 for Ctrl-C."""
        return 128 + self.number


def interruptible() -> None:
    """From now on those signals raise :class:`Interrupted`, unless whoever started us has them ignored (``nohup``)."""
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # One is enough: a second must not cut short what the first one lets us put in order.
    for other in _NUMBERS:
        signal.signal(other, signal.SIG_IGN)
    raise Interrupted(number)
