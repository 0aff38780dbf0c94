"""Which part of an observation answers to which part of the prediction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import TypeVar

from harness.outcome.types import HookCall, PacketOutcome, Slot, Traversal

__all__ = ("identity", "pair_calls", "pair_packets", "pair_traversals", "reordered")

T = TypeVar("T")


def pair_packets(
    predicted: Sequence[PacketOutcome], observed: Sequence[PacketOutcome]
) -> tuple[tuple[PacketOutcome | None, PacketOutcome | None], ...]:
    """Packets with the same cookie and of one kind belong together, the nth with the nth; what has no partner stands with ``None``.

    Strangers' packets, which carry no cookie, have none and come last.
    """
    rest: dict[tuple[int, str], list[PacketOutcome]] = {}
    for packet in observed:
        if packet.cookie is not None:
            rest.setdefault((packet.cookie, packet.kind), []).append(packet)
    pairs: list[tuple[PacketOutcome | None, PacketOutcome | None]] = []
    for packet in predicted:
        same = rest.get((packet.cookie, packet.kind), []) if packet.cookie is not None else []
        pairs.append((packet, same.pop(0) if same else None))
    strangers = [packet for packet in observed if packet.cookie is None]
    return (*pairs, *((None, packet) for left in rest.values() for packet in left), *((None, packet) for packet in strangers))


def pair_traversals(
    predicted: Sequence[Traversal], observed: Sequence[Traversal]
) -> tuple[tuple[Traversal | None, Traversal | None], ...]:
    """Align two walks: the same points in the same order belong together."""
    return _align(predicted, observed, lambda traversal: (traversal.netns, traversal.pf, traversal.hook))


def pair_calls(predicted: Sequence[HookCall], observed: Sequence[HookCall]) -> tuple[tuple[HookCall | None, HookCall | None], ...]:
    """Align the calls of two runs of the loop by the hook; the same hooks in another order find their partners too."""
    if not reordered(predicted, observed):
        return _align(predicted, observed, identity)
    partners: dict[Hashable, list[HookCall]] = {}
    for call in predicted:
        partners.setdefault(identity(call), []).append(call)
    return tuple((partners[identity(call)].pop(0), call) for call in observed)


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
