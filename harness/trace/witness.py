"""A witness outside kprobes that they were armed all the time.

``/sys/kernel/debug/kprobes/enabled`` takes every probe out of the kernel's code and puts it back, and neither hits nor misses nor the
programs' own counts tell: what is not there is not counted. The kernel's log does (``arm_all_kprobes``, ``disarm_all_kprobes``), also
when the probes are back before anybody looks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.errors import GuestError
from harness.trace.kmsg import KernelMessages, LogLine
from harness.trace.probes import read_kernel
from harness.trace.symbols import Symbols

__all__ = ("OFF", "OVERRAN", "Witness", "switches")

OFF = "the kernel's probes were switched off meanwhile (debugfs: kprobes/enabled): what happened then was not seen"
OVERRAN = "the kernel's log overran before it was read: whether the probes were switched off meanwhile is not known"
_SWITCHED = re.compile(r"(?:kprobes: )?Kprobes globally (?P<state>enabled|disabled)")


def switches(lines: Iterable[LogLine]) -> list[bool]:
    """Whether the probes were switched on, each time that they were switched; what a process wrote into the log does not count."""
    found = (_SWITCHED.match(line.text) for line in lines if line.kernel)
    return [match["state"] == "enabled" for match in found if match]


class Witness:
    """Sees that the probes fire, by a way that is no kprobe.

    :raises GuestError: the probes are off
    """

    def __init__(self, symbols: Symbols) -> None:
        self._disarmed = symbols.one("kprobes_all_disarmed").address
        self._log = KernelMessages()
        self._off = self._are_off()
        self._switched = False
        if self._off:
            self.close()
            raise GuestError("this kernel's probes are switched off", hint="echo 1 > /sys/kernel/debug/kprobes/enabled")

    def close(self) -> None:
        """Look no longer."""
        self._log.__exit__(None, None, None)

    def begin(self) -> None:
        """Forget what was; the probes may be off still."""
        self._follow()
        if self._log.lost:
            self._log.lost, self._off = False, self._are_off()
        self._switched = self._off

    def doubts(self) -> tuple[str, ...]:
        """Why probes may have been off since :meth:`begin`."""
        self._follow()
        if self._switched:
            return (OFF,)
        return (OVERRAN,) if self._log.lost else ()

    def _follow(self) -> None:
        for on in switches(self._log.lines()):
            self._off, self._switched = not on, True

    def _are_off(self) -> bool:
        return any(read_kernel(self._disarmed, 1))
