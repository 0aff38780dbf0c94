"""Where a session's packets came by: hook points and devices, and the ways between them.

The walk of a packet names the hook points alone. Devices stand between two of them where the packet left a namespace, or began anew in
the same one: behind POSTROUTING it is in ``lo`` before it is at PREROUTING.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from harness.netfilter import Family, hook_name
from harness.outcome.types import PacketOutcome, Traversal

__all__ = ("Device", "Diagram", "DrawnPoint", "Place", "diagram", "path")

_STAGES = {"INGRESS": 0, "BROUTING": 1, "PREROUTING": 2, "INPUT": 3, "FORWARD": 3, "OUTPUT": 4, "POSTROUTING": 5, "EGRESS": 6}


_ELSEWHERE = ("delivered", "sent")
"""Ends of a packet that was last seen on its way to a device, and has left by that."""

_BY_A_HOOK = ("dropped", "rejected")


class DrawnPoint(NamedTuple):
    """A hook point of a namespace; netdev's are those of all its devices."""

    netns: str
    pf: Family
    hook: int

    @property
    def name(self) -> str:
        """``FORWARD``, whatever the family."""
        return hook_name(self.pf, self.hook)

    @property
    def stage(self) -> int:
        """How far a packet on its way through a namespace is there, of any family; a point without a name stands behind the others."""
        return _STAGES.get(self.name, len(_STAGES))


class Device(NamedTuple):
    """A device of a namespace."""

    netns: str
    name: str


Place = DrawnPoint | Device


@dataclass(frozen=True, slots=True)
class Diagram:
    """All places of a session.

    :param places: each with the number of packets that came by, in the order in which they were met
    :param ways: from one place to the next, each with the number of packets that took it
    :param dropped: points with the number of packets that a hook dropped or rejected there; where the stack did, is not known
    """

    places: Mapping[Place, int]
    ways: Mapping[tuple[Place, Place], int]
    dropped: Mapping[Place, int]


def diagram(packets: Iterable[PacketOutcome]) -> Diagram:
    """The places and ways of packets; one that comes to a place again is counted once."""
    places, ways, ends = Counter[Place](), Counter[tuple[Place, Place]](), Counter[Place]()
    for packet in packets:
        found = path(packet)
        places.update(dict.fromkeys(found, 1))
        ways.update(dict.fromkeys(pairwise(found), 1))
        if found and packet.fate.kind in _BY_A_HOOK:
            ends[found[-1]] += 1
    return Diagram(places, ways, ends)


def path(packet: PacketOutcome) -> tuple[Place, ...]:
    """The places that a packet came by, in order; the same place twice in a row is one (``nf_reinject`` goes on where it was queued)."""
    found = list(_places(packet))
    return tuple(place for number, place in enumerate(found) if number == 0 or place != found[number - 1])


def _places(packet: PacketOutcome) -> Iterator[Place]:
    before: Traversal | None = None
    for traversal in packet.traversals:
        yield from _between(before, traversal)
        yield _point(traversal)
        before = traversal
    if before and before.outdev and packet.fate.kind in _ELSEWHERE:
        yield Device(before.netns, before.outdev)


def _between(before: Traversal | None, now: Traversal) -> Iterator[Device]:
    """The devices by which a packet came from one hook point to the next; before the first one, the one that it came in by."""
    onward = before is not None and before.netns == now.netns and _point(before).stage <= _point(now).stage
    if onward:
        return
    if before and before.outdev:
        yield Device(before.netns, before.outdev)
    if now.indev:
        yield Device(now.netns, now.indev)


def _point(traversal: Traversal) -> DrawnPoint:
    return DrawnPoint(traversal.netns, traversal.pf, traversal.hook)
