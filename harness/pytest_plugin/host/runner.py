"""The host's half: a kernel test that it is pytest's turn to run is run in a guest, and reported as if it had run here.

Which process runs which test, on this machine or another, is xdist's affair; each process has one guest at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from harness.host.again import ATTEMPTS
from harness.pytest_plugin.host.walks import show_walks
from harness.pytest_plugin.points import failed_points
from harness.pytest_plugin.selection import CANNOT, COUNTERS, EXIT, FLAKY, KERNEL, PACKETS, UNCLEAR, WIDER, kernel_of, why_without_kernel

if TYPE_CHECKING:
    from harness.pytest_plugin.host.guests import Guests

__all__ = ("HostHalf", "file_name")

#: Characters of a file's name (``NAME_MAX``).
_LONGEST = 255


class HostHalf:
    """Hooks of every process on the host that runs tests."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._items: list[pytest.Item] = []

    @cached_property
    def _guests(self) -> Guests:
        from harness.pytest_plugin.host.guests import Guests  # noqa: PLC0415 - not for runs without a kernel test

        return Guests(self._config, self._items)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Refuse what cannot be collected once for each kernel."""
        for item in items:
            if item.get_closest_marker("kernel") and kernel_of(item) is None and not isinstance(item, pytest.Function):
                raise pytest.UsageError(f"{item.nodeid}: a kernel test is a function, or a method of a plain class")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember what guests need."""
        self._items[:] = [item for item in session.items if kernel_of(item)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run a kernel test's whole life in a guest."""
        kernel = kernel_of(item)
        if kernel is None:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._lives(item, nextitem):
            show_walks(report)
            _keep_packets(item, report)
            _keep_counters(item, report)
            _heed_exit(item, report)
            report.user_properties = [(KERNEL, kernel), *report.user_properties]
            if report.skipped and not hasattr(report, "wasxfail") and item.config.getoption("strict_skip"):
                report.outcome = "failed"
                report.longrepr = f"skipped, which --strict-skip does not allow: {report.longreprtext}"
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _lives(self, item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
        """The reports of a test's phases: those of its last life, which tell of the earlier ones.

        A test that was inconclusive has three lives. With ``--flaky`` one that failed has more, too.
        """
        lives = {True: ATTEMPTS - 1, False: item.config.getoption("flaky")}  # that are left to a test that was inconclusive, or that failed
        reports = self._life(item, nextitem)
        earlier: list[str] = []
        wider: list[str] = []
        failed = False
        while (why := _failure(reports)) and lives[unclear := _has(reports, UNCLEAR)]:
            lives[unclear] -= 1
            failed |= not unclear
            earlier.append(why)
            wider += [f"in guest {len(earlier)}: {text}" for report in reports for name, text in report.user_properties if name == WIDER]
            self._guests.renew()
            if unclear:
                self._guests.note(f"{item.nodeid}: the tracer lost something; trying again")
            reports = self._life(item, nextitem)
        if why and (unclear or item.config.getoption("flaky")):  # it has no wider fixtures any more, as if another life came
            self._guests.renew()
        _add_wider(reports, wider)
        if earlier:
            _tell(reports, earlier, flaky=failed)
        return reports

    def _life(self, item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
        """The reports of a test's phases in one guest. A test with a subtest that failed fails, as pytest has it."""
        reports = list(self._guests.run(item, nextitem))
        subtests = [report for report in reports if isinstance(report, pytest.SubtestReport)]
        failed = sum(report.failed for report in subtests)
        for report in reports if failed else ():
            if report.when == "call" and report.passed and report not in subtests:
                report.outcome, report.longrepr = "failed", f"contains {failed} failed subtest{'s' if failed > 1 else ''}"
        return reports

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A test that is for a kernel never runs here."""
        if item.get_closest_marker("kernel"):
            pytest.fail(why_without_kernel(item.config), pytrace=False)

    def pytest_unconfigure(self) -> None:
        """Leave nothing behind."""
        if "_guests" in vars(self):
            self._guests.close()


def _tell(reports: Sequence[pytest.TestReport], earlier: Sequence[str], *, flaky: bool) -> None:
    """Let the reports of a test's last life tell of the earlier ones; one that passed is flaky if it had failed for good."""
    text = "\n\n".join(f"in guest {number}:\n{why}" for number, why in enumerate(earlier, 1))
    for report in reports:
        report.sections.append(("Earlier failures of this test", text))
    passed = [report for report in reports if report.when == "call" and report.passed]
    if flaky and passed and not _failure(reports):
        whole = passed[-1]  # those of its subtests come before it
        whole.user_properties = [*whole.user_properties, (FLAKY, text)]


def _add_wider(reports: Sequence[pytest.TestReport], wider: Sequence[str]) -> None:
    """Let the end of a test fail over fixtures that are not its own, in the teardown of which something failed in guests before."""
    for report in reports if wider else ():
        if report.when == "teardown":
            before = [str(report.longrepr)] if report.failed else []
            report.outcome, report.longrepr = "failed", "\n".join([*before, *wider])


def _has(reports: Sequence[pytest.TestReport], name: str) -> bool:
    """Whether a report has the property."""
    return any(name == one for report in reports for one, _ in report.user_properties)


def _failure(reports: Sequence[pytest.TestReport]) -> str:
    """What a test failed with, in the first phase that did; empty if it passed, or could not be run at all."""
    if _has(reports, CANNOT):
        return ""
    return next((why for report in reports if (why := failed_points(report) or (str(report.longrepr) if report.failed else ""))), "")


def _heed_exit(item: pytest.Item, report: pytest.TestReport) -> None:
    """End the run after a test that called ``pytest.exit()``."""
    reason = dict(report.user_properties).get(EXIT)
    if reason is not None and not item.session.shouldstop:
        item.session.shouldstop = f"{item.nodeid} called pytest.exit(): {reason}"


def _keep_packets(item: pytest.Item, report: pytest.TestReport) -> None:
    """Write the packets of a test to the directory of ``--trace-all``; a failure to is the test's error."""
    properties = dict(report.user_properties)
    if PACKETS not in properties:
        return
    report.user_properties = [(name, value) for name, value in report.user_properties if name != PACKETS]
    from harness.outcome import codec  # noqa: PLC0415
    from harness.walks.pcapng import written  # noqa: PLC0415

    file = Path(item.config.getoption("trace_all"), file_name(item.nodeid, ".pcapng"))
    try:
        file.write_bytes(written(codec.from_json(json.loads(str(properties[PACKETS])))))
    except OSError as error:
        report.outcome, report.longrepr = "failed", f"{file} was not written: {error.strerror}"


def _keep_counters(item: pytest.Item, report: pytest.TestReport) -> None:
    """Write what gcov counted in a test to the directory of ``--coverage``; a failure to is the test's error."""
    properties = dict(report.user_properties)
    if COUNTERS not in properties:
        return
    report.user_properties = [(name, value) for name, value in report.user_properties if name != COUNTERS]
    from harness.pytest_plugin.host.coverage import keep, place_of  # noqa: PLC0415

    place = place_of(item.config.getoption("coverage"), str(kernel_of(item)))
    try:
        keep(place, file_name(item.nodeid, ""), str(properties[COUNTERS]))
    except OSError as error:
        report.outcome, report.longrepr = "failed", f"{place} was not written: {error.strerror}"


def file_name(nodeid: str, suffix: str) -> str:
    """A file's name that only this test has: what a name cannot have is in percent, and a long one ends in its digest."""
    name = quote(nodeid, safe="[]=,+@ ")
    if len(name) + len(suffix) > _LONGEST:
        name = f"{name[: _LONGEST - 20]}~{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return name + suffix
