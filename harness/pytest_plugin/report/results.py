"""What became of each test, of each file that could not be collected, and of the run: the one source of every report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import pytest

from harness.pytest_plugin.selection import CANNOT, FLAKY, KERNEL, LOST

__all__ = ("HOST", "Outcome", "Result", "Results")

#: Where tests run that are for no kernel.
HOST = "host"
Outcome = Literal["passed", "failed", "error", "lost", "skipped", "xfailed", "xpassed", "flaky"]
"""``lost``: the guest died or hung; ``flaky``: it failed, and passed in another guest (``--flaky``), which is no failure; ``error``: the
test's surroundings failed, or what it left behind is wrong, or a file could not be collected, or the run did not end as it should;
``xpassed``: a test passed that need not have, which is no failure."""
#: How a run can end in a way that no test shows; as pytest's own JUnit has it: a case "internal" of a class "pytest".
_OF_THE_RUN = "pytest::"
_CUT_OFF = "the run ended before this test did"


@dataclass(slots=True)
class Result:
    """One test on one kernel.

    :param test: node id
    :param kernel: as ``--kernel`` names it, ``host`` for tests of this machine
    :param message: why it failed or was skipped, one line
    :param detail: all of it
    :param line: where it stands in its file, from 1; ``None`` if that is not known
    :param ended: whether the test came to its end; only then can it have passed
    :param sections: title and text of what was captured: output, walks of packets, kernel log, console
    """

    test: str
    kernel: str
    outcome: Outcome = "passed"
    seconds: float = 0.0
    message: str = ""
    detail: str = ""
    sections: list[tuple[str, str]] = field(default_factory=list)
    ended: bool = True
    line: int | None = None

    @property
    def module(self) -> str:
        return self.test.partition("::")[0]

    @property
    def name(self) -> str:
        return self.test.partition("::")[2] or self.test

    @property
    def good(self) -> bool:
        """Whether it is as it should be."""
        return self.outcome in ("passed", "skipped", "xfailed", "xpassed", "flaky")


class Results:
    """What became of each test.

    :ivar cannot: test that could not be run at all → exit status that says whose fault that is
    :ivar seconds: of the whole run
    """

    def __init__(self) -> None:
        self._results: dict[tuple[str, object], Result] = {}
        self.cannot: dict[str, int] = {}
        self.seconds = 0.0

    def add(self, report: pytest.TestReport) -> None:
        """Take a phase's report into account. Where each worker runs each test, each has a result."""
        properties = dict(report.user_properties)
        place = report.nodeid, getattr(report, "node", None)
        result = self._results.setdefault(place, Result(report.nodeid, str(properties.get(KERNEL, HOST))))
        result.seconds += report.duration
        result.line = None if report.location[1] is None else report.location[1] + 1
        result.ended = report.when == "teardown"
        if CANNOT in properties:
            self.cannot[report.nodeid] = int(str(properties[CANNOT]))
        if FLAKY in properties:
            result.outcome, result.detail = "flaky", str(properties[FLAKY])
            shown = [line.removeprefix("E ").strip() for line in result.detail.splitlines() if line.startswith("E ")]
            result.message = shown[0] if shown else result.detail.splitlines()[-1]
            return
        self._judge(result, report, _outcome(report, lost=LOST in properties))

    def add_collected(self, report: pytest.CollectReport) -> None:
        """Take into account that a file was skipped, or could not be collected."""
        if not report.passed:
            result = self._results.setdefault((report.nodeid, None), Result(report.nodeid or "collection", HOST))
            self._judge(result, report, "skipped" if report.skipped else "error")

    def add_end(self, kind: str, message: str, detail: str = "") -> None:
        """Take into account how the run ended.

        :param kind: ``interrupted``, ``internal``, ``usage``, ``empty`` or ``status``
        """
        end = Result(_OF_THE_RUN + kind, HOST, "error", message=message, detail=detail or message)
        self._results[end.test, None] = end

    def cut_off(self) -> None:
        """Take into account that the run is over: a test in the middle of which it ended has not passed."""
        for result in self:
            if not result.ended and result.outcome == "passed":
                result.outcome, result.message, result.detail = "error", _CUT_OFF, _CUT_OFF

    def ends(self) -> list[Result]:
        """What became of the run itself, beside its tests, and of the test that it ended in."""
        return [result for result in self if result.test.startswith(_OF_THE_RUN) or result.message == _CUT_OFF]

    @staticmethod
    def _judge(result: Result, report: pytest.TestReport | pytest.CollectReport, outcome: Outcome) -> None:
        if outcome == "passed":
            return
        message, detail = _why(report)
        if result.good:
            result.outcome, result.message, result.detail = outcome, message, detail
            result.sections = list(report.sections)
            return
        if outcome == "lost":  # a subtest had failed before
            result.outcome, result.message = outcome, message
        result.detail += f"\n\n{report.when}: {detail}"  # the test failed, and so did what came after it
        result.sections += [section for section in report.sections if section not in result.sections]

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results.values())

    def by_kernel(self) -> dict[str, list[Result]]:
        """Results by kernel, in the order in which they came."""
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
        return "error" if report.when in ("setup", "teardown") else "failed"
    return "xpassed" if expected and report.when == "call" else "passed"


def _why(report: pytest.TestReport | pytest.CollectReport) -> tuple[str, str]:
    if report.outcome == "skipped":
        reason = getattr(report, "wasxfail", "") or (report.longrepr[2] if isinstance(report.longrepr, tuple) else "")
        reason = reason.removeprefix("Skipped: ").removeprefix("reason: ")
        if reason or isinstance(report.longrepr, tuple):
            return reason, reason
    # Not longreprtext: where there are several workers, that begins with which one it was.
    detail = str(report.longrepr)
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash else detail
    return (message.strip().splitlines() or [""])[0], detail
