"""What a rule expects beyond agreement with the model: written down step by step, so that a wrong kernel does not pass with a model
that is wrong in the same way.

An expectation stands in a rule's script right after the step that it speaks of. It looks at the scenario's own hooks only: foreign
ones (a security module's, nft's) may stand among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from harness.netfilter import Family, hook_number
from harness.outcome import describe
from harness.outcome.diff import Difference
from harness.outcome.fate import Fate, FateKind
from harness.outcome.types import (
    NF_REINJECT,
    Outcome,
    PacketOutcome,
    QueueState,
    RawOutcome,
    StepOutcome,
    Traversal,
    point_key,
    queue_key,
    raw_key,
)
from harness.scenario.step import Step

__all__ = (
    "BY_STACK",
    "Answered",
    "Array",
    "At",
    "Crosses",
    "Expectation",
    "Finds",
    "PrivateArray",
    "Queue",
    "Ran",
    "Returns",
    "Splats",
    "unmet",
)

_V4 = Family.IPV4
BY_STACK: FateKind = "dropped by the stack"

_SAYS = "the rule says so, whatever the model says"


@dataclass(frozen=True, slots=True)
class Returns:
    """The step fails with this errno.

    :param errno: positive; 0 for success
    :param otherwise: another one that will do
    """

    errno: int
    otherwise: int | None = None


@dataclass(frozen=True, slots=True)
class Array:
    """Expect a point to have these hooks of the scenario after the step, in this order.

    :param hooks: their ids, with blanks between them; ``dummy`` for a slot that a failed shrink left
    """

    netns: str
    pf: Family
    hook: str
    hooks: str
    device: str | None = None


@dataclass(frozen=True, slots=True)
class At:
    """One run of the verdict loop.

    :param hooks: ids of the scenario's hooks that are called, in this order, with blanks between them
    :param returned: by the loop; negative for an errno
    :param resumed: the slot of the hook that queued, where ``nf_reinject`` goes on; ``None`` for another loop
    :param indev: ``state->in``, empty for none; ``None``: whatever it is
    :param outdev: ``state->out``, empty for none; ``None``: whatever it is
    :param okfn: symbol of ``state->okfn``, empty for NULL; ``None``: whatever it is
    :param start: the slot that the loop began with
    :param loop: which one it was; ``None``: whatever it was
    """

    netns: str
    hook: str
    hooks: str
    returned: int = 1
    pf: Family = _V4
    indev: str | None = None
    outdev: str | None = None
    okfn: str | None = None
    start: int | None = None
    loop: str | None = None

    def __str__(self) -> str:
        family = "" if self.pf is _V4 else f"{self.pf.name} "
        hooks = self.hooks if len(self.hooks) < 200 else f"{self.hooks[:80]} … {self.hooks[-80:]}"
        sides = (("in", self.indev), ("out", self.outdev))
        devices = "".join(f", {side} {device or 'none'}" for side, device in sides if device is not None)
        more = "".join(f", {name} {value or 'none'}" for name, value in (("okfn", self.okfn), ("from slot", self.start), ("in", self.loop))
                       if value is not None)
        return f"{self.netns} {family}{self.hook}{devices}{more}: {hooks} → {describe.returned(self.returned)}"

    def holds(self, traversal: Traversal) -> bool:
        """Whether a traversal is the one that is expected."""
        return (
            (self.netns, self.pf, hook_number(self.pf, self.hook)) == (traversal.netns, traversal.pf, traversal.hook)
            and self.hooks.split() == _labels(traversal)
            and self.returned == traversal.returned
            and self.indev in (None, traversal.indev)
            and self.outdev in (None, traversal.outdev)
            and self.okfn in (None, traversal.okfn or "")
            and self.start in (None, traversal.start)
            and self.loop in (None, traversal.loop)
        )


@dataclass(frozen=True, slots=True)
class Crosses:
    """The packet crosses exactly these points at which a hook of the scenario is called, in this order, and comes to this end.

    :param errno: of the fate, positive
    :param nth: which of the packets with the step's cookie, from 0: answers carry it too
    :param reason: what the rest of the kernel is told of the end: ``enum skb_drop_reason``; empty: whatever it is
    """

    at: tuple[At, ...]
    fate: FateKind = "delivered"
    errno: int = 0
    nth: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """The packet is answered, or errors about it are sent, just so often."""

    times: int


@dataclass(frozen=True, slots=True)
class PrivateArray:
    """Expect a private array to have these hooks after the step, in this order.

    :param hooks: their ids, with blanks between them
    """

    netns: str
    array: str
    hooks: str


@dataclass(frozen=True, slots=True)
class Ran:
    """A run over a private array calls these hooks, returns this, and core frees the skb or not."""

    hooks: str
    returned: int
    freed: bool = False


@dataclass(frozen=True, slots=True)
class Queue:
    """Expect a queue to have a listener after the step, and so many packets to wait in it, of so many that came in all."""

    netns: str
    number: int
    total: int
    came: int
    dropped: int = 0

    @property
    def state(self) -> QueueState:
        """The queue's state as an outcome has it."""
        return QueueState(self.total, self.dropped, 0, self.came)


