"""The rules as pytest items: what a result is to pytest."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from harness.conformance import test_rules as items
from harness.conformance.judge import State
from harness.conformance.matrix import RuleResult


class _Checked:
    """A kernel on which every rule comes to the same."""

    def __init__(self, state: State) -> None:
        self._state = state

    def result(self, rule: str) -> RuleResult:
        return RuleResult(rule, "6.12", self._state, (), "because of this", bundle=Path("/bundles/one.json"), promise=("It is so.",),
                          details=("step 1: predicted a, observed b",))


def _tried(state: State) -> None:
    items.test_rule("order.stable", cast(items._Checked, _Checked(state)))


def test_a_conformant_rule_passes() -> None:
    _tried("conformant")


def test_a_rule_that_does_not_apply_is_skipped_with_its_reason() -> None:
    with pytest.raises(pytest.skip.Exception, match="because of this"):
        _tried("not_applicable")


@pytest.mark.parametrize("state", ["different", "lost", "inconclusive"])
def test_any_other_fails_with_what_check_says(state: State) -> None:
    with pytest.raises(pytest.fail.Exception) as failed:
        _tried(state)
    assert str(failed.value).splitlines() == [f"{state}: because of this", "It is so.", "step 1: predicted a, observed b",
                                              "nfharness replay /bundles/one.json"]
