"""The one error taxonomy: whose fault it is, and with it the exit code.

Every error carries what happened and, where there is one, the mend: the command or edit that puts it right. Commands print
``nfharness: error: <message>`` and ``  mend: <mend>``; nothing else in the project prints errors.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ("ExitCode", "GuestError", "HostError", "KernelDied", "NfharnessError", "UserError")


class ExitCode(IntEnum):
    """What a command's exit status means (``git bisect run`` reads 0, 1 and 125 as good, bad and skip)."""

    CONFORMANT = 0
    DIFFERENT = 1
    USER_ERROR = 2
    CANNOT = 125


class NfharnessError(Exception):
    """Base of every error that nfharness reports on purpose.

    :param message: one line, what went wrong
    :param mend: one line, what puts it right
    """

    exit_code = ExitCode.CANNOT

    def __init__(self, message: str, *, mend: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend


class UserError(NfharnessError):
    """What was asked for makes no sense: an unknown kernel, a scenario that does not parse. Exit 2."""

    exit_code = ExitCode.USER_ERROR


class HostError(NfharnessError):
    """The host cannot do it: a missing program, a full disk, no network. Exit 125."""


class GuestError(NfharnessError):
    """The guest cannot do it: no kprobes, a module that does not load, an agent that does not answer. Exit 125."""


class KernelDied(NfharnessError):
    """The kernel under test panicked, hung or vanished. Exit 125; never mistaken for a difference.

    :param console_tail: the last lines of the guest's console
    """

    def __init__(self, message: str, *, console_tail: str = "", mend: str | None = None) -> None:
        super().__init__(message, mend=mend)
        self.console_tail = console_tail
