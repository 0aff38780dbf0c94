"""What is used again for something else: inode numbers of namespaces, and addresses of modules' code."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from harness.walks.events import ArraySlot, Call, End, Entry, Event, Gone, Registered, Turn
from harness.walks.symbol import ADDRESS_BITS

__all__ = ("netns_of", "number_and_life", "numbered", "told_apart")


def told_apart(events: Iterable[Event], sightings: Sequence[tuple[int, int, str]]) -> tuple[list[Event], dict[int, str]]:
    """Events, and names by number of namespace; a number that was used again after its namespace had gone gets another one.

    :param sightings: ``CLOCK_MONOTONIC`` in ns, ``net->ns.inum`` and name, empty once that name has gone, in the order of time
    """
    events = tuple(events)
    named: dict[int, list[tuple[int, str]]] = {}
    for time, inum, name in sightings:
        named.setdefault(inum, []).append((time, name))
    gone: dict[int, list[int]] = {}
    for event in events:
        if isinstance(event, Gone):
            gone.setdefault(event.netns, []).append(event.time)
    lives = {inum: _Lives(seen, sorted(gone.get(inum, ()))) for inum, seen in named.items()}
    names: dict[int, str] = {netns_of(inum, life): name or f"net:[{inum}]"
                             for inum, seen in named.items() for life, (_, name) in enumerate(seen)}
    found: list[Event] = []
    for event in events:
        if isinstance(event, (Entry, Registered)) and event.netns in lives:
            number = netns_of(event.netns, lives[event.netns].at(event.time))
            names.setdefault(number, f"net:[{event.netns}]")
            found.append(event if number == event.netns else event._replace(netns=number))
        elif not isinstance(event, Gone):
            found.append(event)
    return found, names


class _Lives:
    """The namespaces that had a number, one after the other.

    :param seen: time and name of each name, the empty ones included
    :param gone: when one of them was taken down; what was taken down unseen, only the names tell
    """

    def __init__(self, seen: Sequence[tuple[int, str]], gone: Sequence[int]) -> None:
        self._gone, self._names = gone, len(seen)
        self._seen = [(bisect_right(gone, time), time, life) for life, (time, name) in enumerate(seen) if name]

    def at(self, time: int) -> int:
        """Which one had the number then: index of its name, a number above them for each that had none."""
        nth = bisect_right(self._gone, time)
        own = [(seen, life) for number, seen, life in self._seen if number == nth]
        before = [life for seen, life in own if seen <= time]
        return before[-1] if before else own[0][1] if own else self._names + nth


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
        elif isinstance(event, Turn):
            found.append(event._replace(driver=number(event.driver, event.time)))
        elif isinstance(event, ArraySlot):
            found.append(event._replace(function=number(event.function, event.time)))
        elif isinstance(event, Registered):
            stack = tuple(number(address, event.time) for address in event.stack)
            found.append(event._replace(function=number(event.function, event.time), stack=stack))
        else:
            found.append(event)
    return found
