"""Comparing a prediction with an observation, and both as JSON."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.netfilter import HOOK_POINTS, Family, Verdict, VerdictKind
from harness.outcome import (
    Fate,
    FateKind,
    HookCall,
    KernelProfile,
    Outcome,
    PacketOutcome,
    RawOutcome,
    Slot,
    StepOutcome,
    Traversal,
    compare,
    conclude,
    from_json,
    point_key,
    report,
    to_json,
)
from harness.outcome.codec import verdict_from_text
from harness.outcome.types import OUR_MODULE, OURS
from tests.strategies import priorities, verdicts

ACCEPT = Verdict(VerdictKind.ACCEPT)
names = st.sampled_from(["a", "b", "nft_do_chain", "eth0"])
labels = st.none() | names

slots = st.builds(Slot, st.integers(0, 5), names, labels, priorities, st.booleans(), labels)
nanoseconds = st.none() | st.integers(0, 10**9)
calls = st.builds(HookCall, st.integers(0, 5), names, labels, st.none() | priorities, verdicts, nanoseconds, labels)
points = st.sampled_from([(family, number) for family in Family for number in [*HOOK_POINTS[family].values(), 9]])
traversals = st.builds(
    lambda point, *rest: Traversal(*point, *rest), points, names, names | st.just(""), names | st.just(""),
    st.lists(calls, max_size=3).map(tuple), st.none() | st.integers(-4095, 1), labels, st.integers(0, 3), names,
)
fates = st.builds(Fate, st.sampled_from(get_args(FateKind)), st.integers(0, 4095), labels)
cookies = st.none() | st.integers(1, 3)
walks = st.lists(traversals, max_size=3).map(tuple)
packets = st.builds(PacketOutcome, st.text(max_size=5), cookies, fates, walks, st.integers(0, 133))
arrays = st.dictionaries(names, st.lists(slots, max_size=3).map(tuple), max_size=2).map(lambda found: tuple(found.items()))
runs = st.none() | st.builds(RawOutcome, st.integers(-4095, 0x8000), st.lists(names, max_size=3).map(tuple), st.integers(1, 2))
splats = st.lists(names, max_size=2).map(tuple)
steps = st.builds(StepOutcome, st.integers(0, 9), st.integers(0, 133), arrays, runs, splats)
outcomes = st.builds(Outcome, st.lists(steps, max_size=3).map(tuple), st.lists(packets, max_size=3).map(tuple), st.integers(0, 3),
                     st.lists(st.text(max_size=5), max_size=2).map(tuple))


@given(outcomes)
def test_an_outcome_survives_json(outcome: Outcome) -> None:
    again = from_json(json.loads(json.dumps(to_json(outcome))))
    assert again == outcome
    assert to_json(again) == to_json(outcome)  # also what is not compared


def test_what_the_kernel_said_survives_json_and_is_not_compared() -> None:
    outcome = Outcome(log=("WARNING", " stack"))
    assert from_json(to_json(outcome)).log == outcome.log
    assert outcome == Outcome()


@given(st.sampled_from([True, False]), st.lists(st.sampled_from(Family), unique=True).map(tuple), st.integers(1, 133))
def test_a_profile_survives_json(flag: bool, families: tuple[Family, ...], number: int) -> None:
    profile = KernelProfile("6.12", families, flag, not flag, flag, number)
    assert KernelProfile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


@given(verdicts)
def test_a_verdict_is_read_back_from_its_text(verdict: Verdict) -> None:
    assert verdict_from_text(str(verdict)) == verdict


@pytest.mark.parametrize("text", ["", "ACCEPTED", "drop", "DROP(", "DROP(EFOO)", "QUEUE(x)", "DROP(EPERM) "])
def test_text_that_is_no_verdict_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no verdict|no errno|invalid literal"):
        verdict_from_text(text)


# A router that two packets crossed: what the comparisons below start from.

def call(index: int, label: str | None, priority: int = 0, verdict: Verdict = ACCEPT, ns: int | None = None) -> HookCall:
    if label is None:
        return HookCall(index, "nf_confirm", "nf_conntrack", priority, verdict, ns)
    return HookCall(index, OURS, OUR_MODULE, priority, verdict, ns, label)


PRE = Traversal(Family.IPV4, 0, "router", "eth0", "", (call(0, "a"), call(1, "b")), 1)
FWD = Traversal(Family.IPV4, 2, "router", "eth0", "eth1", (call(0, "c"), call(1, None), call(2, "d", 5)), 1)
ONE = PacketOutcome("udp", 1, Fate("delivered"), (PRE, FWD))
TWO = PacketOutcome("udp", 2, Fate("dropped", errno.EPERM),
                    (replace(PRE, calls=(call(0, "a"), call(1, "b", 0, Verdict(VerdictKind.DROP))), returned=-errno.EPERM),))
KEY = point_key("router", Family.IPV4, 0)
STEP = StepOutcome(0, 0, ((KEY, (Slot(0, OURS, OUR_MODULE, 0, label="a"), Slot(1, OURS, OUR_MODULE, 0, label="b"))),))
EXPECTED = Outcome((STEP,), (ONE, TWO))


def seen(*packets: PacketOutcome, **changes: Any) -> Outcome:
    return replace(EXPECTED, packets=packets, **changes)


def forwarded(**changes: Any) -> Outcome:
    """The first packet's walk with another traversal of FORWARD."""
    return seen(replace(ONE, traversals=(PRE, replace(FWD, **changes))), TWO)


