"""The one error taxonomy: whose fault it is, and with it the exit code.

Every error carries what happened and, where there is one, the hint: the command or edit that puts it right. Commands print
``nfharness: error: <message>`` and ``  hint: <hint>``; nothing else in the project prints errors.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ("EmulatorFailed", "ExitCode", "GuestError", "HostError", "Inconclusive", "KernelDied", "Mistake", "NfharnessError", "UserError",
           "described")


class ExitCode(IntEnum):
    """What a command's exit status means (``git bisect run`` reads 0, 1 and 125 as good, bad and skip)."""

    CONFORMANT = 0
    DIFFERENT = 1
    USER_ERROR = 2
    CANNOT = 125


class NfharnessError(Exception):
    """Base of every error that nfharness reports on purpose.

    :param message: one line, what went wrong
    :param hint: one line, what puts it right
    """

    exit_code = ExitCode.CANNOT

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(NfharnessError):
    """What was asked for makes no sense: an unknown kernel, a scenario that does not parse. Exit 2."""

    exit_code = ExitCode.USER_ERROR


class Mistake(UserError):
    """What a test asked for makes no sense.

    :param message: what was wrong
    :param hint: what there is
    """

    __module__ = "builtins"  # a report then calls it by its name alone, as it does pytest's own

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        if hint:
            self.args = (f"{message}; {hint}",)


class Inconclusive(AssertionError):
    """The tracer of a test knows that it did not see everything: nothing can be said of a packet."""

    __module__ = "builtins"


class HostError(NfharnessError):
    """The host cannot do it: a missing program, a full disk, no network. Exit 125."""


class EmulatorFailed(HostError):
    """QEMU was killed from outside, crashed, or let a guest measure its clock wrongly, which no guest can do to it.

    Nothing is said of the kernel, and it is worth another try.
    """


class GuestError(NfharnessError):
    """The guest cannot do it: no kprobes, a module that does not load, an agent that does not answer. Exit 125."""


class KernelDied(NfharnessError):
    """The kernel under test panicked, hung or vanished. Exit 125, unless a check knows what it died of.

    :param console_tail: the last lines of the guest's console
    :ivar stacks: of a kernel that hangs: processor → addresses in the kernel that it is at and that lie on its stack, the innermost first
    """

    def __init__(self, message: str, *, console_tail: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.console_tail = console_tail
        self.stacks: dict[int, list[int]] = {}


def described(error: NfharnessError) -> dict[str, str | None]:
    """An error as a guest sends it to the host, which raises it again (:func:`harness.vm.channel.agent_error`)."""
    return {"error": type(error).__name__, "message": error.message, "hint": error.hint}
