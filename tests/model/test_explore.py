"""Drawing, finding and shrinking, with a wrong model for the kernel: how long it takes to find what, and how small it gets."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness.conformance.judge import Judgement, judge
from harness.conformance.rule import Script
from harness.explore import search
from harness.explore.engine import Plan
from harness.explore.guests import Behaviour
from harness.explore.kept import keep, kept
from harness.explore.minimise import minimised
from harness.explore.scenarios import MIXES
from harness.explore.search import Search
from harness.model import predict
from harness.netfilter import Family
from harness.outcome import KernelProfile
from harness.scenario import Scenario
from harness.scenario.check import check
from harness.scenario.step import Step
from harness.scenario.steps.hooks import Dump, Register, Unregister
from harness.scenario.steps.packets import Send
from harness.scenario.steps.raw import RawInsert
from harness.scenario.topology import FIRST, PAIR
from tests.mutants import MUTANTS

PROFILE = KernelProfile()

Kernel = Callable[[Scenario], Judgement]


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory that no other test uses; and time enough to shrink on a busy machine."""
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setattr(search, "_SECONDS", 3600.0)


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Kernel]:
    """A kernel that does what a mutant of the model does."""

    def kernel(name: str) -> Kernel:
        def run(scenario: Scenario) -> Judgement:
            with monkeypatch.context() as patched:
                MUTANTS[name].apply(patched)
                observed = predict(scenario, PROFILE)
            return judge(Script(scenario, ()), PROFILE, observed)

        return run

    return kernel


class Right:
    """Guests that no scenario harms: a used one is as good as a fresh one."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    async def fresh(self, scenarios: Sequence[Scenario]) -> Behaviour:
        return Behaviour(scenarios[-1], self.kernel(scenarios[-1]))

    async def used(self, scenario: Scenario) -> Behaviour:
        return await self.fresh([scenario])


def shrunk(plan: Plan, kernel: Kernel, batches: int = 100) -> Scenario:
    """The first scenario that differs, as short as can be."""
    drawn = (scenario for number in range(batches) for scenario in plan.batch(number))
    seen = next(seen for scenario in drawn if (seen := Behaviour(scenario, kernel(scenario))).kinds)
    shortest = asyncio.run(Search(Right(kernel), seen.kinds).run(seen.scenario))
    assert shortest is not None and shortest.whole and not shortest.before
    return shortest.seen.scenario


@pytest.mark.parametrize("mix", MIXES)
def test_the_same_plan_draws_the_same_scenarios_which_make_sense(mix: str) -> None:
    plan = Plan(7, mix)
    drawn = plan.batch(1)
    assert drawn == plan.batch(1) != plan.batch(2)
    assert any(len(scenario.steps) > 10 for scenario in drawn)
    for scenario in drawn:
        check(scenario)


def test_what_a_seed_draws_does_not_depend_on_the_modules_that_are_loaded() -> None:
    draw = "import hashlib; from harness.explore.engine import Plan; print(hashlib.sha256(repr(Plan(7).batch(0)).encode()).hexdigest())"
    few, more = (subprocess.run([sys.executable, "-c", f"{first}{draw}"], capture_output=True, text=True, check=True).stdout
                 for first in ("", "import harness.cli.check, harness.bench.exploration; "))
    assert few == more


def test_without_packets_there_are_none() -> None:
    assert not [step for scenario in Plan(1, "direct").batch(0) for step in scenario.steps if isinstance(step, Send)]


@pytest.mark.parametrize(("mutant", "mix", "kinds"), [
    ("equal priorities oldest first", "direct", {"Register", "RegisterMany", "RegisterTogether", "RegisterBatch", "RegisterAgain"}),
    ("removes nothing", "direct", {"Register", "RegisterMany", "RegisterBatch", "Unregister"}),
    ("DROP accepts", "packets", {"Register", "BpfLink", "Send"}),
    ("a BPF link shares priorities", "all", {"Register", "RegisterMany", "RegisterBatch", "BpfLink"}),
    ("a BPF program drops nothing", "packets", {"BpfLink", "Send"}),
    ("a list is called hook by hook elsewhere", "packets", {"Register", "RegisterMany", "RegisterBatch", "BpfLink", "Send"}),
])
def test_a_difference_shrinks_to_two_steps_at_most(wrong: Callable[[str], Kernel], mutant: str, mix: str, kinds: set[str]) -> None:
    smallest = shrunk(Plan(3, mix), wrong(mutant))
    assert len(smallest.steps) <= 2
    assert {type(step).__name__ for step in smallest.steps} <= kinds


def test_what_was_found_is_kept_for_those_who_explore_the_same(wrong: Callable[[str], Kernel]) -> None:
    smallest = shrunk(Plan(3, "direct"), wrong("equal priorities oldest first"))
    keep(smallest, "direct")
    keep(smallest, "direct")
    assert (kept("direct"), kept("packets")) == ([smallest], [])


def test_what_was_found_and_is_no_scenario_any_more_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    (tmp_path / "explore" / "all").mkdir(parents=True)
    (tmp_path / "explore" / "all" / "old.json").write_text("{}")
    assert kept("all") == []


LONG: tuple[Step, ...] = (
    Register("a", "peer", Family.IPV4, "OUTPUT", 5), Register("b", "host", Family.IPV4, "INPUT", 7), RawInsert("r", "host", "x"),
    Register("c", "host", Family.IPV6, "INPUT", 7), Register("d", "host", Family.IPV4, "INPUT", 7, cookie=1), Unregister("a"),
    Send("peer", "host", 1, size=100), Dump("host", Family.IPV4, "INPUT"), Unregister("c"),
)


def test_a_scenario_is_minimised_to_what_it_takes(wrong: Callable[[str], Kernel]) -> None:
    kernel = wrong("equal priorities oldest first")
    tried: list[Scenario] = []

    async def differs(scenario: Scenario) -> bool:
        check(scenario)
        tried.append(scenario)
        return kernel(scenario).comparison.verdict == "different"

    smallest = asyncio.run(minimised(Scenario("long", "", PAIR, LONG), differs))
    assert smallest.steps == (Register("b", "host", Family.IPV4, "INPUT"), Register("d", "host", Family.IPV4, "INPUT"))
    assert smallest.topology.namespaces == ("host",)
    assert len(set(tried)) == len(tried), "the kernel is asked once for each"


@pytest.mark.parametrize(("wrong_there", "first"), [(False, None), (True, "host")])
def test_the_first_namespace_is_left_away_where_any_will_do(wrong_there: bool, first: str | None) -> None:
    async def differs(scenario: Scenario) -> bool:
        check(scenario)
        return bool(scenario.steps) and (scenario.topology.first == "host" or not wrong_there)

    step = Dump("host", Family.IPV4, "INPUT")
    smallest = asyncio.run(minimised(Scenario("first", "", FIRST, (step,)), differs))
    assert (smallest.topology.namespaces, smallest.topology.first) == (("host",), first)
