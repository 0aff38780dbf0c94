"""Where the outcomes of one scenario on two kernels differ from each other: the first stands where a prediction does elsewhere.

What :mod:`harness.outcome.diff` never compares is not compared here either. Names are no behaviour: a hook of the kernel's own that sits at
one point with one priority on both is the same hook there, whatever its function and its module are called (``ipv4_confirm`` of 5.10 is
``nf_confirm`` of 6.12), and a module that is built in is the same code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from harness.netfilter import NETFILTER_DROP, hook_name
from harness.outcome import describe
from harness.outcome.diff import compare
from harness.outcome.pairing import PacketPair
from harness.outcome.types import OURS, HookCall, Outcome, PacketOutcome, Slot, Traversal

__all__ = ("Contrast", "Line", "contrasts", "one_name", "walk")

_Hook = TypeVar("_Hook", HookCall, Slot)
_Place = tuple[str, str, int | None]
_Names = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Contrast:
    """One difference between two kernels.

    :param where: a path, as :class:`harness.outcome.diff.Difference` has it
    :param first: what the first kernel did, in words
    :param second: what the second did
    """

    where: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a walk on two kernels: a hook point, or the packet's end.

    :param where: the packet and what it crossed: ``packet 1, router FORWARD``
    :param first: the hooks that ran, and what the loop returned; a dash where the packet did not come
    """

    where: str
    first: str
    second: str

    @property
    def differs(self) -> bool:
        return self.first != self.second


def contrasts(first: Outcome, second: Outcome) -> tuple[Contrast, ...]:
    """Every difference, in the order of the steps and then of the packets.

    :param second: with the names of the first (:func:`one_name`)
    """
    found = compare(_crossing_something(first), _crossing_something(second))
    plain = [Contrast(one.where, one.predicted, one.observed) for one in found.differences if not one.where.endswith("/reason")]
    return (*plain, *_reasons(found.packets), *_disputes(first))


def walk(first: Outcome, second: Outcome, found: Sequence[Contrast]) -> tuple[Line, ...]:
    """The walks of the packets that some contrasts are about, side by side."""
    about = {one.where.partition("/")[0] for one in found}
    return tuple(line for pair in compare(first, second).packets if pair.name in about for line in _lines(pair))


def _crossing_something(outcome: Outcome) -> Outcome:
    """Without packets that no hook saw: a prediction has them, an observation has not."""
    return replace(outcome, packets=tuple(packet for packet in outcome.packets if packet.traversals))


def one_name(first: Outcome, second: Outcome) -> tuple[Outcome, dict[str, str]]:
    """The second outcome with the first one's names of hooks that are not the scenario's, and those names: the first one's → the second's.

    Of the hooks at one point with one priority those that have no namesake are paired in order, if there are as many on both.
    """
    before, after = _foreign(first), _foreign(second)
    renamed: dict[_Place, dict[_Names, _Names]] = {}
    told: dict[str, str] = {}
    for place, names in after.items():
        here = [name for name in before.get(place, ()) if name not in names]
        there = [name for name in names if name not in before.get(place, ())]
        if len(here) == len(there):
            renamed[place] = dict(zip(there, here, strict=True))
            told |= {_said(mine): _said(other) for other, mine in renamed[place].items()}

    def call(point: tuple[str, str], hook: _Hook) -> _Hook:
        name = renamed.get((*point, hook.priority), {}).get((hook.function, hook.module))
        return replace(hook, function=name[0], module=name[1]) if name else hook

    steps = tuple(replace(step, slots=tuple((key, tuple(call(_point(key), slot) for slot in slots)) for key, slots in step.slots))
                  for step in second.steps)
    packets = tuple(replace(packet, traversals=tuple(replace(one, calls=tuple(call(_crossed(one), hook) for hook in one.calls))
                                                     for one in packet.traversals)) for packet in second.packets)
    return replace(second, steps=steps, packets=packets), told


def _foreign(outcome: Outcome) -> dict[_Place, list[_Names]]:
    """Point and priority → functions and modules of the hooks there that are not ours, each once, in order."""
    found: dict[_Place, list[_Names]] = {}
    for point, hook in _hooks(outcome):
        names = found.setdefault((*point, hook.priority), [])
        if (hook.function, hook.module) not in names:
            names.append((hook.function, hook.module))
    return found


def _hooks(outcome: Outcome) -> Iterator[tuple[tuple[str, str], HookCall | Slot]]:
    for step in outcome.steps:
        yield from ((_point(key), slot) for key, slots in step.slots for slot in slots if slot.function != OURS and not slot.dummy)
    for packet in outcome.packets:
        yield from ((_crossed(one), call) for one in packet.traversals for call in one.calls if call.function != OURS)


def _point(key: str) -> tuple[str, str]:
    """Family and hook of an array's key; of a private array its name, at which nothing is foreign."""
    _, family, hook, *_ = key.split("/")
    return family, hook


def _crossed(traversal: Traversal) -> tuple[str, str]:
    return traversal.pf.name, hook_name(traversal.pf, traversal.hook)


def _said(names: _Names) -> str:
    function, module = names
    return f"{function} [{module}]" if module else function


def _reasons(pairs: Sequence[PacketPair]) -> Iterator[Contrast]:
    """Contrasts of the drop reasons that ``nf_hook_slow`` gives, where both packets came to the same end."""
    for pair in pairs:
        if pair.predicted and pair.observed and pair.compared and pair.predicted.fate.kind == pair.observed.fate.kind:
            first, second = _reason(pair.predicted), _reason(pair.observed)
            if first != second:
                yield Contrast(f"{pair.name}/reason", first or "freed without a reason", second or "freed without a reason")


def _reason(packet: PacketOutcome) -> str:
    """The drop reason that ``nf_hook_slow`` gave, in words; empty if it gave none."""
    given = bool(packet.traversals) and packet.traversals[-1].slow_drops and NETFILTER_DROP in (packet.fate.reason or "").split()
    return f"freed with the reason {NETFILTER_DROP}" if given else ""


def _disputes(first: Outcome) -> Iterator[Contrast]:
    """Contrasts within the first kernel's observation, which stands in a prediction's place and is not compared with itself elsewhere."""
    for step in first.steps:
        yield from (Contrast(f"steps[{step.step}]", dispute, "one array, however it is read") for dispute in step.disputes)


def _lines(pair: PacketPair) -> Iterator[Line]:
    for point in pair.traversals:
        where = f"{pair.name}, {point.either.netns} {describe.point(point.either)}"
        yield Line(where, _crossing(point.predicted), _crossing(point.observed))
    yield Line(f"{pair.name}, its end", _end(pair.predicted), _end(pair.observed))


def _crossing(traversal: Traversal | None) -> str:
    if traversal is None:
        return "-"
    return f"{describe.calls(traversal.calls)} → {describe.returned(traversal.returned)}"


def _end(packet: PacketOutcome | None) -> str:
    if packet is None:
        return "-"
    return ", ".join(filter(None, (describe.fate(packet.fate), _reason(packet))))
