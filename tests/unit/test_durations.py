"""Several guests take the rules that take longest first."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.conformance import RULES
from harness.conformance.durations import longest_first, record

_NAMES = ("order.ascending", "drop.errno", "stolen")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def order() -> list[str]:
    return [rule.id for rule in longest_first([RULES[name] for name in _NAMES])]


def test_rules_that_were_never_run_keep_their_order() -> None:
    assert order() == list(_NAMES)


def test_the_longest_comes_first_and_what_was_never_run_before_it() -> None:
    record({"order.ascending": 0.5, "drop.errno": 9.0})
    assert order() == ["stolen", "drop.errno", "order.ascending"]


def test_a_later_record_replaces_that_of_its_rules_alone() -> None:
    record({"order.ascending": 3.0, "drop.errno": 2.0, "stolen": 1.0})
    record({"stolen": 4.0})
    assert order() == ["stolen", "order.ascending", "drop.errno"]


@pytest.mark.parametrize("text", ["", "[]", '{"stolen": "long"}', "\0"])
def test_a_record_that_is_damaged_is_none(state: Path, text: str) -> None:
    state.mkdir()
    (state / "durations.json").write_text(text)
    assert order() == list(_NAMES)
    record({"stolen": 1.0})
    assert order() == ["order.ascending", "drop.errno", "stolen"]


def test_a_place_that_cannot_be_written_is_no_error(state: Path) -> None:
    state.mkdir()
    (state / "durations.json").mkdir()
    record({"stolen": 1.0})
    assert order() == list(_NAMES)
