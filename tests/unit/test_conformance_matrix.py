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

from harness.conformance import RULES, chosen, matrix
from harness.conformance.bundle import load
from harness.conformance.matrix import Result, Target
from harness.errors import GuestError, KernelDied
from harness.model import predict
from harness.outcome import KernelProfile, Outcome
from harness.scenario import Scenario
from harness.vm.kernels import Kernel

Answer = Callable[[Scenario], Outcome]


def right(scenario: Scenario) -> Outcome:
    return predict(scenario)


def panics(_scenario: Scenario) -> Outcome:
    raise KernelDied("Kernel panic - not syncing: test")


def hangs(_scenario: Scenario) -> Outcome:
    raise GuestError("it did not end")


def loses_events(scenario: Scenario) -> Outcome:
    return replace(right(scenario), lost_events=3)


def drops_every_slot(scenario: Scenario) -> Outcome:
    outcome = right(scenario)
    return replace(outcome, steps=tuple(replace(step, slots=()) for step in outcome.steps))


@dataclass
class Guests:
    """Guests whose answers are made up. :param answers: by rule, the first for the first time it is asked, the last from then on"""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[tuple[int, str]] = field(default_factory=list)
    started: int = 0
    unborn: int = 0

    @asynccontextmanager
    async def begin(self, _template: object) -> AsyncIterator[Any]:
        if self.unborn:
            self.unborn -= 1
            raise KernelDied("it never woke")
        self.started += 1
        number = self.started

        async def observe(scenario: Scenario) -> Outcome:
            rule = scenario.name.partition(",")[0]
            self.asked.append((number, rule))
            answers = self.answers.get(rule, [right])
            return (answers.pop(0) if len(answers) > 1 else answers[0])(scenario)

        yield SimpleNamespace(guest=SimpleNamespace(console_tail=lambda: ""), observe=observe)


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Guests:
    made = Guests()
    monkeypatch.setattr(matrix, "started", made.begin)
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    return made


class Source(SimpleNamespace):
    """Where a kernel's guests come from."""

    backend, accelerator = "qemu", "tcg"


def kernel(release: str, profile: KernelProfile | None = None) -> Target:
    source = Source(facts={"profile": (profile or KernelProfile()).to_json()})
    return Target(release, Kernel(release, "1", release, "cloud", ()), cast(Any, source))


def run(patterns: Sequence[str], *targets: Target) -> list[Result]:
    reported: list[Result] = []
    results = asyncio.run(matrix.run(chosen(patterns), targets, reported.append, jobs=2))
    assert sorted(map(repr, reported)) == sorted(map(repr, results))
    return results


def states(results: Sequence[Result]) -> list[tuple[str, str]]:
    return [(one.rule, one.state) for one in results]


def test_one_guest_runs_all_rules_of_a_kernel(guests: Guests) -> None:
    assert states(run(["stolen", "stolen.errno"], kernel("k"))) == [("stolen", "conformant"), ("stolen.errno", "conformant")]
    assert guests.asked == [(1, "stolen"), (1, "stolen"), (1, "stolen.errno")]


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


def test_a_guest_that_never_wakes_costs_one_rule(guests: Guests) -> None:
    guests.unborn = 1
    assert states(run(["drop.errno", "stolen"], kernel("k"))) == [("drop.errno", "lost"), ("stolen", "conformant")]


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


@pytest.mark.parametrize(("answer", "state"), [(drops_every_slot, "different"), (panics, "lost")])
def test_what_was_found_counts_where_no_bundle_can_be_written(guests: Guests, tmp_path: Path, answer: Answer, state: str) -> None:
    (tmp_path / "bundles").write_text("in the way")
    guests.answers["stolen"] = [answer]
    (result,) = run(["stolen"], kernel("k"))
    assert (result.state, result.bundle) == (state, None)
    assert any("no bundle could be written there" in detail for detail in result.details)


def test_rules_that_a_check_did_not_come_to_are_inconclusive(guests: Guests) -> None:
    one, other = kernel("k1"), kernel("k2")
    results = matrix.completed(chosen(["stolen", "drop.errno"]), [one, other], run(["stolen"], one), "interrupted")
    assert [(result.rule, result.kernel, result.state, result.reason, result.cut_off) for result in results] == [
        ("drop.errno", "k1", "inconclusive", "not run: interrupted", True), ("stolen", "k1", "conformant", "", False),
        ("drop.errno", "k2", "inconclusive", "not run: interrupted", True), ("stolen", "k2", "inconclusive", "not run: interrupted", True),
    ]
