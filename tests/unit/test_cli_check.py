"""The table of ``check`` and what stands below it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli.check import table
from harness.conformance import RULES
from harness.conformance.matrix import RuleResult
from harness.conformance.reference import load
from tests.unit.targets import target as kernel

ON = replace(kernel("6.12.1"), name="mine", references=(load("6.12"),))
STOLEN = RULES["stolen.errno"]


def below(capsys: pytest.CaptureFixture[str], *results: RuleResult) -> str:
    table([ON], [STOLEN], results, 1)
    return capsys.readouterr().out


def test_what_applies_to_the_reference_only_is_named_and_nothing_checked_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "the probe stolen_errno says no; the rule applies to 6.12"
    told = below(capsys, RuleResult("stolen.errno", "6.12.1", "not_applicable", (), reason, applies_to="6.12"))
    assert "not applicable to mine, where the probe stolen_errno says no: stolen.errno\n" in told
    assert "1 rule of 6.12 not applicable to mine: stolen.errno\n" in told
    assert told.endswith("1 not applicable: nothing was checked\n")


def test_a_departure_that_is_explained_is_told_with_what_explains_it(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "6.12 has it, this kernel has not: CONFIG_VLAN_8021Q is not set"
    told = below(capsys, RuleResult("stolen.errno", "6.12.1", "conformant", ()),
                 RuleResult("profile.vlan", "6.12.1", "conformant", (), reason))
    assert f"profile.vlan of mine: {reason}\n" in told
    assert "profile.vlan  conformant" in told


def test_a_difference_says_the_promise_before_what_was_seen(capsys: pytest.CaptureFixture[str]) -> None:
    promise = ("the promise", "core.c:1 f")
    told = below(capsys, RuleResult("stolen.errno", "6.12.1", "different", (), "seen", details=("seen",), promise=promise))
    assert "different stolen.errno on 6.12.1\n  the promise\n  core.c:1 f\n  seen\n" in told


def test_a_death_ends_with_the_commands_that_show_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    died = RuleResult("stolen.errno", "6.12.1", "lost", (), "it died", bundle=Path("/bundles/one more.json"), details=("last words",))
    told = below(capsys, died)
    assert told.index("last words") < told.index("""
  nfharness replay '/bundles/one more.json'
  nfharness minimise '/bundles/one more.json'
  nfharness check stolen.errno --kernel mine
  nfharness shell --kernel mine
""")
    assert "nfharness shell" not in below(capsys, replace(died, asked=False, bundle=None)), "it never came up"
