"""An exploration whose guests fail, die, or differ: what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.cli.explore import table
from harness.conformance.bundle import load
from harness.conformance.matrix import Target
from harness.errors import EmulatorFailed, GuestError, HostError, KernelDied
from harness.explore import guests, hunt
from harness.explore.engine import Plan
from harness.explore.hunt import Hunt, Limits
from harness.model import predict
from harness.outcome import KernelProfile, Outcome
from harness.scenario import Scenario
from harness.scenario.step import Step
from harness.scenario.steps.hooks import Register
from harness.scenario.steps.raw import RawInsert

Answer = Callable[[Scenario], Outcome]


@pytest.fixture
def explored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Hunt]:
    """Explores a kernel whose answers are made up."""
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    identity = {"release": "6.12.1", "profile": KernelProfile().to_json()}
    target = SimpleNamespace(name="6.12", kernel=SimpleNamespace(release="6.12.1"), source=None, profile=KernelProfile(),
                             standard=KernelProfile(), identity=lambda: identity)

    def run(answer: Answer | None = None, *, start: BaseException | None = None, each: Callable[[], Answer] | None = None) -> Hunt:
        """:param each: makes the answers of each guest, which may depend on what it has run"""
        @asynccontextmanager
        async def started(_source: object) -> AsyncIterator[Any]:
            if start is not None:
                raise start
            answers = answer or (each or pytest.fail)()

            async def observe(scenario: Scenario, _deadline_s: float) -> Outcome:
                await asyncio.sleep(0)
                return answers(scenario)

            yield SimpleNamespace(observe=observe, open=lambda: asyncio.sleep(0), guest=SimpleNamespace(console_tail=lambda: "last words"))

        monkeypatch.setattr(hunt, "started", started)
        monkeypatch.setattr(guests, "started", started)
        one = hunt.Hunt(cast(Target, target), Plan(1, "direct"), Limits(steps=100))
        asyncio.run(one.run())
        return one

    return run


def panics(scenario: Scenario) -> Outcome:
    if scenario.steps:
        raise KernelDied("Kernel panic - not syncing: test", console_tail="panic")
    return predict(scenario)


def fails(_scenario: Scenario) -> Outcome:
    raise GuestError("it did not end")


def test_a_kernel_that_does_what_the_model_says_is_conformant(explored: Callable[..., Hunt]) -> None:
    one = explored(predict)
    assert (one.state, one.finding, one.inconclusive) == ("conformant", None, 0)
    assert one.steps >= 100


def test_of_a_kernel_that_was_asked_nothing_nothing_is_known(
    explored: Callable[..., Hunt], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    hunts: list[Hunt] = []

    def made(*given: Any) -> Hunt:
        hunts.append(Hunt(*given))
        return hunts[-1]

    monkeypatch.setattr(hunt, "Hunt", made)
    with pytest.raises(KeyboardInterrupt):
        explored(start=KeyboardInterrupt())
    assert hunts[0].state == "inconclusive"
    table(hunts[0].plan, hunts)
    assert capsys.readouterr().out.splitlines()[-1].endswith("no scenario ended")


def test_a_kernel_that_dies_is_lost_and_the_scenario_is_shrunk_and_kept(explored: Callable[..., Hunt]) -> None:
    one = explored(panics)
    assert one.state == "lost"
    assert one.finding is not None and one.finding.bundle is not None
    assert (len(one.finding.scenario.steps), one.finding.shortest.whole) == (1, True)
    bundle = load(one.finding.bundle)
    assert (bundle.scenario, bundle.observed, bundle.seed) == (one.finding.scenario, None, 1)
    again = explored(panics).finding
    assert again is not None and again.first == one.finding.scenario, "what was found is tried first"


def harmed(by: Callable[[Step], bool], *, wrong: Callable[[Scenario], Outcome]) -> Callable[[], Answer]:
    """Guests that go wrong once they have run a certain step: in the scenarios after the one that has it."""
    def each() -> Answer:
        ran: list[Scenario] = []

        def answer(scenario: Scenario) -> Outcome:
            outcome = wrong(scenario) if any(by(step) for earlier in ran for step in earlier.steps) else predict(scenario)
            ran.append(scenario)
            return outcome

        return answer

    return each


def refuses(scenario: Scenario) -> Outcome:
    """A kernel that registers nothing at all, and says another errno."""
    outcome = predict(scenario)
    registers = {number for number, step in enumerate(scenario.steps) if isinstance(step, Register)}
    return replace(outcome, steps=tuple(replace(step, errno=99) if step.step in registers else step for step in outcome.steps))


def test_what_a_fresh_guest_does_not_show_is_shown_with_what_harmed_the_kernel(explored: Callable[..., Hunt]) -> None:
    one = explored(each=harmed(lambda step: isinstance(step, RawInsert), wrong=refuses))
    assert one.state == "different"
    assert one.finding is not None and one.finding.bundle is not None
    shortest = one.finding.shortest
    assert [type(step) for scenario in shortest.before for step in scenario.steps] == [RawInsert]
    assert [type(step) for step in shortest.seen.scenario.steps] == [Register]
    assert load(one.finding.bundle).before == shortest.before


def test_a_kernel_that_dies_once_it_is_harmed_is_shown_with_what_harmed_it(explored: Callable[..., Hunt]) -> None:
    one = explored(each=harmed(lambda step: isinstance(step, RawInsert), wrong=panics))
    assert one.state == "lost"
    assert one.finding is not None
    assert [len(scenario.steps) for scenario in (*one.finding.shortest.before, one.finding.scenario)] == [1, 1]


def test_what_no_fresh_guest_shows_is_inconclusive(explored: Callable[..., Hunt], tmp_path: Path) -> None:
    wrong = [True]

    def once(scenario: Scenario) -> Outcome:
        registers = any(isinstance(step, Register) for step in scenario.steps)
        return refuses(scenario) if wrong and registers and wrong.pop() else predict(scenario)

    one = explored(once)
    assert (one.state, one.finding, one.unconfirmed) == ("inconclusive", None, 1)
    assert "no fresh guest shows" in one.reasons[-1] and "predicted success" in one.reasons[-1]
    assert one.steps >= 100, "the exploration goes on"
    assert not (tmp_path / "bundles").exists()


def test_what_was_found_is_told_where_no_bundle_can_be_written(explored: Callable[..., Hunt], tmp_path: Path) -> None:
    (tmp_path / "bundles").write_text("in the way")
    one = explored(panics)
    assert (one.state, one.finding and one.finding.bundle) == ("lost", None)
    assert "no bundle could be written" in one.reasons[-1]


def test_guests_that_fail_one_after_the_other_are_inconclusive(explored: Callable[..., Hunt]) -> None:
    one = explored(fails)
    assert (one.state, one.reasons[-1]) == ("inconclusive", "it did not end")


def killed(times: int) -> Answer:
    """A host that kills QEMU so many times when there are steps."""
    left = [EmulatorFailed("QEMU was killed by SIGKILL")] * times

    def answer(scenario: Scenario) -> Outcome:
        if left and scenario.steps:
            raise left.pop()
        return predict(scenario)

    return answer


def test_a_qemu_that_the_host_kills_is_no_find_and_its_scenarios_are_tried_again(explored: Callable[..., Hunt], tmp_path: Path) -> None:
    asked: list[Scenario] = []
    answer = killed(3)

    def noted(scenario: Scenario) -> Outcome:
        outcome = answer(scenario)
        asked.append(scenario)
        return outcome

    one = explored(noted)
    assert (one.state, one.finding, one.reasons[-1]) == ("conformant", None, "QEMU was killed by SIGKILL")
    assert 1 <= one.inconclusive <= 3
    drawn = Plan(1, "direct").batch(0)
    assert set(drawn[:6]) <= set(asked)
    assert not (tmp_path / "bundles").exists()


def test_a_qemu_that_the_host_kills_each_time_is_inconclusive(explored: Callable[..., Hunt], tmp_path: Path) -> None:
    one = explored(killed(1000))
    assert (one.state, one.finding, one.inconclusive) == ("inconclusive", None, 4)
    assert not (tmp_path / "bundles").exists()


def test_a_tracer_that_loses_events_is_inconclusive(explored: Callable[..., Hunt]) -> None:
    one = explored(lambda scenario: replace(predict(scenario), lost_events=1))
    assert (one.state, one.inconclusive) == ("inconclusive", one.scenarios)


def test_a_host_that_cannot_start_a_guest_says_so(explored: Callable[..., Hunt]) -> None:
    with pytest.raises(HostError, match="no QEMU"):
        explored(predict, start=HostError("no QEMU"))
