"""What doctor prints."""

from __future__ import annotations

import pytest

from harness.cli import doctor
from harness.doctor.examine import Finding


def test_the_columns_line_up(capsys: pytest.CaptureFixture[str]) -> None:
    doctor._print([Finding("one", "why one", "ok", "here"), Finding("two", "why two", "slow", "late", "hurry"),
                   Finding("three", "why three", "missing", "not found", "get it")])  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert lines[:-2] == [
        "ok       one: here",
        "         why one",
        "slow     two: late",
        "         why two",
        "         hint: hurry",
        "missing  three: not found",
        "         why three",
        "         hint: get it",
    ]
