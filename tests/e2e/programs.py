"""Programs of ours that end in each way that there is, run as tests, and what is reported of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ("SAYS", "WARNS", "Program", "fails", "hangs", "judged", "skips", "written")


class Program(NamedTuple):
    """A program.

    :param does: its text behind the first line
    :param outcome: how it ends as a test
    :param said: part of what is said of it then
    """

    does: str
    outcome: str
    said: str


#: The kernel itself begins this message with the name of the process, which ``/dev/kmsg`` lets no process do.
WARNS = Program("printf 'WARNING: x.c:1' > /proc/self/comm; echo 1 > /proc/sys/vm/drop_caches", "failed",
                "the kernel warned: WARNING: x.c:1 (")
#: What a process says there is its own, and no warning of the kernel's.
SAYS = Program("echo '<4>WARNING: CPU: 0 PID: 1 at net/made_up.c:1 f+0x1/0x2' > /dev/kmsg", "passed", "")


def fails(status: int) -> Program:
    """A program that says why it fails."""
    return Program(f"echo FAIL: as told; exit {status}", "failed", f"exit status {status}: FAIL: as told")


def skips(status: int) -> Program:
    """A program that says why it skips.

    :param status: 4 in the kernel's selftests, 77 elsewhere
    """
    return Program(f"echo SKIP: as told; exit {status}", "skipped", "SKIP: as told")


def hangs(seconds: int) -> Program:
    """A program that does not end within the limit, and has said something."""
    return Program(f"echo begun; sleep {seconds}", "failed", "it did not end within")


def written(programs: Mapping[str, Program], place: Path, shell: str, suffix: str = "") -> None:
    """Write the programs below a directory."""
    for name, program in programs.items():
        file = place / f"{name}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!{shell}\n{program.does}\n")
        file.chmod(0o755)


def judged(programs: Mapping[str, Program], report: Path, suffix: str = "", others: Mapping[str, str] | None = None) -> dict[str, str]:
    """Compare a report as JSON Lines with what should become of each program.

    :param others: outcomes of tests beside the programs
    :returns: the outcome of each test
    """
    results: dict[str, dict[str, Any]] = {
        one["test"].partition("-")[2].removesuffix(f"{suffix}]"): one
        for line in report.read_text().splitlines() if "test" in (one := json.loads(line))}
    outcomes = {name: one["outcome"] for name, one in results.items()}
    expected = {name: program.outcome for name, program in programs.items()} | dict(others or {})
    assert outcomes == expected, [(name, results.get(name, {}).get("message")) for name in outcomes.keys() | expected.keys()
                                  if outcomes.get(name) != expected.get(name)]
    assert [name for name, program in programs.items() if program.said not in (results[name]["message"] or "")] == []
    return outcomes
