"""Reports of a run: files for programs and readers, and the exit status. In the process that the user started."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from harness.errors import ExitCode
from harness.pytest_plugin.junit import split_by_kernel
from harness.pytest_plugin.ktap import ktap
from harness.pytest_plugin.page import page
from harness.pytest_plugin.results import Results

__all__ = ("Reports",)


class Reports:
    """Hooks that gather results and write them down at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._results = Results()
        self._start = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather."""
        self._results.add(report)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Write everything; a run in which no test could be run says with its status whose fault that is."""
        result = yield
        self._results.seconds = time.monotonic() - self._start
        kernels = self._results.by_kernel()
        bad = {one.test for one in self._results if not one.good}
        if bad and bad <= self._results.cannot.keys() and session.exitstatus == pytest.ExitCode.TESTS_FAILED:
            worst = max(self._results.cannot.values())
            session.exitstatus = pytest.ExitCode.USAGE_ERROR if worst == ExitCode.USER_ERROR else worst
        option = self._config.option
        if option.ktap:
            _write(option.ktap, "\n".join(ktap(kernels)) + "\n")
        if option.report_jsonl:
            _write(option.report_jsonl, "".join(f"{line}\n" for line in self._lines()))
        if option.report_html:
            _write(option.report_html, page(kernels, self._results.seconds))
        if option.xmlpath and Path(option.xmlpath).exists() and set(kernels) != {"host"}:
            split_by_kernel(Path(os.path.expanduser(os.path.expandvars(option.xmlpath))))  # noqa: PTH111 - as pytest takes it
        return result

    def _lines(self) -> list[str]:
        lines = [{"test": one.test, "kernel": one.kernel, "module": one.module, "outcome": one.outcome, "seconds": round(one.seconds, 3),
                  "message": one.message, "detail": one.detail, "sections": [list(section) for section in one.sections]}
                 for one in self._results]
        outcomes = [one.outcome for one in self._results]
        summary = {"seconds": round(self._results.seconds, 3), "kernels": list(self._results.by_kernel()),
                   "outcomes": {outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)}}
        return [json.dumps(line) for line in [*lines, {"summary": summary}]]


def _write(name: str, text: str) -> None:
    if name == "-":
        sys.stdout.write(text)
        return
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
