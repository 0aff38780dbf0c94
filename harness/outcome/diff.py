"""Where an observation departs from the prediction, and what a run amounts to.

Never compared: nanoseconds, drop reasons that are not ``nf_hook_slow``'s, summaries and unrelated packets; they are there for a reader.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.outcome import describe
from harness.outcome.pairing import (
    ArrayPair,
    Difference,
    PacketPair,
    PartPair,
    StepPair,
    TraversalPair,
    aligned,
    aligned_steps,
    identity,
    reordered,
)
from harness.outcome.types import OURS, HookCall, Outcome, PacketOutcome, Slot, StepOutcome, Traversal

__all__ = ("Comparison", "Conclusion", "Difference", "compare", "conclude", "inconclusive_reasons")

Conclusion = Literal["conformant", "different", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is to be said of a run.

    :param differences: in the order of the steps and then of the packets
    :param reasons: why the run is inconclusive, if it is
    :param steps: as predicted and as observed, each pair with the differences that are about it
    :param packets: in the same way
    """

    verdict: Conclusion
    differences: tuple[Difference, ...]
    reasons: tuple[str, ...]
    steps: tuple[StepPair, ...]
    packets: tuple[PacketPair, ...]


def compare(predicted: Outcome, observed: Outcome) -> Comparison:
    """All that is to be said of a run: every departure, in the order of the steps and then of the packets."""
    steps, packets = aligned_steps(predicted.steps, observed.steps), aligned(predicted.packets, observed.packets)
    differences = (*_diff_steps(steps), *_diff_packets(packets))
    reasons = inconclusive_reasons(predicted, observed)
    verdict: Conclusion = "inconclusive" if reasons else "different" if differences else "conformant"
    return Comparison(verdict, differences, reasons, steps, packets)


def conclude(predicted: Outcome, observed: Outcome) -> Conclusion:
    """``inconclusive`` beats ``different``: what a tracer missed looks like a difference."""
    return compare(predicted, observed).verdict


def inconclusive_reasons(predicted: Outcome, observed: Outcome) -> tuple[str, ...]:
    """Why nothing can be concluded; empty if it can."""
    reasons = []
    if observed.lost_events:
        reasons.append(f"the tracer lost {observed.lost_events} event{'s' if observed.lost_events > 1 else ''}")
    reasons += [*predicted.doubts, *observed.doubts]
    crossed = {traversal.loop for packet in predicted.packets for traversal in packet.traversals}
    reasons += [f"{loop}: its calls are not seen: {why}" for loop, why in observed.blind if loop in crossed]
    seen = {packet.cookie for packet in observed.packets}
    for packet in predicted.packets:
        if packet.traversals and packet.cookie not in seen:
            reasons.append(f"{describe.cookie(packet.cookie, packet.kind)} was sent but not seen")
    for packet in observed.packets:
        if packet.cookie is None:
            continue
        name = describe.cookie(packet.cookie, packet.kind)
        if packet.fate.kind == "unknown":
            reasons.append(f"{name}: what became of it was not seen")
        reasons += [f"{name}: the end of the verdict loop at {one.netns} {describe.point(one)} was not seen"
                    for one in packet.traversals if one.returned is None]
    return tuple(dict.fromkeys(reasons))


def _found(where: str, predicted: str, observed: str, explanation: str, about: Iterable[PartPair[Any]]) -> Difference:
    """A difference, attached to the pairs that it is about."""
    difference = Difference(where, predicted, observed, explanation)
    for pair in about:
        pair.differences.append(difference)
    return difference


def _diff_steps(pairs: Sequence[StepPair]) -> Iterator[Difference]:
    for pair in pairs:
        where = f"steps[{pair.step}]"
        if pair.predicted is not None and pair.observed is not None:
            yield from _diff_step(where, pair, pair.predicted, pair.observed)
        else:
            said = ("an answer", "none") if pair.observed is None else ("no such step", "an answer")
            yield _found(where, *said, "one of the two ran a step that the other did not", _parts_of_step(pair))


def _parts_of_step(pair: StepPair) -> list[PartPair[Any]]:
    return [pair, pair.raw, *pair.facts, *pair.queues, *pair.splats, *pair.arrays, *(slot for array in pair.arrays for slot in array.slots)]


