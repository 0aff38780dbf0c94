"""Packets and registrations of hooks in the order of time."""

from __future__ import annotations

from collections.abc import Iterator

from harness.outcome.types import Outcome, PacketOutcome, Registration

__all__ = ("first_seen", "timeline")


def timeline(outcome: Outcome) -> Iterator[PacketOutcome | Registration]:
    """Packets in their order, before each the registrations that came before it was seen first; the rest at the end."""
    left = list(outcome.registrations)
    for packet in outcome.packets:
        seen = first_seen(packet)
        while left and seen is not None and left[0].time <= seen:
            yield left.pop(0)
        yield packet
    yield from left


def first_seen(packet: PacketOutcome) -> int | None:
    """The time at which the thing was seen first, ns since the session's first record; ``None`` where that is not known."""
    return packet.traversals[0].time if packet.traversals else None
