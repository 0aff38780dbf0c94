"""Failures that are known: a file of waivers forgives them, or an earlier run had them. They count as expected ones (``xfailed``)."""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.pytest_plugin.report.runs import ResultsFile
from harness.pytest_plugin.selection import CANNOT, KERNEL

__all__ = ("KnownFailures", "Waiver", "waivers")

#: Key of a waiver → whether it must be there.
_KEYS = {"test": True, "kernel": False, "forgives": True, "why": True, "until": False}
_HINT = 'a waiver is [[waiver]] with test, forgives and why, and if wanted kernel and until (until = 2027-06-30)'


@dataclass(frozen=True, slots=True)
class Waiver:
    """What is forgiven, and for how long.

    :param test: glob of node ids; where tests have parameters, of one of these as well (``fib_tests.sh``)
    :param forgives: is to be found in what the test failed with
    :param why: the reason, for the readers of the report
    :param kernel: glob of what ``--kernel`` names
    :param until: the last day on which it holds
    """

    test: str
    forgives: re.Pattern[str]
    why: str
    kernel: str = "*"
    until: datetime.date | None = None

    def is_about(self, test: str, kernel: str) -> bool:
        """Whether it is about a test on a kernel, whatever became of that."""
        return fnmatchcase(kernel, self.kernel) and any(fnmatchcase(name, self.test) for name in _names(test, kernel))

    def __str__(self) -> str:
        return self.test if self.kernel == "*" else f"{self.test} on {self.kernel}"


def _names(test: str, kernel: str) -> Iterator[str]:
    """The names of a test: its node ID, that without its parameters, and its parameters without the kernel."""
    whole, _, inside = test.partition("[")
    yield from (test, whole)
    yield inside.removesuffix("]").removeprefix(f"{kernel}-").removesuffix(f"-{kernel}")


def waivers(path: Path, today: datetime.date) -> list[Waiver]:
    """The waivers of a file, in order.

    :raises UserError: it cannot be read, is no TOML, a key is missing, unknown or wrong, or a waiver's date has passed
    """
    try:
        found = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: {error.strerror if isinstance(error, OSError) else error}", hint=_HINT) from None
    tables = found.get("waiver")
    if set(found) != {"waiver"} or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UserError(f"{path} has something else than waivers", hint=_HINT)
    return [_waiver(table, f"{path}: waiver {number}", today) for number, table in enumerate(tables, 1)]


def _waiver(table: dict[str, Any], where: str, today: datetime.date) -> Waiver:
    for key, value in table.items():
        if key not in _KEYS:
            raise UserError(f"{where}: unknown key {key!r}", hint=_HINT)
        if type(value) is not (datetime.date if key == "until" else str):
            raise UserError(f"{where}: {key} is {value!r}", hint=_HINT)
    if missing := [key for key, needed in _KEYS.items() if needed and not table.get(key)]:
        raise UserError(f"{where}: {missing[0]} is missing", hint=_HINT)
    try:
        waiver = Waiver(**{**table, "forgives": re.compile(table["forgives"])})
    except re.error as error:
        hint = "put a backslash before what stands for itself"
        raise UserError(f"{where}: forgives is no regular expression: {error}", hint=hint) from None
    if waiver.until and waiver.until < today:
        hint = "look whether it is needed still: delete it, or give it a later day"
        raise UserError(f"{where} ({waiver}) has ended on {waiver.until}", hint=hint)
    return waiver


class KnownFailures:
    """Hooks of the process that the user started: what is forgiven is so before anybody counts it.

    :param waivers: in their order; the first that matches forgives
    :param baseline: an earlier run, whose failures are no news
    """

    def __init__(self, waivers: list[Waiver], baseline: ResultsFile | None) -> None:
        self._waivers = waivers
        self._met: dict[Waiver, bool] = {}
        self._baseline = {(one.test, one.kernel): one for one in baseline.results} if baseline else {}
        self._again: set[tuple[str, str]] = set()
        self._ran: set[tuple[str, str]] = set()
        self._forgiven: set[tuple[str, str]] = set()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, object, object]:
        """Turn a failure that is known into an expected one."""
        properties = dict(report.user_properties)
        kernel = str(properties.get(KERNEL, "host"))
        place = report.nodeid, kernel
        self._ran.add(place)
        for waiver in self._waivers:
            if waiver.is_about(report.nodeid, kernel):
                self._met.setdefault(waiver, False)
        if report.failed and CANNOT not in properties and (why := self.why(report, kernel)):
            if place in self._forgiven:  # terminals count phases, and this is one test
                report.outcome = "passed"
            else:
                report.outcome, report.wasxfail = "skipped", why
                self._forgiven.add(place)
        return (yield)

    def why(self, report: pytest.TestReport, kernel: str) -> str:
        """Why a failure is forgiven; empty if it is not."""
        for waiver in self._waivers:
            if waiver.is_about(report.nodeid, kernel) and waiver.forgives.search(str(report.longrepr)):
                self._met[waiver] = True
                return f"waived: {waiver.why}"
        before = self._baseline.get((report.nodeid, kernel))
        if before is None or before.good:
            return ""
        self._again.add((report.nodeid, kernel))
        return f"known from the baseline, where it was {before.outcome}: {before.message}"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what the waivers and the baseline were good for."""
        for line in self._lines():
            terminalreporter.write_line(f"nfharness: {line}")

    def _lines(self) -> Iterator[str]:
        if self._waivers:
            idle = [str(waiver) for waiver, forgave in self._met.items() if not forgave]
            other = len(self._waivers) - len(self._met)
            yield (f"waivers that forgave something: {sum(self._met.values())} of {len(self._waivers)}"
                   + (f"; about tests that did not run: {other}" if other else ""))
            if idle:
                yield f"not needed, their tests did not fail so: {', '.join(idle)}"
        if self._baseline:
            mended = sorted(self._failed_before() & self._ran - self._again)
            yield f"failures known from the baseline: {len(self._again)}"
            yield from (f"no failure any more: {test}" for test, _ in mended)

    def _failed_before(self) -> set[tuple[str, str]]:
        return {place for place, one in self._baseline.items() if not one.good}