def _diff_step(where: str, pair: StepPair, predicted: StepOutcome, observed: StepOutcome) -> Iterator[Difference]:
    if predicted.errno != observed.errno:
        explanation = "the kernel failed with another errno"
        if not predicted.errno or not observed.errno:
            did, does = ("did", "refuses") if predicted.errno else ("refused", "does")
            explanation = f"the kernel {did} what the model {does}"
        yield _found(where, describe.errno(predicted.errno), describe.errno(observed.errno), explanation, [pair])
    for array in pair.arrays:
        yield from _diff_array(f"{where}/{array.name}", array)
    if predicted.raw != observed.raw:
        yield _found(f"{where}/nf_hook_slow", describe.raw(predicted.raw), describe.raw(observed.raw),
                     _explain_raw(predicted, observed), [pair.raw])
    for fact in pair.facts:
        expected, found = ("nothing" if side is None else side for side in (fact.predicted, fact.observed))
        if expected != found:
            yield _found(f"{where}/{fact.name}", str(expected), str(found), "the kernel is in another state", [fact])
    for dispute in observed.disputes:
        yield _found(where, "one array, however it is read", dispute, "the readings of a hook point do not agree", [pair])
    for queue in pair.queues:
        if queue.predicted != queue.observed:
            yield _found(f"{where}/{queue.name}", describe.queue(queue.predicted), describe.queue(queue.observed),
                         "the queue holds or counts other packets", [queue])
    if predicted.splats != observed.splats:
        unexpected = Counter(observed.splats) - Counter(predicted.splats)
        missing = Counter(predicted.splats) - Counter(observed.splats)
        explanation = ("the kernel warned where the model does not" if unexpected
                       else "the kernel did not warn" if missing else "the kernel warned in another order")
        yield _found(f"{where}/splats", "; ".join(predicted.splats) or "none", "; ".join(observed.splats) or "none", explanation,
                     [splat for splat in pair.splats if splat.predicted != splat.observed])


def _diff_array(where: str, pair: ArrayPair) -> Iterator[Difference]:
    before, after = pair.predicted or (), pair.observed or ()
    if before != after:
        yield _found(where, describe.slots(before), describe.slots(after), _explain_slots(before, after),
                     [pair, *(slot for slot in pair.slots if slot.predicted != slot.observed)])


def _explain_raw(predicted: StepOutcome, observed: StepOutcome) -> str:
    if predicted.raw is None or observed.raw is None:
        return "one of the two did not run the array"
    if predicted.raw.called != observed.raw.called:
        return "other hooks were called, or in another order"
    if predicted.raw.users != observed.raw.users:
        return {0: "core freed the skb twice", 1: "core freed the skb"}.get(observed.raw.users, "core did not free the skb")
    if predicted.raw.altered != observed.raw.altered:
        return "hooks were given another nf_hook_state than the loop was"
    return "nf_hook_slow returned something else"


def _explain_slots(predicted: Sequence[Slot], observed: Sequence[Slot]) -> str:
    missing, extra = _odd(predicted, observed), _odd(observed, predicted)
    parts = [f"{describe.name(slot)} is missing from the array" for slot in missing]
    parts += [f"{describe.name(slot)} should not be in the array" for slot in extra]
    if parts:
        return "; ".join(dict.fromkeys(parts))
    if [slot.index for slot in predicted] == [slot.index for slot in observed] and any(map(_dummy_differs, predicted, observed)):
        return "a dummy slot is where none should be, or the other way round"
    return "the same hooks in another order"


def _dummy_differs(predicted: Slot, observed: Slot) -> bool:
    return predicted.dummy != observed.dummy


def _odd(some: Sequence[Slot], others: Sequence[Slot]) -> list[Slot]:
    """The slots of *some* that *others* lack."""
    lacking = Counter(map(identity, some)) - Counter(map(identity, others))
    return [slot for slot in some if lacking[identity(slot)]]


def _diff_packets(pairs: Sequence[PacketPair]) -> Iterator[Difference]:
    for pair in pairs:
        if pair.predicted is not None and pair.observed is not None:
            yield from _diff_packet(pair, pair.predicted, pair.observed)
        elif pair.observed is not None and pair.compared:
            yield _found(pair.name, "no such packet", pair.observed.packet,
                         "a packet with this cookie that the model does not know of", _parts_of_packet(pair))
        elif pair.predicted is not None and pair.compared and pair.predicted.traversals:  # no hook sees any other
            yield _found(pair.name, pair.predicted.packet, "no such packet", "the packet was not seen", _parts_of_packet(pair))


def _parts_of_packet(pair: PacketPair) -> Iterator[PartPair[Any]]:
    yield pair
    for point in pair.traversals:
        yield from _parts_of_traversal(point)


def _parts_of_traversal(pair: TraversalPair) -> tuple[PartPair[Any], ...]:
    return (pair, pair.returned, *pair.calls)


