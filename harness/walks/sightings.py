"""What is used again for something else: inode numbers of namespaces, and addresses of modules' code."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from harness.walks.events import Call, End, Entry, Event
from harness.walks.symbol import ADDRESS_BITS

__all__ = ("netns_of", "number_and_life", "numbered", "told_apart")


def told_apart(events: Iterable[Event], sightings: Sequence[tuple[int, int, str]]) -> tuple[list[Event], dict[int, str]]:
    """Events, and names by number of namespace; a number that was used again after its namespace had gone gets another one.

    :param sightings: ``CLOCK_MONOTONIC`` in ns, ``net->ns.inum`` and name, empty once that has gone, in the order of time
    """
    lives: dict[int, list[tuple[int, str]]] = {}
    for time, inum, name in sightings:
        lives.setdefault(inum, []).append((time, name))
    names = {netns_of(inum, life): name or f"net:[{inum}]" for inum, named in lives.items() for life, (_, name) in enumerate(named)}
    found: list[Event] = []
    for event in events:
        if isinstance(event, Entry) and len(named := lives.get(event.netns, ())) > 1:
            life = max(0, sum(time <= event.time for time, _ in named) - 1)
            found.append(event._replace(netns=netns_of(event.netns, life)))
        else:
            found.append(event)
    return found, names


_INUM_BITS = 32


def netns_of(inum: int, life: int) -> int:
    """The inverse of :func:`number_and_life`."""
    return inum | life << _INUM_BITS


def number_and_life(netns: int) -> tuple[int, int]:
    """Inode number of a namespace, and which one of those that had it this is, from 0.

    :param netns: as :func:`told_apart` numbers them
    """
    return netns & (1 << _INUM_BITS) - 1, netns >> _INUM_BITS


def numbered(events: Iterable[Event], frees: Sequence[int]) -> list[Event]:
    """Events with each code address numbered by how many modules had gone when it was seen.

    :param frees: when modules went, ascending (``CLOCK_MONOTONIC``, ns)
    """
    if not frees:
        return list(events)

    def number(address: int, time: int) -> int:
        return address and address | bisect_right(frees, time) << ADDRESS_BITS

    found: list[Event] = []
    for event in events:
        if isinstance(event, Call):
            decision = event.decision and event.decision._replace(function=number(event.decision.function, event.time))
            found.append(event._replace(function=number(event.function, event.time), decision=decision))
        elif isinstance(event, Entry):
            found.append(event._replace(okfn=number(event.okfn, event.time), caller=number(event.caller, event.time)))
        elif isinstance(event, End):
            found.append(event._replace(location=number(event.location, event.time)))
        else:
            found.append(event)
    return found
