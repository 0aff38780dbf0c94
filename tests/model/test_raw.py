"""Private arrays and batches in the model: what each step answers."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import predict
from harness.netfilter import Family, VerdictKind
from harness.outcome import KernelProfile, Outcome, RawOutcome, compare, conclude
from harness.outcome import from_json as outcome_from_json
from harness.outcome import to_json as outcome_to_json
from harness.scenario import BUILTIN, Scenario, Step
from harness.scenario.codec import from_json, to_json
from harness.scenario.steps.batches import RegisterBatch, UnregisterAbsent
from harness.scenario.steps.hooks import Register, Unregister
from harness.scenario.steps.raw import RawAlter, RawDelete, RawInsert, RawRun
from harness.scenario.topology import SINGLE
from tests.strategies import priorities, returns

OLD = KernelProfile(stolen_errno=False, unknown_verdict_warns=False)
CORE = "net/netfilter/core.c"


def run(*script: Step, profile: KernelProfile | None = None) -> Outcome:
    return predict(Scenario("own", "", SINGLE, script), profile)


def tried(verdict: int, profile: KernelProfile | None = None) -> tuple[RawOutcome | None, tuple[str, ...]]:
    """One hook with the verdict, and one behind it."""
    script = (RawInsert("a", "host", "x", 0, verdict), RawInsert("b", "host", "x", 1), RawRun("host", "x"))
    last = run(*script, profile=profile).steps[-1]
    return last.raw, last.splats


@pytest.mark.parametrize(("verdict", "result", "splats"), [
    (0xFFFF8001, RawOutcome(1, ("a", "b"), 2), ()),
    (VerdictKind.DROP, RawOutcome(-errno.EPERM, ("a",), 1), ()),
    (errno.EACCES << 16, RawOutcome(-errno.EACCES, ("a",), 1), ()),
    (0xFFFF << 16, RawOutcome(1, ("a",), 1), ()),
    (errno.EACCES << 16 | VerdictKind.STOLEN, RawOutcome(-errno.EACCES, ("a",), 2), ()),
    (VerdictKind.QUEUE, RawOutcome(0, ("a",), 1), ()),
    (VerdictKind.QUEUE | 0x8000, RawOutcome(1, ("a", "b"), 2), ()),
    (VerdictKind.REPEAT, RawOutcome(0, ("a",), 2), (CORE,)),
    (0x42, RawOutcome(0, ("a",), 2), (CORE,)),
])
def test_what_the_loop_makes_of_a_verdict(verdict: int, result: RawOutcome, splats: tuple[str, ...]) -> None:
    assert tried(verdict) == (result, splats)


def test_older_kernels_keep_a_stolen_errno_and_warn_of_nothing() -> None:
    assert tried(errno.EACCES << 16 | VerdictKind.STOLEN, OLD) == (RawOutcome(0, ("a",), 2), ())
    assert tried(0x42, OLD) == (RawOutcome(0, ("a",), 2), ())


def test_calls_with_another_state_are_told_and_kept() -> None:
    predicted = predict(BUILTIN["raw-start"])
    last = predicted.steps[-1]
    assert last.raw is not None
    observed = replace(predicted, steps=(*predicted.steps[:-1], replace(last, raw=replace(last.raw, altered=2))))
    (difference,) = compare(predicted, observed).differences
    assert "2 of them with another state than the loop was given" in difference.observed
    assert difference.explanation == "hooks were given another nf_hook_state than the loop was"
    assert (outcome_from_json(outcome_to_json(observed)), "altered" in str(outcome_to_json(predicted))) == (observed, False)


@pytest.mark.parametrize(("users", "said", "why"), [
    (2, "skb not freed", "core did not free the skb"),
    (0, "skb freed twice", "core freed the skb twice"),
])
def test_a_drop_that_does_not_free_once_is_told(users: int, said: str, why: str) -> None:
    predicted = run(RawInsert("a", "host", "x", 0, VerdictKind.DROP), RawRun("host", "x"))
    last = predicted.steps[-1]
    assert last.raw is not None
    observed = replace(predicted, steps=(*predicted.steps[:-1], replace(last, raw=replace(last.raw, users=users))))
    (difference,) = compare(predicted, observed).differences
    assert (difference.observed.rpartition(", ")[2], difference.explanation) == (said, why)


@given(st.lists(st.tuples(priorities, returns), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_a_scenario_with_any_verdicts_survives_json(hooks: list[tuple[int, int]], start: int) -> None:
    script: list[Step] = [RawInsert(f"h{number}", "host", "x", *hook) for number, hook in enumerate(hooks)]
    scenario = Scenario("own", "", SINGLE, (*script, RawRun("host", "x", start), RawDelete("h0")))
    assert from_json(to_json(scenario)) == scenario


def test_a_splat_that_nobody_predicted_makes_a_run_different() -> None:
    predicted = predict(BUILTIN["raw-start"])
    observed = replace(predicted, steps=(*predicted.steps[:-1], replace(predicted.steps[-1], splats=("BUG: oh",))))
    (difference,) = compare(predicted, observed).differences
    assert (conclude(predicted, observed), difference.observed) == ("different", "BUG: oh")
    assert difference.explanation == "the kernel warned where the model does not"


def test_a_splat_that_does_not_come_makes_a_run_different() -> None:
    predicted = predict(BUILTIN["absent"])
    observed = replace(predicted, steps=tuple(replace(step, splats=()) for step in predicted.steps))
    assert {difference.explanation for difference in compare(predicted, observed).differences} == {"the kernel did not warn"}


def test_two_warnings_in_another_order_are_not_said_to_be_missing() -> None:
    predicted = predict(BUILTIN["raw-start"])
    before, after = (replace(predicted, steps=(*predicted.steps[:-1], replace(predicted.steps[-1], splats=splats)))
                     for splats in (("BUG: one", "BUG: two"), ("BUG: two", "BUG: one")))
    (difference,) = compare(before, after).differences
    assert difference.explanation == "the kernel warned in another order"


def test_each_warning_comes_once_in_a_step() -> None:
    both = UnregisterAbsent("host", Family.INET, "INPUT")
    assert run(both).steps[0].splats == (CORE,)
    there = Register("there", "host", Family.IPV4, "INPUT")
    assert run(there, both).steps[1].splats == (f"hook not found, pf {Family.IPV4:d} num 1", CORE)


def test_disorder_warns_in_every_place_unless_the_kernel_does_not_look() -> None:
    disorder: list[Step] = [RawInsert(name, "host", "x", priority) for priority, name in enumerate("abc")]
    disorder += [RawAlter("a", 5), RawInsert("d", "host", "x", 6)]
    assert run(*disorder).steps[-1].splats == (CORE, CORE)
    assert run(*disorder, profile=KernelProfile(hooks_validated=False)).steps[-1].splats == ()


def test_a_hook_that_was_refused_cannot_be_altered() -> None:
    answers = run(RawInsert("a", "host", "x", fail=(0,)), RawAlter("a", 5)).steps
    assert [answer.errno for answer in answers] == [errno.ENOMEM, errno.ENOENT]


def test_a_batch_that_fails_leaves_nothing() -> None:
    there = Register("there", "host", Family.IPV4, "INPUT", 1)
    batch = RegisterBatch("host", (replace(there, id="a", priority=0), replace(there, id="b", hook="HOOK7")))
    step = run(there, batch).steps[1]
    ((key, slots),) = step.slots
    assert (step.errno, key, [slot.label for slot in slots], step.splats) == (errno.EINVAL, "host/IPV4/INPUT", ["there"], (CORE,))


@pytest.mark.parametrize("nowhere", [
    Register("b", "host", Family.NETDEV, "INGRESS"), Register("b", "host", Family.INET, "INGRESS"),
    Register("b", "host", Family.IPV4, "HOOK7"),
], ids=["no device", "no device of INET's", "no such hook"])
def test_a_hook_that_was_refused_at_no_point_is_not_there_to_be_unregistered(nowhere: Register) -> None:
    outcome = run(RegisterBatch("host", (nowhere,)), Unregister("b")).steps[1]
    assert (outcome.errno, outcome.slots) == (errno.ENOENT, ())


def test_the_same_ops_twice_leave_one_at_a_time() -> None:
    counts = [len(dict(step.slots)["host/IPV4/INPUT"]) for step in predict(BUILTIN["twice"]).steps if step.slots]
    assert counts == [1, 2, 3, 2, 1, 1]
