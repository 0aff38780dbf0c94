"""Programs of any suite as tests: the body of the file that ``nfharness suite`` gives to pytest."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from harness.pytest_plugin.guest import programs, tap
from harness.pytest_plugin.selection import POINTS

__all__ = ("run",)

#: kselftest's, and automake's.
_SKIP = 4, 77
#: So many of its output's last lines belong to a failure: a waiver may name one.
_LAST_LINES = 20
#: What runners have found out in this guest.
_found_out: dict[str, str] = {}


def run(suite: Path, name: str, record: Callable[[str, object], None], *, runner: Sequence[str], environment: Mapping[str, str],
        remembered: str, limit_s: float) -> None:
    """Run a test of a suite in its directory: exit status 0 is a pass, 4 and 77 are skips, anything else is a failure.

    Of a program that speaks TAP or KTAP each point has a result; the test itself then fails only for what no point says.

    :param suite: the suite's directory
    :param name: the test's path below it
    :param record: pytest's ``record_property``
    :param runner: the words of a program of the suite's that runs the test, which is its last argument; empty if the test is the program
    :param remembered: regular expression of what the runner finds out, name and value, and need not find out again in this guest
    :param limit_s: seconds after which it is ended and has failed
    """
    words = [*runner, name] if runner else [name]
    program = suite / words[0]
    if not os.access(program, os.X_OK):
        programs.fail(f"{words[0]} is not executable")
    ended = programs.run([f"./{words[0]}", *words[1:]], suite, {**environment, **_found_out}, limit_s)
    if remembered:
        _found_out.update(re.findall(remembered, ended.output, re.MULTILINE))
    said = tap.told(ended.output)
    if said:
        record(POINTS, json.dumps([asdict(point) for point in said.points]))
    if ended.status is None:
        programs.fail(f"it did not end within {limit_s:.0f} s (--deadline); its last words: {programs.lines(ended.output)[-1]}")
    if said and said.wrong:
        programs.fail("\n".join(said.wrong))
    if ended.status in _SKIP:
        pytest.skip(programs.skip_reason(ended.output))
    if said and said.skipped is not None and not ended.status:
        pytest.skip(said.skipped)
    if ended.status and not (said and any(point.outcome == "failed" for point in said.points)):
        last = programs.lines(ended.output)[-_LAST_LINES:]
        programs.fail("\n".join((f"{programs.how(ended.status)}: {programs.telling(ended.output)}", *last)))
