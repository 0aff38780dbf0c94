"""What ``nfharness test`` hands to pytest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import test as command

_OWN = Path(command.__file__).parents[2]


QUICK = "not slow and not long"
_WORKERS = ["-n3", "--dist=loadfile", "--no-loadscope-reorder"]


@pytest.mark.parametrize(
    ("arguments", "added"),
    [
        ((), ["-m", QUICK, *_WORKERS]), (("-x", "-k", "vagrant", "--maxfail=1"), ["-m", QUICK, *_WORKERS]),
        (("-m", "long"), _WORKERS), (("-mlong",), _WORKERS), (("-m", ""), _WORKERS),
        (("-n", "0"), ["-m", QUICK]), (("--pdb",), ["-m", QUICK]), (("-s", "-m", "long"), []),
    ],
)  # fmt: skip
def test_the_own_tests_are_those_that_are_not_slow_on_all_processors(
    arguments: tuple[str, ...], added: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(_OWN)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    checkout = command._checkout(arguments)
    assert checkout == _OWN
    assert command._defaults(checkout, arguments) == added


def test_one_processor_has_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert command._defaults(_OWN, ()) == ["-m", QUICK]


def test_of_a_file_that_is_named_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(_OWN)
    arguments = ("tests/e2e/test_vagrant.py::test_one",)
    assert command._checkout(arguments) is None
    assert command._defaults(None, arguments) == []


def test_elsewhere_a_checkout_s_command_runs_what_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert command._checkout(("-x",)) is None
    monkeypatch.chdir(_OWN / "harness")
    assert command._checkout(("-x",)) == _OWN


def started(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[str]:
    """pytest's command line of ``nfharness test`` with *arguments*, or what the command says of a mistake."""
    lines: list[str] = []

    def run(given: list[str], cwd: Path) -> int:
        lines.extend(given)
        return 0 if cwd == _OWN else 1

    monkeypatch.setattr(command, "run_pytest", run)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    done = CliRunner().invoke(command.command, arguments)
    return lines or done.output.splitlines()[-1:]


def test_host_runs_the_tests_that_start_no_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started(monkeypatch, "--host", "-x") == ["-m", QUICK, *_WORKERS, "-x", "tests/unit", "tests/model"]


@pytest.mark.parametrize(("arguments", "mistake"), [
    (("--host", "--kernel", "6.1"), "Error: --host runs no test for a kernel: leave out --host or --kernel."),
    (("--host", str(_OWN / "tests/unit")), "Error: --host runs the tests of a checkout of nfharness: name no file, and start it from a "
                                           "checkout."),
])
def test_host_says_what_does_not_go_with_it(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], mistake: str) -> None:
    assert started(monkeypatch, *arguments) == [mistake]
