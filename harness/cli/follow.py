"""A session's packets as they come to their ends, while it goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from harness.backends.observer import Observation
from harness.outcome.types import Outcome, PacketOutcome
from harness.walks.totals import Totals

__all__ = ("Choose", "Told", "follow")

#: Which packets of an outcome a filter lets through.
Choose = Callable[[Outcome], Awaitable[Outcome]]

_PAUSE_S = 0.2
#: Of the time, at most so much is spent on it: all that was seen is put together anew each time.
_SHARE = 0.1


class Told:
    """Packets that were looked at while a session goes on.

    :param lean: those that are long over are forgotten, but for what is counted of them
    """

    def __init__(self, *, lean: bool = False) -> None:
        self._lean, self._earlier = lean, Totals()
        self._chosen: dict[int, tuple[PacketOutcome, bool]] = {}

    def __contains__(self, packet: PacketOutcome) -> bool:
        return packet.number in self._chosen

    def note(self, fresh: Sequence[PacketOutcome], chosen: Sequence[PacketOutcome]) -> None:
        """Take notice of packets.

        :param chosen: those of them that the filter lets through
        """
        wanted = {packet.number for packet in chosen}
        self._chosen |= {packet.number: (packet, packet.number in wanted) for packet in fresh}

    def forget(self, observation: Observation) -> None:
        """Let go of what is not needed any more."""
        left = observation.forget(self._chosen.keys()) if self._lean else None
        for number in set() if left is None else self._chosen.keys() - left:
            packet, chosen = self._chosen.pop(number)
            self._earlier.add(packet, observation.blind, chosen=chosen)

    def seen(self) -> dict[str, Any]:
        """What a session's end is to know of them, by the fields of :class:`harness.cli.sessions.Seen`."""
        return {"told": frozenset(self._chosen), "earlier": self._earlier}


async def follow(
    observation: Observation, choose: Choose, show: Callable[[Outcome], bool], told: Told, until: Choose | None = None,
) -> None:
    """Show each packet once, until that is enough, or cancelled.

    :param choose: what the filter lets through
    :param show: gets the packets that came to their ends meanwhile; whether that is enough
    :param told: gets those that were looked at
    :param until: what is enough when it lets one through
    """
    pause = _PAUSE_S
    while True:
        await asyncio.sleep(pause)
        began = time.monotonic()
        settled = observation.settled()
        fresh = replace(settled, packets=tuple(packet for packet in settled.packets if packet not in told))
        if fresh.packets:
            chosen = await choose(fresh)  # may be cancelled there: then nothing was looked at
            last = until is not None and bool((await until(fresh)).packets)
            told.note(fresh.packets, chosen.packets)
            if show(chosen) or last:
                return
        told.forget(observation)
        pause = max(_PAUSE_S, (time.monotonic() - began) / _SHARE)
