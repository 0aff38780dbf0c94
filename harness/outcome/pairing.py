"""Which part of an observation answers to which part of the prediction: aligned once, for the differences and for those who show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import TypeVar

from harness.outcome import describe
from harness.outcome.types import HookCall, PacketOutcome, Slot, Traversal

__all__ = ("CallPair", "PacketPair", "TraversalPair", "aligned", "alone", "identity", "reordered")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CallPair:
    """A call of a hook function: as predicted, as observed; ``None`` on the side that lacks it."""

    predicted: HookCall | None
    observed: HookCall | None


@dataclass(frozen=True, slots=True)
class TraversalPair:
    """A traversal of a hook point, with its calls; ``None`` on the side that lacks it."""

    predicted: Traversal | None
    observed: Traversal | None
    calls: tuple[CallPair, ...]

    @property
    def either(self) -> Traversal:
        """The observed one, or else the predicted one."""
        found = self.observed or self.predicted
        assert found is not None  # noqa: S101 - a pair has at least one half
        return found


@dataclass(frozen=True, slots=True)
class PacketPair:
    """A packet, with its traversals; ``None`` on the side that lacks it.

    :param name: ``packet 1``; the answers that carry the same cookie are ``packet 1 (2)`` and so on; ``packet of others``
    :param compared: whether there is a prediction: there is none of packets without a cookie
    """

    name: str
    predicted: PacketOutcome | None
    observed: PacketOutcome | None
    traversals: tuple[TraversalPair, ...]
    compared: bool = True

    @property
    def either(self) -> PacketOutcome:
        """The observed one, or else the predicted one."""
        found = self.observed or self.predicted
        assert found is not None  # noqa: S101 - a pair has at least one half
        return found


def aligned(predicted: Sequence[PacketOutcome], observed: Sequence[PacketOutcome]) -> tuple[PacketPair, ...]:
    """Packets with the same cookie and of one kind belong together, the nth with the nth.

    Packets of others, which carry no cookie, have no partner and come last.
    """
    rest: dict[tuple[int, str], list[PacketOutcome]] = {}
    for packet in observed:
        if packet.cookie is not None:
            rest.setdefault((packet.cookie, packet.kind), []).append(packet)
    pairs: list[tuple[PacketOutcome | None, PacketOutcome | None]] = []
    for packet in predicted:
        same = rest.get((packet.cookie, packet.kind), []) if packet.cookie is not None else []
        pairs.append((packet, same.pop(0) if same else None))
    pairs += [(None, packet) for left in rest.values() for packet in left]
    others = [alone("packet of others", packet) for packet in observed if packet.cookie is None]
    return (*_named(pairs), *others)


def alone(name: str, packet: PacketOutcome) -> PacketPair:
    """An observed packet of which nothing is predicted."""
    traversals = tuple(TraversalPair(None, one, tuple(CallPair(None, call) for call in one.calls)) for one in packet.traversals)
    return PacketPair(name, None, packet, traversals, compared=False)


def _named(pairs: Sequence[tuple[PacketOutcome | None, PacketOutcome | None]]) -> Iterator[PacketPair]:
    nth: Counter[int | None] = Counter()
    for predicted, observed in pairs:
        cookie, kind = next((one.cookie, one.kind) for one in (predicted, observed) if one is not None)
        nth[cookie] += 1
        name = describe.cookie(cookie, kind) + (f" ({nth[cookie]})" if nth[cookie] > 1 else "")
        traversals = _align(predicted.traversals if predicted else (), observed.traversals if observed else (),
                            lambda traversal: (traversal.netns, traversal.pf, traversal.hook))
        yield PacketPair(name, predicted, observed, tuple(TraversalPair(before, after, _calls(before, after))
                                                          for before, after in traversals))


def _calls(predicted: Traversal | None, observed: Traversal | None) -> tuple[CallPair, ...]:
    """Pair calls by the hook; the same hooks in another order find their partners too."""
    before, after = predicted.calls if predicted else (), observed.calls if observed else ()
    if not reordered(before, after):
        return tuple(CallPair(*pair) for pair in _align(before, after, identity))
    partners: dict[Hashable, list[HookCall]] = {}
    for call in before:
        partners.setdefault(identity(call), []).append(call)
    return tuple(CallPair(partners[identity(call)].pop(0), call) for call in after)


def reordered(predicted: Sequence[HookCall | Slot], observed: Sequence[HookCall | Slot]) -> bool:
    """Whether the two have the same hooks, but in another order."""
    before, after = list(map(identity, predicted)), list(map(identity, observed))
    return before != after and Counter(before) == Counter(after)


def identity(hook: HookCall | Slot) -> tuple[str | None, str, str | None, int | None]:
    """What makes two calls calls of the same hook."""
    return hook.label, hook.function, hook.module, hook.priority


def _align(left: Sequence[T], right: Sequence[T], key: Callable[[T], Hashable]) -> tuple[tuple[T | None, T | None], ...]:
    matcher = SequenceMatcher(None, [key(one) for one in left], [key(one) for one in right], autojunk=False)
    pairs: list[tuple[T | None, T | None]] = []
    for tag, left_from, left_to, right_from, right_to in matcher.get_opcodes():
        if tag == "equal":
            pairs += zip_longest(left[left_from:left_to], right[right_from:right_to])
        else:
            pairs += [(one, None) for one in left[left_from:left_to]] + [(None, one) for one in right[right_from:right_to]]
    return tuple(pairs)
