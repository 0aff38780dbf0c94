"""What a person who waits is told."""

from __future__ import annotations

import threading

import pytest

from harness.host import progress
from harness.host.progress import Progress


def test_a_long_step_is_told_of_again_without_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "_LINE_S", 0.001)
    asked = threading.Event()
    said = iter(["", "12 steps, core.o"])

    def detail() -> str:
        told = next(said, "")
        if told:
            asked.set()
        return told

    with Progress().step("compiling", expected_s=1, detail=detail):
        assert asked.wait(60)
    first, second, last = capsys.readouterr().err.splitlines()
    assert (first, second) == ("compiling …", "compiling: 12 steps, core.o, after 0 min")
    assert last.startswith("compiling: done in ")


def test_a_step_that_tells_no_more_is_two_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "_LINE_S", 0.001)
    with Progress().step("copying", expected_s=1):
        threading.Event().wait(0.05)  # fifty times what makes a line
    assert len(capsys.readouterr().err.splitlines()) == 2
