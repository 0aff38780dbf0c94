"""A test whose guest this host took away is tried again; one whose guest died of it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import ExitCode
from harness.host.again import ATTEMPTS
from harness.pytest_plugin.host import guests as module
from harness.pytest_plugin.host.gateway import Lost
from harness.pytest_plugin.host.guests import Guests
from harness.pytest_plugin.selection import CANNOT, LOST
from harness.vm.ending import Ending

Life = Callable[[], Iterator[pytest.TestReport]]
Told = list[tuple[str, str, dict[str, object]]]
TAKEN, DIED = Ending(taken="QEMU was killed by SIGKILL"), Ending(died="Kernel panic")


def report(when: Any, outcome: Any = "passed") -> pytest.TestReport:
    return pytest.TestReport("t.py::a", ("t.py", 1, "a"), {}, outcome, None, when)


def life(*phases: str, ending: Ending | None = None, failed: str = "") -> Life:
    """The phases that a test comes to, and how its guest ends then."""
    def reports() -> Iterator[pytest.TestReport]:
        for when in phases:
            yield report(when, "failed" if when == failed else "passed")
        if ending:
            raise Lost(ending.taken or ending.died or "", ending, "")

    return reports


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a person is told meanwhile."""
    said: list[str] = []
    monkeypatch.setattr(module, "Progress", lambda: SimpleNamespace(note=said.append))
    return said


@pytest.fixture
def run(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, notes: list[str]) -> Callable[..., Told]:
    """What is reported of a test that has these lives, one a guest."""
    def reported(*lives: Life) -> Told:
        monkeypatch.setattr(module, "kernel_of", lambda _: "6.12")
        monkeypatch.setattr(module, "check_markers", lambda _: None)
        monkeypatch.setattr(module, "isolation_of", lambda _: "worker")
        monkeypatch.setattr(Guests, "_make_ready", lambda *_: None)
        monkeypatch.setattr(Guests, "_fitting", lambda *_: None)
        left = iter(lives)
        monkeypatch.setattr(Guests, "_life", lambda *_: next(left)())
        item: Any = SimpleNamespace(nodeid="t.py::a", location=("t.py", 1, "a"))
        found: Told = [(one.when or "", one.outcome, dict(one.user_properties)) for one in Guests(pytestconfig, [item]).run(item, None)]
        assert not list(left)
        return found

    return reported


GOOD: Told = [("setup", "passed", {}), ("call", "passed", {}), ("teardown", "passed", {})]
WHOLE = life("setup", "call", "teardown")


@pytest.mark.parametrize("phases", [(), ("setup",), ("setup", "call")])
def test_a_guest_that_was_taken_away_costs_no_test(run: Any, notes: list[str], phases: tuple[str, ...]) -> None:
    assert run(life(*phases, ending=TAKEN), life(*phases, ending=TAKEN, failed="call"), WHOLE) == GOOD
    assert notes == ["t.py::a: QEMU was killed by SIGKILL; trying again"] * 2


def test_one_that_was_taken_away_when_the_test_had_ended_is_not_missed(run: Any) -> None:
    assert run(life("setup", "call", "teardown", ending=TAKEN)) == GOOD


def test_what_happens_each_time_is_an_error_that_is_not_the_kernels(run: Any) -> None:
    assert run(*[life("setup", ending=TAKEN)] * ATTEMPTS) == [
        ("setup", "failed", {CANNOT: str(int(ExitCode.CANNOT))}), ("teardown", "passed", {})]


def test_a_guest_that_died_costs_the_test(run: Any) -> None:
    assert run(life("setup", ending=DIED)) == [
        ("setup", "passed", {}), ("call", "failed", {LOST: "Kernel panic"}), ("teardown", "passed", {})]