def _diff_packet(pair: PacketPair, predicted: PacketOutcome, observed: PacketOutcome) -> Iterator[Difference]:
    for point in pair.traversals:
        where = f"{pair.name}/{_place(point.either)}"
        if point.predicted is not None and point.observed is not None:
            yield from _diff_traversal(where, point, point.predicted, point.observed)
        elif point.observed is not None:
            yield _found(where, "not crossed", describe.calls(point.observed.calls),
                         "the packet came to a hook point that the model did not send it to", _parts_of_traversal(point))
        elif point.predicted is not None:
            yield _found(where, describe.calls(point.predicted.calls), "not crossed", "no hook of this point was called",
                         _parts_of_traversal(point))
    if (predicted.fate.kind, predicted.fate.errno) != (observed.fate.kind, observed.fate.errno):
        meaning = {"leaked": "nobody has freed the packet", "doubled": "the packet came to more than one end"}
        yield _found(f"{pair.name}/fate", describe.fate(predicted.fate), describe.fate(observed.fate),
                     meaning.get(observed.fate.kind, "the packet came to another end"), [pair])
        return
    reason, told = predicted.fate.reason or "", observed.fate.reason or ""
    if reason.isupper() and reason not in told.split():  # one of the kernel's; others are for a reader
        yield _found(f"{pair.name}/reason", f"freed with the reason {reason}", told or "freed without a reason",
                     "the rest of the kernel is told something else of a drop", [pair])


def _place(traversal: Traversal) -> str:
    return f"{traversal.netns} {describe.point(traversal)}"


def _diff_traversal(where: str, pair: TraversalPair, predicted: Traversal, observed: Traversal) -> Iterator[Difference]:
    for side, expected, found in (("in", predicted.indev, observed.indev), ("out", predicted.outdev, observed.outdev)):
        if expected != found:
            yield _found(where, f"{side} {expected or 'none'}", f"{side} {found or 'none'}", f"state->{side} is another device",
                         [pair])
    if predicted.okfn != observed.okfn:
        yield _found(where, f"okfn {predicted.okfn}", f"okfn {observed.okfn}", "state->okfn is another function", [pair])
    if predicted.start != observed.start:
        yield _found(where, f"from slot {predicted.start}", f"from slot {observed.start}", "the loop began with another slot", [pair])
    if predicted.loop != observed.loop:
        yield _found(where, predicted.loop, observed.loop, "the hooks were called from another loop", [pair])
    if predicted.answer != observed.answer:
        yield _found(where, f"answered {predicted.answer}", f"answered {observed.answer}", "the packet came back with another verdict",
                     [pair])
    shuffled = reordered(predicted.calls, observed.calls)
    if shuffled:
        moved = [call for call, before, after in zip(pair.calls, predicted.calls, observed.calls, strict=True)
                 if identity(before) != identity(after)]
        yield _found(where, describe.calls(predicted.calls), describe.calls(observed.calls), "the same hooks ran in another order", moved)
    shifted = shuffled or len(predicted.calls) != len(observed.calls)
    for position, call in enumerate(pair.calls):
        yield from _diff_call(f"{where}/call {position}", call, shifted=shifted)
    if predicted.returned != observed.returned:
        returned = describe.returned(predicted.returned), describe.returned(observed.returned)
        yield _found(where, f"returned {returned[0]}", f"returned {returned[1]}", f"{observed.loop} returned something else",
                     [pair.returned])


def _diff_call(where: str, pair: PartPair[HookCall], *, shifted: bool) -> Iterator[Difference]:
    """The differences between two calls of one hook.

    :param shifted: the calls are not the same ones in the same order, so that indexes differ of themselves
    """
    predicted, observed = pair.predicted, pair.observed
    if predicted is not None and observed is not None:
        if predicted.index != observed.index and not shifted:
            yield _found(where, f"slot {predicted.index}", f"slot {observed.index}",
                         f"{describe.name(predicted)} is at another place in the array", [pair])
        if predicted.verdict != observed.verdict:
            yield _found(where, str(predicted.verdict), str(observed.verdict),
                         f"{describe.name(predicted)} gave another verdict", [pair])
    elif observed is not None:
        ours = observed.function == OURS
        surprise = "was called, the model says it is not" if ours else "is a foreign hook that came behind the scenario's back"
        yield _found(where, "not called", str(observed.verdict), f"{describe.name(observed)} {surprise}", [pair])
    elif predicted is not None:
        yield _found(where, str(predicted.verdict), "not called", f"{describe.name(predicted)} was not called", [pair])
