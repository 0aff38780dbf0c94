"""Records that were lost: when that was, and which packets were under way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.walks.events import Event, Loss
from harness.walks.lives import Packet

__all__ = ("Losses", "began", "merged")

_SHOWN = 3


def began(events: Iterable[Event]) -> int:
    """When the first record was made; what counts losses had read the rings before that. 0 where there is none.

    :param events: in the order of time
    """
    return next((event.time for event in events if not isinstance(event, Loss)), 0)


def merged(losses: Iterable[Loss]) -> list[Loss]:
    """Losses in the order of time, those that follow each other without a reading between them that lost nothing as one."""
    found: list[Loss] = []
    for loss in losses:
        if found and loss.time <= found[-1].until:
            found[-1] = Loss(found[-1].time, max(loss.until, found[-1].until), found[-1].records + loss.records)
        else:
            found.append(loss)
    return found


class Losses:
    """When records found no room in a ring.

    A record does not say when the one before it was lost, so a loss took place at a moment between two readings of the rings.

    :param events: all, in the order of time
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self._losses = merged(event for event in events if isinstance(event, Loss))

    def during(self, packet: Packet) -> int:
        """How many records may have been lost while a packet was under way; what did not come to an end still is."""
        if not self._losses:
            return 0
        first = min(run.entry.time for run in packet.runs)
        last = [life.end.time if life.end else None for life in packet.lives]
        over = None if None in last else max(time for time in last if time is not None)
        return sum(loss.records for loss in self._losses if loss.until >= first and (over is None or loss.time <= over))

    def doubts(self, begin: int) -> tuple[str, ...]:
        """When that was: a sentence, or none.

        :param begin: when the session began, in the events' clock
        """
        if not self._losses:
            return ()
        spans = [f"{max(0, loss.time - begin) / 10**9:.3f} s and {max(0, loss.until - begin) / 10**9:.3f} s" for loss in self._losses]
        more = f", and {len(spans) - _SHOWN} times more" if len(spans) > _SHOWN else ""
        return (f"records were lost between {', between '.join(spans[:_SHOWN])}{more}; packets that were under way then are marked",)
