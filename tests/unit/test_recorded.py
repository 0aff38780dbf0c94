"""A recording of a kernel that breaks a rule is made, and said to be one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.conformance import RULES
from tests.recorded import _kept, recorded

RULE = "order.ascending"


def test_a_recording_that_keeps_its_rule_is_no_cause_for_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = recorded().rules[RULE][0]
    assert _kept(RULES[RULE].scripts[0], recorded().profile, outcome) is outcome
    assert capsys.readouterr().err == ""


def test_a_recording_that_breaks_its_rule_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    script, outcome = RULES[RULE].scripts[0], recorded().rules[RULE][0]
    _kept(script, recorded().profile, replace(outcome, steps=tuple(replace(step, errno=1) for step in outcome.steps)))
    assert capsys.readouterr().err.startswith(f"warning: {script.scenario.name} is recorded, and is different: ")
