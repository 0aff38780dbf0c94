"""What a program says by TAP or KTAP, and what is wrong with it."""

from __future__ import annotations

import pytest

from harness.pytest_plugin.guest.tap import TapPoint, told

TAP = """TAP version 13
1..5
ok 1 - first
# what went wrong
not ok 2 second
ok 3 third # SKIP no tool
not ok 4 fourth # TODO later
ok
"""
KTAP = """KTAP version 1
1..2
  KTAP version 1
  # Subtest: group
  1..2
    KTAP version 1
    1..1
    ok 1 deepest
  ok 1 inner
  # told of b
  not ok 2 b
# Totals
not ok 1 group
ok 2 lone
"""


def test_points_have_outcome_reason_and_the_lines_before_them() -> None:
    said = told(TAP)
    assert said
    assert said.points == [
        TapPoint("first", "passed"), TapPoint("second", "failed", detail=("# what went wrong",)), TapPoint("third", "skipped", "no tool"),
        TapPoint("fourth", "xfailed", "later"), TapPoint("unnamed", "passed"),
    ]
    assert said.wrong == []


def test_subtests_have_the_names_of_the_tests_that_they_belong_to() -> None:
    said = told(KTAP)
    assert said
    assert [(point.name, point.outcome) for point in said.points] == [
        ("group / inner / deepest", "passed"), ("group / b", "failed"), ("lone", "passed")]
    assert said.wrong == []


def test_a_test_that_fails_although_no_subtest_does_is_a_point() -> None:
    said = told("1..1\n  ok 1 a\nnot ok 1 group\n")
    assert said
    assert [(point.name, point.outcome) for point in said.points] == [("group / a", "passed"), ("group", "failed")]


@pytest.mark.parametrize(("output", "wrong"), [
    ("1..3\nok 1 a\nok 2 b\n", ["the plan is 3 tests, and 2 were seen"]),
    ("1..3\nok 1 a\nBail out! no kernel\n", ["Bail out! no kernel"]),
    ("TAP version 14\n1..2\n", ["the plan is 2 tests, and 0 were seen"]),
    ("ok 1 a\n1..1\n", []),
])
def test_an_end_before_the_plans_is_wrong(output: str, wrong: list[str]) -> None:
    said = told(output)
    assert said
    assert said.wrong == wrong


def test_an_empty_plan_skips() -> None:
    said = told("1..0 # SKIP needs a card\n")
    assert said
    assert said.skipped == "SKIP needs a card"


@pytest.mark.parametrize("output", ["", "ok then\nnot ok\n", "TAP version 13\n", "version 1..2 of it\nok 1\n"])
def test_what_has_neither_version_nor_plan_or_no_point_is_other_output(output: str) -> None:
    assert told(output) is None
