"""The live arrays of hook points, as the module reads them, in the terms of an outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.guest.module import HookModule, LiveSlot
from harness.guest.topology import Network
from harness.netfilter import Family, hook_number
from harness.outcome.types import Slot, point_key, raw_key

__all__ = ("Arrays", "Point", "all_arrays", "arrays_of", "changed", "points_of", "slot_of")

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


def arrays_of(module: HookModule, network: Network, netns: str, points: Iterable[Point], labels: Mapping[int, str]) -> Arrays:
    """Read the arrays of *points*.

    :raises HookRefused: the kernel has no such point
    """
    found = []
    for pf, hook, device in points:
        live = module.slots(pf, hook, network.ifindexes[netns, device] if device else 0)
        found.append((point_key(netns, pf, hook, device), tuple(slot_of(slot, labels) for slot in live)))
    return tuple(sorted(found))


def all_arrays(module: HookModule, network: Network, netns: str, labels: Mapping[int, str]) -> Arrays:
    """Read the arrays of every point of a namespace that have slots; and its private ones, by their numbers."""
    devices = {index: device for (of, device), index in network.ifindexes.items() if of == netns}
    found = []
    for place, live in module.all_slots().items():
        if isinstance(place, int):
            key = raw_key(netns, str(place))
        else:
            pf, hook, ifindex = place
            key = point_key(netns, pf, hook, (devices.get(ifindex) or f"{ifindex}") if ifindex else None)
        found.append((key, tuple(slot_of(slot, labels) for slot in live)))
    return tuple(sorted(found))


def changed(before: Arrays, after: Arrays) -> Arrays:
    """The arrays of *after* that differ from *before*; an array that is in *before* only is empty now."""
    known, now = dict(before), dict(after)
    return tuple((key, now.get(key, ())) for key in sorted(known.keys() | now.keys()) if known.get(key, ()) != now.get(key, ()))


def slot_of(slot: LiveSlot, labels: Mapping[int, str]) -> Slot:
    """A slot in the terms of an outcome.

    :param labels: id of a hook of ours → its name in the scenario
    """
    label = labels.get(slot.hook_id) if slot.hook_id is not None else None
    return Slot(slot.index, slot.function, slot.module, slot.priority, slot.dummy, label)
