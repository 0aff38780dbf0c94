"""What ``check --list`` and ``check --explain`` show of the rules."""

from __future__ import annotations

import json

import pytest

from harness.cli.rules import explain
from harness.conformance import RULES
from harness.scenario.codec import from_json


def test_every_rule_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    explain(list(RULES.values()), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == [f"{rule.id}: {rule.sentence}" for rule in RULES.values()]
    assert "      expects answered 1 time" in lines


def test_the_answer_is_that_of_a_model_to_which_the_rule_applies(capsys: pytest.CaptureFixture[str]) -> None:
    explain([RULES["netdev.egress-absent"]], as_json=False)
    lines = capsys.readouterr().out.splitlines()
    expected = lines.index("      expects EINVAL")
    assert any(line.startswith("      model   EINVAL") for line in lines[expected:expected + 4])


def test_in_json_the_scenarios_are_ones_to_run(capsys: pytest.CaptureFixture[str]) -> None:
    rule = RULES["path.no-route"]
    explain([rule], as_json=True)
    (document,) = json.loads(capsys.readouterr().out)
    assert (document["rule"], document["core_lines"]) == (rule.id, [[511, 512]])
    assert [from_json(one["scenario"]) for one in document["scripts"]] == [script.scenario for script in rule.scripts]
    assert {step["errno"] for one in document["scripts"] for step in one["model"]["steps"]} == {None, "ENETUNREACH"}
