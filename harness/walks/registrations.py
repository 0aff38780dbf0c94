"""Hooks that were registered and unregistered while packets were watched: which array each traversal ran over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.netfilter import HOOK_POINTS, Family, hook_name
from harness.outcome.types import Missed, Registration, Slot
from harness.walks.events import ArraySlot, Did, Entry, Event, Registered
from harness.walks.symbol import ADDRESS_BITS, Symbol
from harness.walks.xtables import table_of

__all__ = ("Generation", "Registrations")

#: inet's ingress has the array of netdev's (nf_hook_entry_head()).
_INGRESS_OF_INET, _INGRESS = (Family.INET, 5), (Family.NETDEV, 0)
_ADDRESS = (1 << ADDRESS_BITS) - 1
_DUMMY = "accept_all"
#: Namespace, family, number and device of a hook point.
_Point = tuple[int, int, int, str]


@dataclass(frozen=True, slots=True)
class Generation:
    """The generation of the array that a traversal ran over.

    :param number: ``None`` for an array that no registration has left
    :param missed: ``missed`` of :class:`harness.outcome.types.Traversal`
    """

    number: int | None
    missed: tuple[Missed, ...] = ()


@dataclass(slots=True)
class _History:
    """What became of a point's array.

    :param arrays: when each generation came (``CLOCK_MONOTONIC``, ns) and its address, the first one since ever
    :param changes: what made each generation but the first, with its time there
    """

    arrays: list[tuple[int, int]]
    changes: list[tuple[int, Registration]] = field(default_factory=list)


class Registrations:
    """The registrations and unregistrations of a recording.

    :param events: in the order of time, as :func:`harness.walks.sightings.told_apart` and ``numbered`` have them
    :param function: ``function`` of :class:`harness.walks.recording.Recording`
    :param netns: number of a namespace → its name
    :param begin: when the session's times begin (``CLOCK_MONOTONIC``, ns)
    :ivar all: in the order of time
    :ivar doubts: what is not known of them
    """

    def __init__(self, events: Sequence[Event], function: Callable[[int], Symbol | None], netns: Mapping[int, str], begin: int) -> None:
        self._function, self._netns, self._begin = function, netns, begin
        self._histories: dict[_Point, _History] = {}
        slots: dict[tuple[int, bool], list[ArraySlot]] = {}
        for event in events:
            if isinstance(event, ArraySlot):
                slots.setdefault((event.registration, event.after), []).append(event)
        every = [event for event in events if isinstance(event, Registered)]
        known = [event for event in every if event.pf in HOOK_POINTS]
        self.doubts = tuple(f"a hook of unknown family {event.pf} was registered or unregistered" for event in every if event not in known)
        self.all = tuple(self._told(number, event, slots) for number, event in enumerate(known, 1))

    def generation(self, entry: Entry, left: int | None) -> Generation:
        """The array that a traversal ran over.

        :param left: when it was left (``CLOCK_MONOTONIC``, ns); ``None`` if that was not seen
        """
        history = self._histories.get(_point_of(entry))
        if history is None:
            return Generation(0)
        number = next((number for number, (time, array) in reversed(list(enumerate(history.arrays)))
                       if array == entry.array and time <= entry.time), None)
        if number is None:
            return Generation(None)
        end = entry.time if left is None else left
        return Generation(number, tuple(
            Missed(change.number, change.what, change.hook.chain or change.hook.function, before=time <= entry.time)
            for time, change in history.changes[number:] if time <= end))

    def _told(self, number: int, event: Registered, slots: Mapping[tuple[int, bool], Sequence[ArraySlot]]) -> Registration:
        before, after = (self._array(slots.get((event.registration, side), ()), event) for side in (False, True))
        gone = event.did in (Did.UNREGISTERED, Did.DELETED)
        point, generation = None, None
        if event.netns:
            point = _point(event.netns, event.pf, event.hook, event.device)
            history = self._histories.get(point)
            if history is None:
                history = self._histories[point] = _History([(0, event.before)])
            if event.result == 0 and event.after != event.before:
                generation = len(history.arrays)
                history.arrays.append((event.time, event.after))
        index = self._index(event, before if gone else after, gone=gone)
        netns = self._netns.get(event.netns, f"net:[{event.netns}]") if event.netns else ""
        found = Registration(
            number, "unregistered" if gone else "registered", event.time - self._begin, Family(event.pf), event.hook, netns, event.device,
            self._slot(event, index, event.pf, event.hook), max(0, -event.result), event.process, event.pid,
            tuple(map(self._caller, event.stack)), event.key, generation, before, after,
            event.slots_before, event.slots_after, event.link or None)
        if generation is not None and point is not None:
            self._histories[point].changes.append((event.time, found))
        return found

    def _index(self, event: Registered, array: Sequence[Slot], *, gone: bool) -> int:
        """Where the hook is in the array that has it; -1 where that is not known.

        It was put before the first one of equal priority, and is a dummy now if it was taken out.
        """
        if gone:
            dummies = [slot.index for slot in array if slot.dummy]
            return dummies[0] if len(dummies) == 1 else -1
        hook = self._slot(event, -1, event.pf, event.hook)
        same = (slot.index for slot in array if (slot.function, slot.priority, slot.chain) == (hook.function, hook.priority, hook.chain))
        return next(same, -1)

    def _array(self, slots: Iterable[ArraySlot], event: Registered) -> tuple[Slot, ...]:
        return tuple(self._slot(slot, slot.slot, event.pf, event.hook) for slot in sorted(slots, key=lambda slot: slot.slot))

    def _slot(self, seen: ArraySlot | Registered, index: int, pf: int, hook: int) -> Slot:
        symbol = self._function(seen.function)
        # A hook's address is that of the function's first instruction.
        if symbol and symbol.address != seen.function & _ADDRESS:
            symbol = None
        function = symbol.name if symbol else f"{seen.function & _ADDRESS:#x}"
        table = table_of(function, seen.priority)
        chain = f"{table} {hook_name(Family(pf), hook)}" if table else seen.name
        return Slot(index, function, symbol.module if symbol else None, seen.priority, dummy=function == _DUMMY, chain=chain)

    def _caller(self, address: int) -> str:
        """A function's name as the source has it, and its module."""
        symbol = self._function(address)
        if symbol is None:
            return f"{address & _ADDRESS:#x}"
        name = symbol.name.partition(".")[0]
        return f"{name} [{symbol.module}]" if symbol.module else name


def _point(netns: int, pf: int, hook: int, device: str) -> _Point:
    return netns, *(_INGRESS if (pf, hook) == _INGRESS_OF_INET else (pf, hook)), device


def _point_of(entry: Entry) -> _Point:
    """A device's points are ingress, where packets come in by it, and egress."""
    device = (entry.outdev if entry.hook else entry.indev) if entry.pf == Family.NETDEV else ""
    return _point(entry.netns, entry.pf, entry.hook, device)
