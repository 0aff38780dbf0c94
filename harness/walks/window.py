"""The events of a running session that are still needed: events of packets that were reported and are long over are forgotten."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from harness.walks.events import ArraySlot, Came, End, Event, Gone, Loss, Registered, Turn, in_order
from harness.walks.lives import LoopRun, Packet
from harness.walks.losses import merged

__all__ = ("Window", "needed")

_RELATED_NS = 2_000_000_000
"""For so long a packet that has been told is kept: an answer, a segment or a copy of it may come."""
_OTHERS = (Came.MERGED, Came.CLONED, Came.DUPLICATED, Came.ANSWERED)


class Window(NamedTuple):
    """What is kept of a session.

    :param events: in the order of time; losses that follow each other are one
    :param traversals: of those
    :param packets: numbers of theirs
    """

    events: list[Event]
    traversals: frozenset[int]
    packets: frozenset[int]


def needed(events: Sequence[Event], packets: Iterable[Packet], told: Collection[int]) -> Window:
    """What is still needed of a session so far.

    :param events: in the order of time
    :param packets: that these are of
    :param told: numbers of those that have been told, and of which nothing more is told
    """
    since = max((event.time for event in events), default=0) - _RELATED_NS
    every = {packet.number: packet for packet in packets}
    kept = {number for number, packet in every.items() if number not in told or _last(packet) >= since}
    kept |= {relation.packet for number in kept if (relation := every[number].relation)} & every.keys()
    traversals = {run.entry.traversal for number in kept for run in _runs(every[number].runs)}
    skbs = {skb for number in kept for skb in _skbs(every[number])}
    losses = merged(event for event in events if isinstance(event, Loss))
    others = (event for event in events if not isinstance(event, Loss))
    found = in_order([*losses, *(event for event in others if event.time >= since or _is_of(event, traversals, skbs))])
    return Window(found, frozenset(traversals), frozenset(kept))


def _is_of(event: Event, traversals: Collection[int], skbs: Collection[int]) -> bool:
    # Which of the namespaces that had a number an older event is of; and how often an array has changed.
    if isinstance(event, (Gone, Registered, ArraySlot, Loss)):
        return True
    return event.skb in skbs if isinstance(event, (End, Turn)) else event.traversal in traversals


def _runs(runs: Iterable[LoopRun]) -> Iterator[LoopRun]:
    for run in runs:
        yield run
        for inner in run.inner.values():
            yield from _runs(inner)


def _skbs(packet: Packet) -> Iterator[int]:
    for life in packet.lives:
        yield from (run.entry.skb for run in life.runs)
        yield from (turn.other for _, turn in life.turns if turn.what in _OTHERS)


def _last(packet: Packet) -> int:
    """When it was seen last (``CLOCK_MONOTONIC``, ns)."""
    return max(life.end.time if life.end else life.runs[-1].entry.time if life.runs else 0 for life in packet.lives)
