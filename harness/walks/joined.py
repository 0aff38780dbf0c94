"""What several captures of one kernel saw, one after the other, as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.outcome.types import Outcome, PacketOutcome

__all__ = ("joined",)


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """The packets of several captures, numbered on, with times since the first capture began.

    :param outcomes: in the order of time; those that do not say when they began saw nothing
    """
    seen = [outcome for outcome in outcomes if outcome.began is not None]
    first = next((outcome.began for outcome in seen if outcome.began is not None), None)
    packets: list[PacketOutcome] = []
    for outcome in seen:
        before = len(packets)
        packets += [_moved(packet, before, (outcome.began or 0) - (first or 0)) for packet in outcome.packets]
    doubts = dict.fromkeys(doubt for outcome in outcomes for doubt in outcome.doubts)
    return Outcome(packets=tuple(packets), lost_events=sum(outcome.lost_events for outcome in outcomes), doubts=tuple(doubts), began=first)


def _moved(packet: PacketOutcome, numbers: int, ns: int) -> PacketOutcome:
    traversals = tuple(replace(one, time=None if one.time is None else one.time + ns) for one in packet.traversals)
    relation = packet.relation and packet.relation._replace(packet=packet.relation.packet + numbers)
    return replace(packet, number=packet.number + numbers, relation=relation, traversals=traversals)
