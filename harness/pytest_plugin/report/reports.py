"""Reports of a run: files for programs and readers, and the exit status. In the process that the user started."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.errors import ExitCode
from harness.pytest_plugin.report.annotated import told_on_github
from harness.pytest_plugin.report.junit import Junit
from harness.pytest_plugin.report.ktap import ktap
from harness.pytest_plugin.report.page import page
from harness.pytest_plugin.report.results import HOST, Result, Results
from harness.pytest_plugin.report.runs import SCHEMA
from harness.pytest_plugin.selection import FLAKY

__all__ = ("Reports", "json_lines", "remove_old")

_HINT = "name a file that can be written, another one for each report"


class Reports:
    """Hooks that gather results and write them down at the end."""

    def __init__(self, config: pytest.Config) -> None:
        _check(config)
        self._config = config
        self._results = Results()
        self._start, self._began = time.monotonic(), datetime.now(UTC)
        self._end: tuple[str, ...] = ()
        self._junit: Junit | None = None

    def pytest_sessionstart(self) -> None:
        """Write JUnit's file in pytest's place."""
        self._junit = Junit.taken_over(self._config)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather what became of a test's phase."""
        self._results.add(report)

    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport,
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Let the terminal count what is flaky by itself."""
        flaky = isinstance(report, pytest.TestReport) and FLAKY in dict(report.user_properties)
        return ("flaky", "f", ("FLAKY", {"yellow": True})) if flaky else None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Gather what could not be collected."""
        self._results.add_collected(report)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Keep why the run ends before it has begun."""
        try:
            return (yield)
        except pytest.UsageError as error:
            self._end = "usage", "; ".join(map(str, error.args))
            raise

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, report: pytest.TestReport) -> None:
        """Let the test have failed that ended its worker: of xdist's phase "???" pytest's JUnit makes an error of the setup."""
        report.when = "call"

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Keep why the run was interrupted."""
        self._end = "interrupted", str(excinfo.value) or excinfo.typename

    def pytest_internalerror(self, excrepr: object, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Keep over what pytest broke."""
        self._end = "internal", excinfo.exconly(tryshort=True), str(excrepr)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Write everything; a run in which no test could be run says with its status whose fault that is."""
        result = yield
        self._results.seconds = time.monotonic() - self._start
        self._judge(session)
        kernels = self._results.by_kernel()
        option = self._config.option
        texts: list[tuple[str | None, Callable[[], str]]] = [
            (option.ktap, lambda: "\n".join(ktap(kernels)) + "\n"),
            (option.report_jsonl, lambda: "".join(f"{line}\n" for line in self._lines(session))),
            (option.report_html, lambda: page(kernels, self._results.seconds)),
        ]
        unwritten = [failure for name, text in texts if name and (failure := _written(name, text()))]
        if self._junit and (failure := self._junit.rewrite(self._results.ends())):
            unwritten.append(failure)
        if option.github:
            unwritten += told_on_github(kernels, self._config.rootpath)
        for failure in unwritten:
            print(f"nfharness: error: {failure}\n  hint: {_HINT}", file=sys.stderr)
            session.exitstatus = ExitCode.CANNOT
        return result

    def _judge(self, session: pytest.Session) -> None:
        """Set the exit status where all that failed could not be run, and let every report show an end that no test shows."""
        self._results.cut_off()
        bad = {one.test for one in self._results if not one.good}
        if session.exitstatus == pytest.ExitCode.OK and (bad or self._end):  # a test that called pytest.exit() may say what it likes
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        if bad and bad <= self._results.cannot.keys() and session.exitstatus == pytest.ExitCode.TESTS_FAILED:
            worst = max(self._results.cannot.values())
            session.exitstatus = pytest.ExitCode.USAGE_ERROR if worst == ExitCode.USER_ERROR else worst
        if self._end:
            self._results.add_end(*self._end)
        elif session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            self._results.add_end("empty", "no tests were collected, or all were deselected")
        elif session.exitstatus == pytest.ExitCode.OK and self._all_skipped() and not self._config.option.allow_all_skipped:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
            self._results.add_end("skipped", "every test for a kernel skipped: --allow-all-skipped lets that pass")
        elif session.exitstatus and not bad:
            self._results.add_end("status", f"the run ended with exit status {int(session.exitstatus)}")

    def _all_skipped(self) -> bool:
        """Whether there were tests for a kernel, and not one of the run's ran."""
        outcomes = {one.outcome for one in self._results}
        return outcomes == {"skipped"} and any(one.kernel != HOST for one in self._results)

    def _lines(self, session: pytest.Session) -> list[str]:
        outcomes = [one.outcome for one in self._results]
        return json_lines(self._results, {
            "schema": SCHEMA, "began": self._began.isoformat(timespec="seconds"), "seconds": round(self._results.seconds, 3),
            "kernels": list(self._results.by_kernel()),
            "outcomes": {outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)}, "exitstatus": int(session.exitstatus)})


def json_lines(results: Iterable[Result], summary: dict[str, object]) -> list[str]:
    """A JSON object for each test, and one for the whole run; each a line without control characters."""
    lines: list[dict[str, object]] = [
        {"test": one.test, "kernel": one.kernel, "module": one.module, "outcome": one.outcome, "seconds": round(one.seconds, 3),
         "message": one.message, "detail": one.detail, "sections": [list(section) for section in one.sections]} for one in results]
    # DEL is the one control character that JSON lets stand.
    return [json.dumps(line).replace("\x7f", "\\u007f") for line in [*lines, {"summary": summary}]]


def _check(config: pytest.Config) -> None:
    """Look whether there is a file for each report, before there is anything to write.

    :raises pytest.UsageError: one cannot be written, or two reports want the same
    """
    paths = {option: path.resolve() for option, path in _paths(config.option).items()}
    for option, path in paths.items():
        if path.is_dir():
            raise pytest.UsageError(f"{option} {path} is a directory\n  hint: {_HINT}")
        if same := next((other for other, one in paths.items() if other != option and one == path), None):
            raise pytest.UsageError(f"{option} and {same} are both {path}\n  hint: {_HINT}")


def remove_old(wanted: argparse.Namespace) -> None:
    """Remove the reports of an earlier run where this one's shall be: pytest may end before there is a hook that writes them.

    :param wanted: the command line's options
    """
    for path in _paths(wanted).values():
        # What --baseline names is yet to be read; a device may be a link to a file that is the user's.
        kept = wanted.baseline is not None and path.resolve() == wanted.baseline.resolve()
        if path.is_file() and not kept and path.absolute().parts[1] not in ("dev", "proc"):
            with suppress(OSError):  # a file that can be written may be in a directory that cannot
                path.resolve().unlink()


def _paths(wanted: argparse.Namespace) -> dict[str, Path]:
    """Option → the file that it names."""
    xml = _xml_path(wanted)
    return ({"--junitxml": xml} if xml else {}) | {
        f"--{name.replace('_', '-')}": Path(given) for name in ("ktap", "report_jsonl", "report_html")
        if (given := getattr(wanted, name)) and given != "-"}


def _xml_path(wanted: argparse.Namespace) -> Path | None:
    """Where pytest writes its XML."""
    xml = getattr(wanted, "xmlpath", None)
    return Path(os.path.expanduser(os.path.expandvars(xml))) if xml else None  # noqa: PTH111 - as pytest takes it


def _written(name: str, text: str) -> str:
    """Write a report; why that did not work, empty if it did.

    What a test said may be no text, and a terminal may not show all that is: such characters are written as escapes.
    """
    if name == "-":
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return ""
    path = Path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        return f"{path} was not written: {error.strerror}"
    return ""
