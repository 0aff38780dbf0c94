"""The live arrays of hook points, as the module reads them, in the terms of an outcome."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from harness.guest.module import HookModule, HookRefused, LiveSlot
from harness.guest.topology import Network
from harness.netfilter import HOOK_POINTS, Family, hook_number
from harness.outcome.types import Slot, point_key

__all__ = ("Arrays", "Point", "arrays_of", "changed", "points_of", "slot_of")

Point = tuple[Family, int, str | None]
"""Family, hook number, device."""

Arrays = tuple[tuple[str, tuple[Slot, ...]], ...]
"""Slots by :func:`harness.outcome.types.point_key`, sorted by it."""


def points_of(pf: Family, hook: int, device: str | None) -> tuple[Point, ...]:
    """The points whose arrays a hook is put into: an INET hook into two, at INGRESS into the device's."""
    if pf is Family.INET and device is not None:
        return ((Family.NETDEV, hook_number(Family.NETDEV, "INGRESS"), device),)
    if pf is Family.INET:
        return ((Family.IPV4, hook, None), (Family.IPV6, hook, None))
    return ((pf, hook, device),)


def arrays_of(
    module: HookModule, network: Network, netns: str, points: Iterable[Point] | None, labels: Mapping[int, str]
) -> Arrays:
    """Read the arrays of *points*, or of every point that the kernel has in the namespace.

    :raises HookRefused: the kernel has no such point
    """
    found = []
    for pf, hook, device in points if points is not None else _all(network, netns):
        ifindex = network.ifindexes[netns, device] if device else 0
        try:
            live = module.slots(pf, hook, ifindex)
        except HookRefused:
            if points is None:
                continue
            raise
        found.append((point_key(netns, pf, hook, device), tuple(slot_of(slot, labels) for slot in live)))
    return tuple(sorted(found))


def changed(before: Arrays, after: Arrays) -> Arrays:
    """Those of *after* that differ from *before*."""
    known = dict(before)
    return tuple((key, slots) for key, slots in after if slots != known.get(key, ()))


def _all(network: Network, netns: str) -> Iterator[Point]:
    for pf, hooks in HOOK_POINTS.items():
        if pf is Family.NETDEV:
            yield from ((pf, hook, device) for device in network.topology.devices(netns) for hook in hooks.values())
        elif pf is not Family.INET:
            yield from ((pf, hook, None) for hook in hooks.values())


def slot_of(slot: LiveSlot, labels: Mapping[int, str]) -> Slot:
    """A slot in the terms of an outcome. :param labels: id of a hook of ours → its name in the scenario"""
    label = labels.get(slot.hook_id) if slot.hook_id is not None else None
    return Slot(slot.index, slot.function, slot.module, slot.priority, slot.dummy, label)
