"""Where an observation departs from the prediction, and what a run amounts to.

Never compared: nanoseconds, drop reasons that are not ``nf_hook_slow``'s, summaries and strangers' packets; they are there for a reader.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.outcome import describe
from harness.outcome.pairing import CallPair, PacketPair, TraversalPair, aligned, identity, reordered
from harness.outcome.types import OURS, Outcome, PacketOutcome, Slot, StepOutcome, Traversal

__all__ = ("Comparison", "Conclusion", "Difference", "compare", "conclude", "inconclusive_reasons")

Conclusion = Literal["conformant", "different", "inconclusive"]


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


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is to be said of a run.

    :param reasons: why the run is inconclusive, if it is
    :param packets: as predicted and as observed
    """

    verdict: Conclusion
    differences: tuple[Difference, ...]
    reasons: tuple[str, ...]
    packets: tuple[PacketPair, ...]


def compare(predicted: Outcome, observed: Outcome) -> Comparison:
    """All that is to be said of a run: every departure, in the order of the steps and then of the packets."""
    packets = aligned(predicted.packets, observed.packets)
    differences = (*_diff_steps(predicted.steps, observed.steps), *_diff_packets(packets))
    reasons = inconclusive_reasons(predicted, observed)
    verdict: Conclusion = "inconclusive" if reasons else "different" if differences else "conformant"
    return Comparison(verdict, differences, reasons, packets)


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


def _diff_steps(predicted: Sequence[StepOutcome], observed: Sequence[StepOutcome]) -> Iterator[Difference]:
    expected, found = {step.step: step for step in predicted}, {step.step: step for step in observed}
    for number in sorted(expected.keys() | found.keys()):
        if number in expected and number in found:
            yield from _diff_step(f"steps[{number}]", expected[number], found[number])
        else:
            said = ("an answer", "none") if number in expected else ("no such step", "an answer")
            yield Difference(f"steps[{number}]", *said, "one of the two ran a step that the other did not")


def _diff_step(where: str, predicted: StepOutcome, observed: StepOutcome) -> Iterator[Difference]:
    if predicted.errno != observed.errno:
        explanation = "the kernel failed with another errno"
        if not predicted.errno or not observed.errno:
            did, does = ("did", "refuses") if predicted.errno else ("refused", "does")
            explanation = f"the kernel {did} what the model {does}"
        yield Difference(where, describe.errno(predicted.errno), describe.errno(observed.errno), explanation)
    expected, found = dict(predicted.slots), dict(observed.slots)
    for key in sorted(expected.keys() | found.keys()):
        before, after = expected.get(key, ()), found.get(key, ())
        if before != after:
            yield Difference(f"{where}/{key}", describe.slots(before), describe.slots(after), _explain_slots(before, after))
    if predicted.raw != observed.raw:
        yield Difference(f"{where}/nf_hook_slow", describe.raw(predicted.raw), describe.raw(observed.raw),
                         _explain_raw(predicted, observed))
    yield from _diff_facts(where, dict(predicted.facts), dict(observed.facts))
    for dispute in observed.disputes:
        yield Difference(where, "one array, however it is read", dispute, "the readings of a hook point do not agree")
    queues, books = dict(predicted.queues), dict(observed.queues)
    for key in sorted(queues.keys() | books.keys()):
        if queues.get(key) != books.get(key):
            yield Difference(f"{where}/{key}", describe.queue(queues.get(key)), describe.queue(books.get(key)),
                             "the queue holds or counts other packets")
    if predicted.splats != observed.splats:
        unexpected = Counter(observed.splats) - Counter(predicted.splats)
        explanation = "the kernel warned where the model does not" if unexpected else "the kernel did not warn"
        yield Difference(f"{where}/splats", "; ".join(predicted.splats) or "none", "; ".join(observed.splats) or "none", explanation)


def _diff_facts(where: str, predicted: Mapping[str, str | int], observed: Mapping[str, str | int]) -> Iterator[Difference]:
    for name in dict.fromkeys((*predicted, *observed)):
        expected, found = predicted.get(name, "nothing"), observed.get(name, "nothing")
        if expected != found:
            yield Difference(f"{where}/{name}", str(expected), str(found), "the kernel is in another state")


