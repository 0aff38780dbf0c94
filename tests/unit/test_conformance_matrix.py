"""What the matrix makes of guests that answer, die and answer nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.conformance import RULES, matrix
from harness.conformance.bundle import load
from harness.conformance.collect import Collect, EachRule
from harness.conformance.matrix import RuleResult, Target
from harness.conformance.report import exit_code
from harness.conformance.statements import pinned
from harness.errors import EmulatorFailed, GuestError, HostError, KernelDied
from harness.guest.files import pack
from harness.images.kernels import Kernel
from harness.model import predict
from harness.outcome import KernelProfile, Outcome
from harness.scenario import Scenario
from tests import trees
from tests.unit.targets import target as kernel

Answer = Callable[[Scenario], Outcome]


def right(scenario: Scenario) -> Outcome:
    return predict(scenario)


def panics(_scenario: Scenario) -> Outcome:
    raise KernelDied("Kernel panic - not syncing: test")


def hangs(_scenario: Scenario) -> Outcome:
    raise GuestError("it did not end")


def is_killed(_scenario: Scenario) -> Outcome:
    raise EmulatorFailed("QEMU was killed by SIGKILL")


def loses_events(scenario: Scenario) -> Outcome:
    return replace(right(scenario), lost_events=3)


def drops_every_slot(scenario: Scenario) -> Outcome:
    outcome = right(scenario)
    return replace(outcome, steps=tuple(replace(step, slots=()) for step in outcome.steps))


@dataclass
class Guests:
    """Guests whose answers are made up.

    :param answers: by rule, the first for the first time it is asked, the last from then on
    :param unborn: so many die before they can be asked
    :param unfit: so many of those behind the first cannot be asked
    :param deadlines: seconds that a guest had for each scenario
    """

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[tuple[int, str]] = field(default_factory=list)
    started: int = 0
    unborn: int = 0
    unfit: int = 0
    calls: Any = None
    deadlines: list[float] = field(default_factory=list)

    @asynccontextmanager
    async def begin(self, _template: object) -> AsyncIterator[Any]:
        if self.unborn:
            self.unborn -= 1
            raise KernelDied("it never woke")
        if self.started and self.unfit:
            self.unfit -= 1
            raise GuestError("the agent gave no answer")
        self.started += 1
        number = self.started

        async def observe(scenario: Scenario, deadline_s: float) -> Outcome:
            self.deadlines.append(deadline_s)
            rule = scenario.name.partition(",")[0]
            self.asked.append((number, rule))
            await asyncio.sleep(0)  # another guest has its turn
            answers = self.answers.get(rule, [right])
            return (answers.pop(0) if len(answers) > 1 else answers[0])(scenario)

        yield SimpleNamespace(guest=SimpleNamespace(console_tail=lambda: "", call=self.calls), observe=observe)


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Guests:
    made = Guests()
    monkeypatch.setattr(matrix, "started", made.begin)
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    return made


def run(names: Sequence[str], *targets: Target) -> list[RuleResult]:
    reported: list[RuleResult] = []
    results = asyncio.run(matrix.run([RULES[name] for name in names], targets, reported.append, jobs=2))
    assert sorted(map(repr, reported)) == sorted(map(repr, results))
    return results


def states(results: Sequence[RuleResult]) -> list[tuple[str, str]]:
    return [(one.rule, one.state) for one in results]


def each_script(guest: int, rule: str) -> list[tuple[int, str]]:
    """What a guest is asked for a rule that is kept."""
    return [(guest, rule)] * len(RULES[rule].scripts)


def test_one_guest_runs_all_rules_of_a_kernel(guests: Guests) -> None:
    assert states(run(["stolen", "stolen.errno"], kernel("k"))) == [("stolen", "conformant"), ("stolen.errno", "conformant")]
    assert guests.asked == [*each_script(1, "stolen"), *each_script(1, "stolen.errno")]


def test_a_guest_that_cannot_be_asked_costs_one_rule(guests: Guests) -> None:
    guests.answers, guests.unfit = {"stolen": [panics]}, 1
    assert states(run(["stolen", "stop", "stolen.errno"], kernel("k"))) == [
        ("stolen", "lost"), ("stop", "inconclusive"), ("stolen.errno", "conformant")]


def test_a_kernel_of_which_no_guest_can_be_asked_is_no_result(guests: Guests) -> None:
    guests.started, guests.unfit = 1, 1
    with pytest.raises(GuestError, match="gave no answer"):
        run(["stolen"], kernel("k"))


def test_many_rules_of_a_kernel_are_shared_by_guests(guests: Guests) -> None:
    names = [name for name, rule in RULES.items() if rule.lacking(KernelProfile()) is None][:20]
    results = run(names, kernel("k"))
    assert states(results) == [(name, "conformant") for name in names]
    assert {number for number, _ in guests.asked} == {1, 2}
    assert len({(number, rule) for number, rule in guests.asked}) == len({rule for _, rule in guests.asked})


def test_a_kernel_that_is_there_once_has_one_guest(guests: Guests) -> None:
    on = kernel("k")
    local = SimpleNamespace(facts=on.source.facts, backend="local", accelerator=None)
    run(list(RULES)[:20], replace(on, source=cast(Any, local)))
    assert guests.started == 1


def test_a_host_that_cannot_start_guests_ends_every_guest(guests: Guests, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def cannot(_source: object) -> AsyncIterator[Any]:
        raise HostError("QEMU does not start")
        yield

    monkeypatch.setattr(matrix, "started", cannot)
    with pytest.raises(HostError, match="QEMU does not start"):
        run(list(RULES)[:20], kernel("k"))


def test_each_kernel_has_results_of_its_own_in_the_order_asked_for(guests: Guests) -> None:
    results = run(["stolen"], kernel("k1"), kernel("k2"))
    assert [(one.rule, one.kernel) for one in results] == [("stolen", "k1"), ("stolen", "k2")]


def test_a_rule_that_a_probe_rules_out_is_not_run(guests: Guests) -> None:
    (result,) = run(["stolen.errno"], kernel("k", KernelProfile(stolen_errno=False)))
    assert (result.state, result.reason, guests.started) == ("not_applicable", "the probe stolen_errno says no", 0)


def test_a_death_costs_one_rule_and_another_guest_goes_on(guests: Guests) -> None:
    guests.answers["stolen"] = [panics]
    results = run(["drop.errno", "stolen", "queue.no-handler"], kernel("k"))
    assert states(results) == [("drop.errno", "conformant"), ("stolen", "lost"), ("queue.no-handler", "conformant")]
    assert results[1].reason == "Kernel panic - not syncing: test"
    assert results[1].bundle is not None
    assert (load(results[1].bundle).script, load(results[1].bundle).observed) == (RULES["stolen"].scripts[0], None)
    assert guests.asked[-1] == (2, "queue.no-handler")


def test_a_qemu_that_the_host_kills_costs_a_guest_and_no_rule(guests: Guests, tmp_path: Path) -> None:
    guests.answers["stolen"] = [is_killed, is_killed, right]
    assert {one.state for one in run(["stolen", "drop.errno"], kernel("k"))} == {"conformant"}
    assert guests.started == 3


def test_a_qemu_that_the_host_kills_each_time_is_inconclusive_and_leaves_no_bundle(guests: Guests, tmp_path: Path) -> None:
    guests.answers["stolen"] = [is_killed]
    other, lost, last = run(["drop.errno", "stolen", "queue.no-handler"], kernel("k"))
    assert (lost.state, lost.reason, lost.bundle, lost.cut_off) == ("inconclusive", "3 times: QEMU was killed by SIGKILL", None, False)
    assert (other.state, last.state, guests.started) == ("conformant", "conformant", 4)
    assert not (tmp_path / "bundles").exists()


def test_a_guest_that_never_wakes_costs_one_rule(guests: Guests) -> None:
    guests.unborn = 1
    results = run(["drop.errno", "stolen"], kernel("k"))
    assert states(results) == [("drop.errno", "lost"), ("stolen", "conformant")]
    assert (results[0].asked, exit_code(results)) == (False, 125)


def test_a_kernel_that_never_came_up_is_lost_to_every_rule_and_does_not_keep_another_from_its_own(
    guests: Guests, monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def dies(*_: object, append: str) -> tuple[Kernel, Any]:
        raise KernelDied("Kernel panic - not syncing: test", console_tail="last words")

    monkeypatch.setattr(matrix, "source", dies)
    monkeypatch.setattr(matrix, "resolved", lambda *_: kernel("dead").kernel)
    dead = asyncio.run(matrix.target("~/linux", cast(Any, None), dead=True))
    results = run(["drop.errno", "stolen"], dead, kernel("k"))
    assert [(one.kernel, one.state) for one in results] == [("dead", "lost")] * 2 + [("k", "conformant")] * 2
    assert results[0].reason == "it never came up: Kernel panic - not syncing: test"
    assert (dead.departures, dead.identity()["profile"]) == ((), None)
    assert (exit_code(results), exit_code(results, dead_is_different=True)) == (125, 1)
    with pytest.raises(KernelDied):
        asyncio.run(matrix.target("~/linux", cast(Any, None)))


def test_a_guest_that_does_not_answer_is_not_asked_again(guests: Guests) -> None:
    guests.answers["drop.errno"] = [hangs]
    assert states(run(["drop.errno", "stolen"], kernel("k"))) == [("drop.errno", "inconclusive"), ("stolen", "conformant")]
    assert guests.asked[-1] == (2, "stolen")


def test_lost_events_are_never_a_pass(guests: Guests) -> None:
    guests.answers["queue.no-handler"] = [loses_events]
    (result,) = run(["queue.no-handler"], kernel("k"))
    assert (result.state, result.reason, len(guests.asked)) == ("inconclusive", "3 times: the tracer lost 3 events", 3)


def test_what_was_inconclusive_once_is_tried_again(guests: Guests) -> None:
    guests.answers["queue.no-handler"] = [loses_events, drops_every_slot]
    assert states(run(["queue.no-handler"], kernel("k"))) == [("queue.no-handler", "different")]


def test_a_difference_leaves_a_bundle_and_ends_the_rule(guests: Guests) -> None:
    guests.answers["stolen"] = [drops_every_slot]
    (result,) = run(["stolen"], kernel("k"))
    assert result.state == "different"
    assert result.bundle is not None and result.bundle.is_file()
    assert result.reason.startswith("steps[0]/host/IPV4/PREROUTING: predicted before (-1), observed empty: before is missing")
    assert len(guests.asked) == 1


def test_a_difference_is_what_a_fresh_guest_shows_and_costs_the_guest(guests: Guests) -> None:
    guests.answers["stolen"] = [drops_every_slot]
    results = run(["drop.errno", "stolen", "queue.no-handler"], kernel("k"))
    assert states(results) == [("drop.errno", "conformant"), ("stolen", "different"), ("queue.no-handler", "conformant")]
    assert guests.asked == [*each_script(1, "drop.errno"), (1, "stolen"), (2, "stolen"), *each_script(3, "queue.no-handler")]
    assert results[1].bundle is not None and results[1].bundle.is_file()
    assert len(list(results[1].bundle.parent.iterdir())) == 1


def test_what_an_earlier_rule_did_to_the_kernel_is_said_to_be_that_rule_s(guests: Guests) -> None:
    def harmed(scenario: Scenario) -> Outcome:
        here = {rule for number, rule in guests.asked if number == guests.asked[-1][0]}
        return drops_every_slot(scenario) if "drop.errno" in here else right(scenario)

    guests.answers["stolen"] = [harmed]
    results = run(["drop.eperm", "drop.errno", "drop.first-decides", "stolen"], kernel("k"))
    assert states(results)[-1] == ("stolen", "different")
    assert results[-1].reason.endswith(f"conformant in a fresh guest, so drop.errno harmed the kernel: {RULES['drop.errno'].sentence}")


def test_a_difference_says_the_promise_and_the_statements_of_the_tree_s_own_core(guests: Guests, tmp_path: Path) -> None:
    core = Path(trees.in_tree(tmp_path / "linux")) / "net/netfilter/core.c"
    core.write_text("// another first line\n" + "\n".join(pinned().lines))
    guests.answers["stolen"] = [drops_every_slot]
    on = kernel("k")
    (result,) = run(["stolen"], replace(on, kernel=replace(on.kernel, tree=str(tmp_path / "linux"))))
    assert result.promise[0] == RULES["stolen"].sentence
    assert "net/netfilter/core.c:528-532 nf_hook_slow: STOLEN: 0, since 6.7 the errno it carries" in result.promise
    assert any("also promised by" in line for line in result.promise)
    assert result.own_lines == tuple((first + 1, last + 1) for first, last in result.core_lines)


@pytest.mark.parametrize(("answer", "state"), [(drops_every_slot, "different"), (panics, "lost")])
def test_what_was_found_counts_where_no_bundle_can_be_written(guests: Guests, tmp_path: Path, answer: Answer, state: str) -> None:
    (tmp_path / "bundles").write_text("in the way")
    guests.answers["stolen"] = [answer]
    (result,) = run(["stolen"], kernel("k"))
    assert (result.state, result.bundle) == (state, None)
    assert any("no bundle could be written there" in detail for detail in result.details)


def test_files_are_taken_out_of_each_guest_before_it_ends(
    guests: Guests, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    (tmp_path / "guest/.cache").mkdir(parents=True)  # gcov's have the path of the tree that was built
    (tmp_path / "guest/.cache/core.gcda").write_bytes(b"counts")

    async def call(function: str, pattern: str, *, deadline_s: float) -> bytes:
        assert function == "harness.guest.files:pack"
        pack(pattern)
        return capfdbinary.readouterr().out

    guests.calls = call
    guests.answers["drop.errno"] = [hangs]
    collect = Collect(f"{tmp_path}/guest/**/core.gcda", tmp_path / "out")
    asyncio.run(matrix.run([RULES["drop.errno"], RULES["stolen"]], [kernel("k")], lambda _: None, jobs=1, collect=collect))
    assert (tmp_path / f"out/k/2{tmp_path}/guest/.cache/core.gcda").read_bytes() == b"counts"
    assert (collect.guests["k"], collect.files["k"]) == (2, 2)


def test_a_file_is_read_before_each_rule_and_after_it_and_a_dead_guest_s_is_lost(
    guests: Guests, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    readings: list[bytes] = []

    async def call(_function: str, pattern: str, *, deadline_s: float) -> bytes:
        if guests.asked and guests.asked[-1][1] == "drop.errno":
            raise KernelDied("it has died")
        readings.append(b"%d" % len(guests.asked))
        (tmp_path / "core.gcda").write_bytes(readings[-1])
        pack(pattern)
        return capfdbinary.readouterr().out

    guests.calls = call
    guests.answers["drop.errno"] = [panics]
    each = EachRule(f"{tmp_path}/core.gcda")
    rules = [RULES["stolen"], RULES["accept.all"], RULES["drop.errno"]]
    asyncio.run(matrix.run(rules, [kernel("k")], lambda _: None, jobs=1, collect=each))
    assert (each.first, each.lost) == ([b"0"], ["drop.errno"])
    asked = [rule for _, rule in guests.asked]
    (stolen, after_stolen), (accept, after_accept) = each.changes["stolen"], each.changes["accept.all"]
    assert (stolen, after_stolen) == (b"0", b"%d" % asked.count("stolen"))
    assert (accept, after_accept) == (after_stolen, b"%d" % (asked.count("stolen") + asked.count("accept.all")))


def test_rules_that_a_check_did_not_come_to_are_inconclusive(guests: Guests) -> None:
    one, other = kernel("k1"), kernel("k2")
    results = matrix.completed([RULES["drop.errno"], RULES["stolen"]], [one, other], run(["stolen"], one), "interrupted")
    assert [(result.rule, result.kernel, result.state, result.reason, result.cut_off) for result in results] == [
        ("drop.errno", "k1", "inconclusive", "not run: interrupted", True), ("stolen", "k1", "conformant", "", False),
        ("drop.errno", "k2", "inconclusive", "not run: interrupted", True), ("stolen", "k2", "inconclusive", "not run: interrupted", True),
    ]


def test_a_result_that_is_enough_ends_the_check_of_its_kernel(guests: Guests) -> None:
    guests.answers = {"order.stable": [drops_every_slot]}
    rules = [RULES[name] for name in ("order.ascending", "order.stable", "drop.eperm")]
    told: list[RuleResult] = []
    found = asyncio.run(matrix.run(rules, [kernel("6.12")], told.append, jobs=1, enough=lambda result: result.state == "different"))
    assert [(one.rule, one.state) for one in found] == [("order.ascending", "conformant"), ("order.stable", "different")]
    assert found == told
    assert "drop.eperm" not in {rule for _, rule in guests.asked}


def test_a_script_has_the_time_that_its_kernel_is_given(guests: Guests) -> None:
    asyncio.run(matrix.run([RULES["drop.eperm"]], [replace(kernel("6.12"), deadline_s=7.0)], lambda _result: None, jobs=1))
    assert set(guests.deadlines) == {7.0}
