"""Three readings of each array: what the scenario has registered, what the module finds in the kernel, what ``nfnetlink_hook`` lists.

They must agree after every step at the points that it is about. Those points must be before it, and all points at the end, as they were
left. Order, and what else is in an array, is the model's to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from harness.guest.arrays import Arrays, points_of
from harness.guest.genetlink import NetlinkRefused
from harness.guest.nfnetlink_hook import HookList, ListedHook, decoded
from harness.netfilter import Family, hook_number
from harness.outcome.types import Slot, point_key
from harness.scenario.step import Point
from harness.scenario.steps.hooks import Register

__all__ = ("Journal",)

Place = tuple[str, Family, int, str | None]
"""Namespace, family, hook number and device of a hook point that has an array."""


@dataclass(slots=True)
class Journal:
    """What a scenario's steps led to, one after the other.

    :param lists: the kernel's own, by namespace; none where it has none
    :ivar registered: by point, how often each hook of the scenario is registered there
    :ivar places: by :func:`harness.outcome.types.point_key`, of the points that were named
    :ivar left: by point, what the module has found there last
    :ivar read: by point, what the list said then, undecoded
    """

    lists: dict[str, HookList]
    registered: dict[str, Counter[str]] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    left: dict[str, tuple[Slot, ...]] = field(default_factory=dict)
    read: dict[str, tuple[bytes, ...]] = field(default_factory=dict)

    def added(self, hook: Register) -> None:
        """Core took a registration."""
        for key in self._keys(hook):
            self.registered.setdefault(key, Counter())[hook.id] += 1

    def removed(self, hook: Register) -> None:
        """A registration was taken back."""
        for key in self._keys(hook):
            self.registered[key][hook.id] -= 1

    def lost(self, netns: str, device: str | None = None) -> None:
        """A device went with its hooks, or all of a namespace."""
        for table in (self.registered, self.places, self.left, self.read):
            for key in list(table):
                of, *_, last = key.split("/")
                if of == netns and device in (None, last):
                    del table[key]

    def _keys(self, hook: Point) -> Iterator[str]:
        for pf, number, device in points_of(hook.pf, hook_number(hook.pf, hook.hook), hook.device):
            key = point_key(hook.netns, pf, number, device)
            self.places[key] = hook.netns, pf, number, device
            yield key

    def before(self, points: Iterable[Point]) -> Iterator[str]:
        """What the list says to have changed since the last step, at the points that a step is about to touch."""
        for key in dict.fromkeys(key for point in points for key in self._keys(point)):
            now = self._list(key)
            if now is not None and now != self.read.get(key) and _found(self.left.get(key, ())) != _found_listed(now):
                yield f"{key}: the array was left with {_slots(self.left.get(key, ()))}, and nfnetlink_hook lists {_listed(now)}"

    def at_the_end(self, netns: str, arrays: Arrays) -> Iterator[str]:
        """What has changed since the module looked last, at any point.

        :param arrays: all of a namespace's that have slots
        """
        found = {key: slots for key, slots in arrays if "/raw/" not in key}
        left = [key for key, slots in self.left.items() if slots and key.startswith(f"{netns}/")]
        yield from self.unchanged(tuple((key, found.get(key, ())) for key in sorted({*found, *left})))

    def unchanged(self, arrays: Arrays) -> Iterator[str]:
        """What the module finds to have changed since it looked last."""
        for key, slots in arrays:
            if slots != self.left.get(key, ()):
                yield f"{key}: the array was left with {_slots(self.left.get(key, ()))}, and now has {_slots(slots)}"

    def after(self, arrays: Arrays) -> Iterator[str]:
        """Compare the three readings of arrays after a step; yield each disagreement in words."""
        for key, slots in arrays:
            if "/raw/" in key:
                continue
            self.left[key] = slots
            ours = Counter(slot.label for slot in slots if slot.label is not None)
            expected = +self.registered.get(key, Counter())
            if key in self.places and ours != expected:
                yield f"{key}: the scenario has registered {_names(expected)} there, and the array has {_names(ours)}"
            listed = self._list(key)
            if listed is None:
                continue
            self.read[key] = listed
            if _found(slots) != _found_listed(listed):
                yield f"{key}: the array has {_slots(slots)}, and nfnetlink_hook lists {_listed(listed)}"

    def _list(self, key: str) -> tuple[bytes, ...] | None:
        """``None`` for a point of which the kernel has no list."""
        place = self.places.get(key)
        hooks = self.lists.get(place[0]) if place else None
        if place is None or hooks is None:
            return None
        try:
            return hooks.read(*place[1:])
        except NetlinkRefused:
            return None


def _found(slots: Iterable[Slot]) -> list[ListedHook]:
    return [ListedHook(slot.function, slot.module, slot.priority) for slot in slots]


def _found_listed(bodies: Iterable[bytes]) -> list[ListedHook]:
    return list(map(decoded, bodies))


def _names(hooks: Mapping[str, int]) -> str:
    return " ".join(sorted(Counter(hooks).elements())) or "nothing"


def _slots(slots: Iterable[Slot]) -> str:
    return ", ".join(map(_named, _found(slots))) or "nothing"


def _listed(bodies: Iterable[bytes]) -> str:
    return ", ".join(map(_named, _found_listed(bodies))) or "nothing"


def _named(hook: ListedHook) -> str:
    return f"{hook.function}{f' [{hook.module}]' if hook.module else ''} at {hook.priority}"
