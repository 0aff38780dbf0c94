"""A session's packets as they come to their ends, while it goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from harness.backends.observer import Observation
from harness.outcome.types import Outcome, PacketOutcome
from harness.walks.owners import Owners
from harness.walks.session_lines import HEAD
from harness.walks.totals import Totals

__all__ = ("Choose", "Told", "following")

#: Which packets of an outcome a filter lets through.
Choose = Callable[[Outcome], Awaitable[Outcome]]

_PAUSE_S = 0.2
#: Of the time, at most so much is spent on it: all that is held is looked through anew each time.
_SHARE = 0.3
#: Where more comes than can be told in that share, what is held would grow from look to look.
_LONGEST_S = 2.0


class Told:
    """Packets that were looked at while a session goes on.

    :param lean: they are forgotten when they are long over, but for what is counted of them
    :param owners: the owners of their hooks are counted, too
    :ivar numbers: of those that are not forgotten
    :ivar registered: how many registrations of hooks were looked at
    :ivar last: the number of the last line that was printed, as JSON Lines
    :ivar earlier: what is counted of those that may be forgotten
    """

    def __init__(self, *, lean: bool = False, owners: bool = False) -> None:
        self.numbers: set[int] = set()
        self.registered = 0
        self.last = HEAD
        self.earlier = Totals(owners=Owners() if owners else None)
        self._lean = lean

    @property
    def done(self) -> set[int]:
        """Numbers of those that need not be told in the end."""
        return self.numbers if self._lean else set()

    def note(self, fresh: Sequence[PacketOutcome], chosen: Sequence[PacketOutcome], observation: Observation) -> None:
        """Take notice of packets.

        :param chosen: those of them that the filter lets through
        """
        wanted = {packet.number for packet in chosen}
        self.numbers |= {packet.number for packet in fresh}
        if not self._lean:
            return
        for packet in fresh:
            self.earlier.add(packet, observation.blind, chosen=packet.number in wanted)

    def forget(self, observation: Observation) -> None:
        """Forget the packets that are long over, if it is time for that."""
        if self._lean and (left := observation.forget(self.numbers)) is not None:
            self.numbers &= left

    def seen(self) -> dict[str, Any]:
        """What a session's end is to know of them, by the fields of :class:`harness.cli.sessions.Seen`."""
        return {"told": frozenset(self.numbers), "registered": self.registered, "last": self.last, "earlier": self.earlier}


async def following(observation: Observation, choose: Choose, told: Told, until: Choose | None = None) -> AsyncIterator[Outcome]:
    """Each packet and each registration of a hook once: of those that came to their ends meanwhile, what the filter lets through.

    :param choose: what the filter lets through
    :param told: gets the packets that were looked at
    :param until: ends this when it lets one through
    """
    pause = _PAUSE_S
    while True:
        await asyncio.sleep(pause)
        began = time.monotonic()
        seen = observation.settled(told.numbers)
        fresh = replace(seen, registrations=seen.registrations[told.registered:])
        if fresh.packets or fresh.registrations:
            chosen = await choose(fresh)  # may be cancelled there: then nothing was looked at
            last = until is not None and bool((await until(fresh)).packets)
            told.note(fresh.packets, chosen.packets, observation)
            told.registered += len(fresh.registrations)
            yield chosen
            if last:
                return
        told.forget(observation)
        pause = min(_LONGEST_S, max(_PAUSE_S, (time.monotonic() - began) / _SHARE))