@dataclass(frozen=True, slots=True)
class Splats:
    """The step makes the kernel warn of exactly this.

    :param splats: messages; of a warning without one its source file
    """

    splats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finds:
    """The step finds just this.

    :param facts: by name
    :param more: it may find more
    """

    facts: tuple[tuple[str, str | int], ...]
    more: bool = False

    @classmethod
    def of(cls, **facts: str | int) -> Finds:
        """Expect these facts and no others."""
        return cls(tuple(sorted(facts.items())))


Expectation = Answered | Returns | Array | Finds | PrivateArray | Queue | Ran | Splats | Crosses


def unmet(step: int, did: Step, expectation: Expectation, outcome: Outcome) -> Iterator[Difference]:  # noqa: PLR0912 - one for each kind
    """Where an outcome departs from what is expected of the step number *step*."""
    where = f"steps[{step}]"
    found = next((one for one in outcome.steps if one.step == step), None)
    match expectation:
        case Returns():
            if found is None or found.errno not in (expectation.errno, expectation.otherwise):
                answer = "no answer" if found is None else describe.errno(found.errno)
                yield Difference(where, describe.errno(expectation.errno), answer, _SAYS)
        case Array():
            key = point_key(expectation.netns, expectation.pf, hook_number(expectation.pf, expectation.hook), expectation.device)
            yield from _held(where, key, expectation.hooks.split(), found)
        case PrivateArray():
            yield from _held(where, raw_key(expectation.netns, expectation.array), expectation.hooks.split(), found)
        case Queue():
            key = queue_key(expectation.netns, expectation.number)
            state = dict(found.queues).get(key) if found else None
            if state != expectation.state:
                yield Difference(f"{where}/{key}", describe.queue(expectation.state), describe.queue(state), _SAYS)
        case Ran():
            run = found.raw if found else None
            expected = RawOutcome(expectation.returned, tuple(expectation.hooks.split()), 1 if expectation.freed else 2)
            if run != expected:
                yield Difference(f"{where}/nf_hook_slow", describe.raw(expected), describe.raw(run), _SAYS)
        case Splats():
            splats = found.splats if found else ()
            if splats != expectation.splats:
                yield Difference(f"{where}/splats", "; ".join(expectation.splats) or "none", "; ".join(splats) or "none", _SAYS)
        case Crosses():
            packets = [one for one in outcome.packets if one.cookie == did.traffic.cookie]
            name = describe.cookie(did.traffic.cookie, packets[0].kind if packets else "")
            name += f" ({expectation.nth + 1})" if expectation.nth else ""
            yield from _walked(name, expectation, packets[expectation.nth] if expectation.nth < len(packets) else None)
        case Answered():
            times = sum(one.cookie == did.traffic.cookie for one in outcome.packets) - 1
            if times != expectation.times:
                yield Difference(f"packet {did.traffic.cookie}/answers", str(expectation.times), str(times), _SAYS)
        case Finds():
            facts = found.facts if found else ()
            meant = tuple(fact for fact in facts if fact in expectation.facts) if expectation.more else facts
            if meant != expectation.facts:
                yield Difference(f"{where}/facts", describe.facts(expectation.facts), describe.facts(facts), _SAYS)
        case _:
            assert_never(expectation)


def _held(where: str, key: str, hooks: Sequence[str], found: StepOutcome | None) -> Iterator[Difference]:
    slots = dict(found.slots).get(key) if found else None
    ours = None if slots is None else [slot.label or "dummy" for slot in slots if slot.label or slot.dummy]
    if ours != hooks:
        yield Difference(f"{where}/{key}", _short(hooks), "not read" if ours is None else _short(ours), _SAYS)


def _walked(where: str, walk: Crosses, packet: PacketOutcome | None) -> Iterator[Difference]:
    if packet is None:
        yield Difference(where, "a walk", "no such packet", _SAYS)
        return
    ours = [traversal for traversal in packet.traversals if _labels(traversal) or traversal.loop == NF_REINJECT]
    if len(ours) != len(walk.at) or not all(at.holds(one) for at, one in zip(walk.at, ours, strict=True)):
        expected, found = "; ".join(map(str, walk.at)), "; ".join(map(_shown, ours))
        yield Difference(where, expected or "no hook is called", found or "no hook was called", _SAYS)
    if (walk.fate, walk.errno) != (packet.fate.kind, packet.fate.errno):
        yield Difference(f"{where}/fate", describe.fate(Fate(walk.fate, walk.errno)), describe.fate(packet.fate), _SAYS)
    if walk.reason and walk.reason not in (packet.fate.reason or "").split():
        yield Difference(f"{where}/reason", f"freed with the reason {walk.reason}", packet.fate.reason or "freed without a reason", _SAYS)


def _resumed(traversal: Traversal) -> int | None:
    return traversal.start if traversal.loop == NF_REINJECT else None


def _labels(traversal: Traversal) -> list[str]:
    return [call.label for call in traversal.calls if call.label is not None]


def _short(hooks: Sequence[str]) -> str:
    if len(hooks) > 12:
        return f"{' '.join(hooks[:4])} … {' '.join(hooks[-4:])} ({len(hooks)} hooks)"
    return " ".join(hooks) or "empty"


def _shown(traversal: Traversal) -> str:
    devices = f", in {traversal.indev or 'none'}, out {traversal.outdev or 'none'}"
    devices += f", okfn {traversal.okfn or 'none'}, from slot {traversal.start}, in {traversal.loop}"
    return f"{traversal.netns} {describe.point(traversal)}{devices}: {_short(_labels(traversal))} → {describe.returned(traversal.returned)}"