@given(outcomes)
def test_an_outcome_does_not_differ_from_itself(outcome: Outcome) -> None:
    steps = {step.step: step for step in outcome.steps}
    outcome = replace(outcome, steps=tuple(steps.values()))
    assert compare(outcome, outcome).differences == ()


def test_nanoseconds_reasons_and_summaries_are_never_compared() -> None:
    timed = replace(FWD, calls=tuple(replace(one, ns=5) for one in FWD.calls))
    observed = seen(replace(ONE, packet="other words", fate=Fate("delivered", reason="x"), traversals=(PRE, timed)), TWO)
    assert compare(EXPECTED, observed).verdict == "conformant"


def test_unrelated_packets_are_not_compared() -> None:
    assert conclude(EXPECTED, seen(PacketOutcome("arp", None, Fate("unknown"), (FWD,)), ONE, TWO)) == "conformant"


def test_packets_are_matched_by_cookie_not_by_order() -> None:
    assert conclude(EXPECTED, seen(TWO, ONE)) == "conformant"


def test_an_answer_is_matched_with_the_answer_though_what_it_answers_was_not_seen() -> None:
    question = PacketOutcome("who has", 3, Fate("consumed"), (), kind="arp request")
    answer = PacketOutcome("answers", 3, Fate("consumed"), (PRE,), kind="arp reply")
    assert conclude(seen(question, answer), seen(answer)) == "conformant"


def test_a_packet_that_crosses_no_hook_need_not_be_seen() -> None:
    assert conclude(seen(PacketOutcome("frame", 3, Fate("consumed"), (), kind="frame")), seen()) == "conformant"


