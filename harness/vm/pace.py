"""How fast a guest's clock runs.

A kernel measures the frequency of its time stamp counter while it boots. An emulator that a busy host holds up at that moment makes it
measure a wrong one, and its clock then runs several times too fast for as long as it lives: so would that of each guest restored from a
template of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from harness.errors import EmulatorFailed
from harness.vm.guest import VirtualGuest

__all__ = ("Reading", "must_keep_pace", "reading")

_TOO_FAR = 1.25
"""Times as fast, or as slow: what the host needs to ask and to be answered stays below that in a preparation, which takes seconds."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A look at both clocks.

    :ivar host: seconds, when the guest had answered
    :ivar guest: seconds, by the guest's clock
    """

    host: float
    guest: float


async def reading(vm: VirtualGuest) -> Reading:
    """What both clocks say now."""
    said = await vm.call("harness.guest.clock:tell")
    return Reading(time.monotonic(), int(said) / 1e9)


def must_keep_pace(before: Reading, after: Reading) -> float:
    """How many times as fast as the host's the guest's clock ran between two readings.

    :raises EmulatorFailed: so much faster or slower that no time that the guest tells is true
    """
    pace = (after.guest - before.guest) / (after.host - before.host)
    if not 1 / _TOO_FAR < pace < _TOO_FAR:
        message = f"the guest's clock runs {pace:.2g} times as fast as this host's: its kernel measured it while this host was busy"
        raise EmulatorFailed(message, hint="try again when less runs here")
    return pace
