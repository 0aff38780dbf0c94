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

from harness.conformance.bundle import load
from harness.conformance.matrix import Target
from harness.errors import GuestError, HostError, KernelDied
from harness.explore import hunt
from harness.explore.engine import Plan
from harness.explore.hunt import Hunt, Limits
from harness.model import predict
from harness.outcome import KernelProfile, Outcome
from harness.scenario import Scenario

Answer = Callable[[Scenario], Outcome]


@pytest.fixture
def explored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Hunt]:
    """Explores a kernel whose answers are made up."""
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    identity = {"release": "6.12.1", "profile": KernelProfile().to_json()}
    target = SimpleNamespace(name="6.12", kernel=SimpleNamespace(release="6.12.1"), source=None, profile=KernelProfile(),
                             identity=lambda: identity)

    def run(answer: Answer, *, start: Exception | None = None) -> Hunt:
        @asynccontextmanager
        async def started(_source: object) -> AsyncIterator[Any]:
            if start is not None:
                raise start

            async def observe(scenario: Scenario) -> Outcome:
                return answer(scenario)

            yield SimpleNamespace(observe=observe, guest=SimpleNamespace(console_tail=lambda: "last words"))

        monkeypatch.setattr(hunt, "started", started)
        one = Hunt(cast(Target, target), Plan(1, "direct"), Limits(steps=100))
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


def test_a_kernel_that_dies_is_lost_and_the_scenario_is_kept(explored: Callable[..., Hunt]) -> None:
    one = explored(panics)
    assert one.state == "lost"
    assert one.finding is not None and one.finding.bundle is not None
    bundle = load(one.finding.bundle)
    assert (bundle.scenario, bundle.observed, bundle.seed) == (one.finding.scenario, None, 1)


def test_what_was_found_is_told_where_no_bundle_can_be_written(explored: Callable[..., Hunt], tmp_path: Path) -> None:
    (tmp_path / "bundles").write_text("in the way")
    one = explored(panics)
    assert (one.state, one.finding and one.finding.bundle) == ("lost", None)
    assert "no bundle could be written" in one.reasons[-1]


def test_guests_that_fail_one_after_the_other_are_inconclusive(explored: Callable[..., Hunt]) -> None:
    one = explored(fails)
    assert (one.state, one.reasons[-1]) == ("inconclusive", "it did not end")


def test_a_tracer_that_loses_events_is_inconclusive(explored: Callable[..., Hunt]) -> None:
    one = explored(lambda scenario: replace(predict(scenario), lost_events=1))
    assert (one.state, one.inconclusive) == ("inconclusive", one.scenarios)


def test_a_host_that_cannot_start_a_guest_says_so(explored: Callable[..., Hunt]) -> None:
    with pytest.raises(HostError, match="no QEMU"):
        explored(predict, start=HostError("no QEMU"))
