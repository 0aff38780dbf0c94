"""What became of each test, put together from the reports of its phases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import pytest

from harness.pytest_plugin.selection import CANNOT, KERNEL, LOST

__all__ = ("HOST", "Outcome", "Result", "Results")

#: Where tests run that are for no kernel.
HOST = "host"
Outcome = Literal["passed", "failed", "error", "lost", "skipped", "xfailed", "xpassed"]
"""``lost``: the guest died or hung; ``error``: the test's surroundings failed, or what it left behind is wrong."""


@dataclass(slots=True)
class Result:
    """One test on one kernel.

    :param test: node id; :param kernel: as ``--kernel`` names it, ``host`` for tests of this machine
    :param message: why it failed or was skipped, one line; :param detail: all of it
    :param sections: title and text of what was captured: output, walks of packets, kernel log, console
    """

    test: str
    kernel: str
    outcome: Outcome = "passed"
    seconds: float = 0.0
    message: str = ""
    detail: str = ""
    sections: list[tuple[str, str]] = field(default_factory=list)

    @property
    def module(self) -> str:
        return self.test.partition("::")[0]

    @property
    def name(self) -> str:
        return self.test.partition("::")[2] or self.test

    @property
    def good(self) -> bool:
        """Whether it is as it should be."""
        return self.outcome in ("passed", "skipped", "xfailed")


class Results:
    """:ivar cannot: test that could not be run at all → exit status that says whose fault that is; :ivar seconds: of the whole run"""

    def __init__(self) -> None:
        self._results: dict[str, Result] = {}
        self.cannot: dict[str, int] = {}
        self.seconds = 0.0

    def add(self, report: pytest.TestReport) -> None:
        """Take a phase's report into account."""
        properties = dict(report.user_properties)
        result = self._results.setdefault(report.nodeid, Result(report.nodeid, str(properties.get(KERNEL, HOST))))
        result.seconds += report.duration
        if CANNOT in properties:
            self.cannot[report.nodeid] = int(str(properties[CANNOT]))
        outcome = _outcome(report, lost=LOST in properties)
        if outcome != "passed" and result.good:
            result.outcome = outcome
            result.message, result.detail = _why(report)
            result.sections = list(report.sections)

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results.values())

    def by_kernel(self) -> dict[str, list[Result]]:
        """In the order in which they came."""
        kernels: dict[str, list[Result]] = {}
        for result in self._results.values():
            kernels.setdefault(result.kernel, []).append(result)
        return kernels


def _outcome(report: pytest.TestReport, *, lost: bool) -> Outcome:
    if lost:
        return "lost"
    expected = hasattr(report, "wasxfail")
    if report.outcome == "skipped":
        return "xfailed" if expected else "skipped"
    if report.outcome == "failed":
        return "failed" if report.when == "call" else "error"
    return "xpassed" if expected and report.when == "call" else "passed"


def _why(report: pytest.TestReport) -> tuple[str, str]:
    if report.outcome == "skipped":
        reason = getattr(report, "wasxfail", "") or (report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext)
        reason = reason.removeprefix("Skipped: ").removeprefix("reason: ")
        return reason, reason
    # Not longreprtext: where there are several workers, that begins with which one it was.
    detail = report.longrepr if isinstance(report.longrepr, str) else report.longreprtext
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash else detail
    return (message.strip().splitlines() or [""])[0], detail
