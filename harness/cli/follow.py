"""A session's packets as they come to their ends, while it goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from harness.backends.observer import Observation
from harness.outcome.types import Outcome, PacketOutcome

__all__ = ("Choose", "follow")

#: Which packets of an outcome a filter lets through.
Choose = Callable[[Outcome], Awaitable[Outcome]]

_PAUSE_S = 0.2
#: Of the time, at most so much is spent on it: all that was seen is put together anew each time.
_SHARE = 0.1


async def follow(
    observation: Observation, choose: Choose, show: Callable[[Sequence[PacketOutcome]], bool], told: set[int],
    until: Choose | None = None,
) -> None:
    """Show each packet once, until that is enough, or cancelled.

    :param choose: what the filter lets through
    :param show: gets the packets that came to their ends meanwhile; whether that is enough
    :param told: gets the numbers of those that were looked at
    :param until: what is enough when it lets one through
    """
    pause = _PAUSE_S
    while True:
        await asyncio.sleep(pause)
        began = time.monotonic()
        settled = observation.settled()
        fresh = replace(settled, packets=tuple(packet for packet in settled.packets if packet.number not in told))
        if fresh.packets:
            chosen = await choose(fresh)  # may be cancelled there: then nothing was looked at
            last = until is not None and bool((await until(fresh)).packets)
            told |= {packet.number for packet in fresh.packets}
            if show(chosen.packets) or last:
                return
        pause = max(_PAUSE_S, (time.monotonic() - began) / _SHARE)
