"""A recording of a kernel that breaks a rule is made, and said to be one; an observation with doubts is not recorded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from harness.conformance import RULES
from harness.outcome import Outcome
from harness.scenario import Scenario
from tests.recorded import _ATTEMPTS, _kept, _trusted, recorded

RULE = "order.ascending"


def test_a_recording_that_keeps_its_rule_is_no_cause_for_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = recorded().rules[RULE][0]
    assert _kept(RULES[RULE].scripts[0], recorded().profile, outcome) is outcome
    assert capsys.readouterr().err == ""


def test_a_recording_that_breaks_its_rule_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    script, outcome = RULES[RULE].scripts[0], recorded().rules[RULE][0]
    _kept(script, recorded().profile, replace(outcome, steps=tuple(replace(step, errno=1) for step in outcome.steps)))
    assert capsys.readouterr().err.startswith(f"warning: {script.scenario.name} is recorded, and is different: ")


@dataclass
class Busy:
    """A host on which the first observations have doubts.

    :param doubtful: so many of them
    """

    outcome: Outcome
    doubtful: int
    asked: int = 0

    async def observe(self, _scenario: Scenario) -> Outcome:
        self.asked += 1
        return replace(self.outcome, doubts=("the host was busy",)) if self.asked <= self.doubtful else self.outcome


def test_an_observation_with_doubts_is_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    on: Any = Busy(recorded().rules[RULE][0], _ATTEMPTS - 1)
    assert asyncio.run(_trusted(on, RULES[RULE].scripts[0])) is on.outcome
    assert capsys.readouterr().err.count("once more: the host was busy") == _ATTEMPTS - 1


def test_observations_that_all_have_doubts_end_the_recording() -> None:
    on: Any = Busy(recorded().rules[RULE][0], 1000)
    with pytest.raises(SystemExit, match=f"{_ATTEMPTS} observations, and none without a doubt: the host was busy\nhint: "):
        asyncio.run(_trusted(on, RULES[RULE].scripts[0]))
    assert on.asked == _ATTEMPTS