def _explain_raw(predicted: StepOutcome, observed: StepOutcome) -> str:
    if predicted.raw is None or observed.raw is None:
        return "one of the two did not run the array"
    if predicted.raw.called != observed.raw.called:
        return "other hooks were called, or in another order"
    if predicted.raw.users != observed.raw.users:
        return "core freed the skb" if observed.raw.users == 1 else "core did not free the skb"
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
            yield Difference(pair.name, "no such packet", pair.observed.packet, "a packet with this cookie that the model does not know of")
        elif pair.predicted is not None and pair.predicted.cookie is not None and pair.predicted.traversals:  # no hook sees any other
            yield Difference(pair.name, pair.predicted.packet, "no such packet", "the packet was not seen")


def _diff_packet(pair: PacketPair, predicted: PacketOutcome, observed: PacketOutcome) -> Iterator[Difference]:
    for point in pair.traversals:
        where = f"{pair.name}/{_place(point.either)}"
        if point.predicted is not None and point.observed is not None:
            yield from _diff_traversal(where, point, point.predicted, point.observed)
        elif point.observed is not None:
            yield Difference(where, "not crossed", describe.calls(point.observed.calls),
                             "the packet came to a hook point that the model did not send it to")
        elif point.predicted is not None:
            yield Difference(where, describe.calls(point.predicted.calls), "not crossed", "no hook of this point was called")
    if (predicted.fate.kind, predicted.fate.errno) != (observed.fate.kind, observed.fate.errno):
        meaning = {"leaked": "nobody has freed the packet", "doubled": "the packet came to more than one end"}
        yield Difference(f"{pair.name}/fate", describe.fate(predicted.fate), describe.fate(observed.fate),
                         meaning.get(observed.fate.kind, "the packet came to another end"))
        return
    reason, told = predicted.fate.reason or "", observed.fate.reason or ""
    if reason.isupper() and reason not in told.split():  # one of the kernel's; others are for a reader
        yield Difference(f"{pair.name}/reason", f"freed with the reason {reason}", told or "freed without a reason",
                         "the rest of the kernel is told something else of a drop")


def _place(traversal: Traversal) -> str:
    return f"{traversal.netns} {describe.point(traversal)}"


def _diff_traversal(where: str, pair: TraversalPair, predicted: Traversal, observed: Traversal) -> Iterator[Difference]:
    for side, expected, found in (("in", predicted.indev, observed.indev), ("out", predicted.outdev, observed.outdev)):
        if expected != found:
            yield Difference(where, f"{side} {expected or 'none'}", f"{side} {found or 'none'}", f"state->{side} is another device")
    if predicted.okfn != observed.okfn:
        yield Difference(where, f"okfn {predicted.okfn}", f"okfn {observed.okfn}", "state->okfn is another function")
    if predicted.start != observed.start:
        yield Difference(where, f"from slot {predicted.start}", f"from slot {observed.start}", "the loop began with another slot")
    if predicted.loop != observed.loop:
        yield Difference(where, predicted.loop, observed.loop, "the hooks were called from another loop")
    if predicted.answer != observed.answer:
        yield Difference(where, f"answered {predicted.answer}", f"answered {observed.answer}", "the packet came back with another verdict")
    shuffled = reordered(predicted.calls, observed.calls)
    if shuffled:
        yield Difference(where, describe.calls(predicted.calls), describe.calls(observed.calls),
                         "the same hooks ran in another order")
    shifted = shuffled or len(predicted.calls) != len(observed.calls)
    for position, call in enumerate(pair.calls):
        yield from _diff_call(f"{where}/call {position}", call, shifted=shifted)
    if predicted.returned != observed.returned:
        returned = describe.returned(predicted.returned), describe.returned(observed.returned)
        yield Difference(where, f"returned {returned[0]}", f"returned {returned[1]}", f"{observed.loop} returned something else")


def _diff_call(where: str, pair: CallPair, *, shifted: bool) -> Iterator[Difference]:
    """The differences between two calls of one hook.

    :param shifted: the calls are not the same ones in the same order, so that indexes differ of themselves
    """
    predicted, observed = pair.predicted, pair.observed
    if predicted is not None and observed is not None:
        if predicted.index != observed.index and not shifted:
            yield Difference(where, f"slot {predicted.index}", f"slot {observed.index}",
                             f"{describe.name(predicted)} is at another place in the array")
        if predicted.verdict != observed.verdict:
            yield Difference(where, str(predicted.verdict), str(observed.verdict),
                             f"{describe.name(predicted)} gave another verdict")
    elif observed is not None:
        ours = observed.function == OURS
        surprise = "was called, the model says it is not" if ours else "is a foreign hook that came behind the scenario's back"
        yield Difference(where, "not called", str(observed.verdict), f"{describe.name(observed)} {surprise}")
    elif predicted is not None:
        yield Difference(where, str(predicted.verdict), "not called", f"{describe.name(predicted)} was not called")
