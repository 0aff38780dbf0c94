"""Which part of an observation answers to which part of the prediction: one tree, aligned once.

:func:`harness.outcome.diff.compare` attaches each difference to the pairs that it is about; what is shown of a run is read off the tree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Generic, TypeVar

from harness.outcome import describe
from harness.outcome.types import HookCall, PacketOutcome, QueueState, RawOutcome, Slot, StepOutcome, Traversal

__all__ = ("ArrayPair", "Difference", "NamedPair", "PacketPair", "PartPair", "StepPair", "TraversalPair", "aligned", "aligned_steps",
           "alone", "identity", "reordered")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Difference:
    """One departure.

    :param where: a path: ``steps[3]``, ``packet 1/router FORWARD``, ``packet 1/router FORWARD/call 2``, ``packet 1/fate``
    :param predicted: what the model says, in words
    :param observed: what the kernel did
    :param explanation: what that means
    """

    where: str
    predicted: str
    observed: str
    explanation: str


@dataclass(frozen=True, slots=True, eq=False)
class PartPair(Generic[T]):
    """A part of the prediction and the same part of the observation; ``None`` on the side that lacks it.

    :param differences: what differs about this part, filled in by :func:`harness.outcome.diff.compare`. If one side lacks a whole
        (a packet, a traversal, a step), its parts have the difference too
    """

    predicted: T | None
    observed: T | None
    differences: list[Difference] = field(default_factory=list, kw_only=True)

    @property
    def either(self) -> T:
        """The observed one, or else the predicted one."""
        found = self.predicted if self.observed is None else self.observed
        assert found is not None  # noqa: S101 - a pair has at least one half
        return found


@dataclass(frozen=True, slots=True, eq=False)
class NamedPair(PartPair[T]):
    """A fact, an NFQUEUE queue, an array or a packet, with its name or key."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class ArrayPair(NamedPair[tuple[Slot, ...]]):
    """The array of a hook point, or a private one.

    :param slots: by index
    """

    slots: tuple[PartPair[Slot], ...]


@dataclass(frozen=True, slots=True, eq=False)
class StepPair(PartPair[StepOutcome]):
    """A step, with the arrays, facts and queues that either side reports.

    :param step: its position
    :param splats: a warning of the kernel each
    """

    step: int
    arrays: tuple[ArrayPair, ...]
    raw: PartPair[RawOutcome]
    facts: tuple[NamedPair[str | int], ...]
    queues: tuple[NamedPair[QueueState], ...]
    splats: tuple[PartPair[str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class TraversalPair(PartPair[Traversal]):
    """A traversal of a hook point. Its differences are those of how the packet came there: devices, okfn, loop, slot, a listener's answer.

    :param returned: what the verdict loop returned
    """

    calls: tuple[PartPair[HookCall], ...]
    returned: PartPair[int]


@dataclass(frozen=True, slots=True, eq=False)
class PacketPair(NamedPair[PacketOutcome]):
    """A packet; its differences are those of its fate.

    It is named ``packet 1``; answers that carry the same cookie are ``packet 1 (2)`` and so on; ``unrelated packet`` without a cookie.

    :param compared: whether there is a prediction: there is none of packets without a cookie
    """

    traversals: tuple[TraversalPair, ...]
    compared: bool = True


def aligned_steps(predicted: Sequence[StepOutcome], observed: Sequence[StepOutcome]) -> tuple[StepPair, ...]:
    """Pair the steps by their positions."""
    expected, found = {step.step: step for step in predicted}, {step.step: step for step in observed}
    return tuple(_step(number, expected.get(number), found.get(number)) for number in sorted(expected.keys() | found.keys()))


def _step(number: int, predicted: StepOutcome | None, observed: StepOutcome | None) -> StepPair:
    before, after = predicted or StepOutcome(number), observed or StepOutcome(number)
    arrays = tuple(ArrayPair(left, right, key, tuple(PartPair(*pair) for pair in zip_longest(left or (), right or ())))
                   for key, left, right in _by_name(before.slots, after.slots, in_order=False))
    facts: tuple[NamedPair[str | int], ...] = tuple(
        NamedPair(left, right, name) for name, left, right in _by_name(before.facts, after.facts))
    queues = tuple(NamedPair(left, right, key) for key, left, right in _by_name(before.queues, after.queues, in_order=False))
    splats = tuple(PartPair(*pair) for pair in _align(before.splats, after.splats, str))
    return StepPair(predicted, observed, number, arrays, PartPair(before.raw, after.raw), facts, queues, splats)


def _by_name(predicted: Sequence[tuple[str, T]], observed: Sequence[tuple[str, T]], *, in_order: bool = True) -> list[
        tuple[str, T | None, T | None]]:
    """Each name once with what either side has under it.

    :param in_order: of the reports; otherwise sorted
    """
    before, after = dict(predicted), dict(observed)
    names = list(dict.fromkeys((*before, *after)))
    return [(name, before.get(name), after.get(name)) for name in (names if in_order else sorted(names))]


def aligned(predicted: Sequence[PacketOutcome], observed: Sequence[PacketOutcome]) -> tuple[PacketPair, ...]:
    """Packets with the same cookie and of one kind belong together, the nth with the nth.

    Unrelated packets, which carry no cookie, have no partner; observed ones come last.
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
    others = [alone("unrelated packet", packet) for packet in observed if packet.cookie is None]
    return (*_named(pairs), *others)


def alone(name: str, packet: PacketOutcome) -> PacketPair:
    """An observed packet of which nothing is predicted."""
    return PacketPair(None, packet, name, tuple(_traversal(None, one) for one in packet.traversals), compared=False)


def _named(pairs: Sequence[tuple[PacketOutcome | None, PacketOutcome | None]]) -> Iterator[PacketPair]:
    nth: Counter[int | None] = Counter()
    for predicted, observed in pairs:
        cookie, kind = next((one.cookie, one.kind) for one in (predicted, observed) if one is not None)
        nth[cookie] += 1
        number = f" ({nth[cookie]})" if nth[cookie] > 1 else ""
        name = "unrelated packet" if cookie is None else describe.cookie(cookie, kind) + number
        traversals = _align(predicted.traversals if predicted else (), observed.traversals if observed else (),
                            lambda traversal: (traversal.netns, traversal.pf, traversal.hook))
        yield PacketPair(predicted, observed, name, tuple(_traversal(*pair) for pair in traversals), compared=cookie is not None)


def _traversal(predicted: Traversal | None, observed: Traversal | None) -> TraversalPair:
    returned = PartPair(predicted.returned if predicted else None, observed.returned if observed else None)
    return TraversalPair(predicted, observed, _calls(predicted, observed), returned)


def _calls(predicted: Traversal | None, observed: Traversal | None) -> tuple[PartPair[HookCall], ...]:
    """Pair calls by the hook; the same hooks in another order find their partners too."""
    before, after = predicted.calls if predicted else (), observed.calls if observed else ()
    if not reordered(before, after):
        return tuple(PartPair(*pair) for pair in _align(before, after, identity))
    partners: dict[Hashable, list[HookCall]] = {}
    for call in before:
        partners.setdefault(identity(call), []).append(call)
    return tuple(PartPair(partners[identity(call)].pop(0), call) for call in after)


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