DIFFERENT: dict[str, tuple[Outcome, list[tuple[str, str]]]] = {
    "verdict": (
        forwarded(calls=(replace(FWD.calls[0], verdict=Verdict(VerdictKind.STOP)), *FWD.calls[1:])),
        [("packet 1/router FORWARD/call 0", "c gave another verdict")]),
    "not called": (forwarded(calls=FWD.calls[:-1]), [("packet 1/router FORWARD/call 2", "d was not called")]),
    "called unexpectedly": (
        forwarded(calls=(*FWD.calls, call(3, "e", 9))),
        [("packet 1/router FORWARD/call 3", "e was called, the model says it is not")]),
    "a stranger's hook": (
        forwarded(calls=(HookCall(0, "spy", None, -9, ACCEPT), *(replace(one, index=one.index + 1) for one in FWD.calls))),
        [("packet 1/router FORWARD/call 0", "spy is a foreign hook that came behind the scenario's back")]),
    "index": (
        forwarded(calls=(*FWD.calls[:2], replace(FWD.calls[2], index=7))),
        [("packet 1/router FORWARD/call 2", "d is at another place in the array")]),
    "order": (
        forwarded(calls=(replace(FWD.calls[1], index=0), replace(FWD.calls[0], index=1), FWD.calls[2])),
        [("packet 1/router FORWARD", "the same hooks ran in another order")]),
    "priority": (
        forwarded(calls=(*FWD.calls[:2], replace(FWD.calls[2], priority=6))),
        [("packet 1/router FORWARD/call 2", "d was not called"),
         ("packet 1/router FORWARD/call 3", "d was called, the model says it is not")]),
    "device": (forwarded(outdev="eth7"), [("packet 1/router FORWARD", "state->out is another device")]),
    "okfn": (forwarded(okfn="br_forward_finish"), [("packet 1/router FORWARD", "state->okfn is another function")]),
    "start": (forwarded(start=1), [("packet 1/router FORWARD", "the loop began with another slot")]),
    "loop": (forwarded(loop="nf_hook_slow_list"), [("packet 1/router FORWARD", "the hooks were called from another loop")]),
    "returned": (forwarded(returned=0), [("packet 1/router FORWARD", "nf_hook_slow returned something else")]),
    "point not crossed": (
        seen(replace(ONE, traversals=(PRE,)), TWO), [("packet 1/router FORWARD", "no hook of this point was called")]),
    "point crossed twice": (
        seen(replace(ONE, traversals=(PRE, FWD, FWD)), TWO),
        [("packet 1/router FORWARD", "the packet came to a hook point that the model did not send it to")]),
    "namespace": (
        forwarded(netns="server"),
        [("packet 1/router FORWARD", "no hook of this point was called"),
         ("packet 1/server FORWARD", "the packet came to a hook point that the model did not send it to")]),
    "fate": (seen(replace(ONE, fate=Fate("stolen")), TWO), [("packet 1/fate", "the packet came to another end")]),
    "errno of the fate": (
        seen(ONE, replace(TWO, fate=Fate("dropped", errno.EACCES))), [("packet 2/fate", "the packet came to another end")]),
    "an answer with the cookie": (
        seen(ONE, TWO, replace(ONE, traversals=())),
        [("packet 1 (2)", "a packet with this cookie that the model does not know of")]),
    "errno of a step": (
        replace(EXPECTED, steps=(replace(STEP, errno=errno.E2BIG),)), [("steps[0]", "the kernel refused what the model does")]),
    "order of slots": (
        replace(EXPECTED, steps=(replace(STEP, slots=((KEY, STEP.slots[0][1][::-1]),)),)),
        [(f"steps[0]/{KEY}", "the same hooks in another order")]),
    "slot missing": (
        replace(EXPECTED, steps=(replace(STEP, slots=((KEY, STEP.slots[0][1][:1]),)),)),
        [(f"steps[0]/{KEY}", "b is missing from the array")]),
    "dummy": (
        replace(EXPECTED, steps=(replace(STEP, slots=((KEY, (*STEP.slots[0][1], Slot(2, "accept_all", None, -2**31, True))),)),)),
        [(f"steps[0]/{KEY}", "accept_all should not be in the array")]),
    "step not run": (replace(EXPECTED, steps=()), [("steps[0]", "one of the two ran a step that the other did not")]),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_a_difference_is_found_placed_and_explained(case: str) -> None:
    observed, found = DIFFERENT[case]
    comparison = compare(EXPECTED, observed)
    assert [(one.where, one.explanation) for one in comparison.differences] == found
    assert comparison.verdict == "different"
    assert all(one.predicted != one.observed for one in comparison.differences)


INCONCLUSIVE: dict[str, tuple[Outcome, str]] = {
    "lost events": (replace(EXPECTED, lost_events=2), "the tracer lost 2 events"),
    "a doubt": (replace(EXPECTED, doubts=("entries 5, exits 4",)), "entries 5, exits 4"),
    "a packet not seen": (seen(ONE), "packet 2 was sent but not seen"),
    "a fate not seen": (seen(replace(ONE, fate=Fate("unknown")), TWO), "packet 1: what became of it was not seen"),
    "an exit not seen": (forwarded(returned=None), "packet 1: the end of the verdict loop at router FORWARD was not seen"),
    "losses and a difference": (replace(forwarded(returned=0), lost_events=1), "the tracer lost 1 event"),
}


@pytest.mark.parametrize("case", INCONCLUSIVE)
def test_an_observation_that_cannot_be_trusted_is_inconclusive(case: str) -> None:
    observed, reason = INCONCLUSIVE[case]
    comparison = compare(EXPECTED, observed)
    assert (comparison.verdict, comparison.reasons) == ("inconclusive", (reason,))


def test_what_the_model_cannot_tell_is_inconclusive() -> None:
    assert compare(replace(EXPECTED, doubts=("no neighbour",)), EXPECTED).reasons == ("no neighbour",)


def test_the_report_has_the_shape_that_scripts_rely_on() -> None:
    observed = forwarded(returned=0)
    document = json.loads(json.dumps(report(kernel={"release": "6.12"}, scenario="router", observed=observed,
                                            comparison=compare(EXPECTED, observed))))
    assert document["kernel"] == {"release": "6.12"}
    assert (document["scenario"], document["verdict"], document["lost_events"]) == ("router", "different", 0)
    assert document["differences"] == [{
        "where": "packet 1/router FORWARD", "predicted": "returned 1", "observed": "returned 0",
        "explanation": "nf_hook_slow returned something else"}]
    packet = document["packets"][1]
    assert (packet["packet"], packet["cookie"], packet["fate"], packet["errno"]) == ("udp", 2, "dropped", "EPERM")
    assert packet["traversals"] == [{
        "pf": "IPV4", "hook": "PREROUTING", "netns": "router", "in": "eth0", "out": "", "okfn": None, "start": 0,
        "loop": "nf_hook_slow", "answer": None, "returned": -1, "packet": "", "mark": 0, "connection": "none", "changed": [],
            "head": "", "length": 0, "slots": 0, "time": None, "waited": None, "socket": False, "tracked": None, "answered_by": None,
            "calls": [
            {"index": 0, "function": OURS, "module": OUR_MODULE, "priority": 0, "label": "a", "verdict": "ACCEPT", "ns": None,
                 "chain": None, "calls": [], "changed": [], "rule": None, "policy": False},
            {"index": 1, "function": OURS, "module": OUR_MODULE, "priority": 0, "label": "b", "verdict": "DROP", "ns": None,
                 "chain": None, "calls": [], "changed": [], "rule": None, "policy": False}]}]
