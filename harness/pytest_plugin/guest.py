"""The guest's half: runs chosen tests with pytest and reports each as a line of JSON."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any, TextIO

import pytest

__all__ = ("IN_GUEST", "run")

#: Set in a guest's environment, so that a conftest file knows where it is.
IN_GUEST = "NFHARNESS_IN_GUEST"
_TREE = Path("/run/nfharness/tests")


class _Reporter:
    """Sends reports to the host as they come."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._config: pytest.Config

    def pytest_configure(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._send({"started": nodeid})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._send({"report": self._config.hook.pytest_report_to_serializable(config=self._config, report=report)})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._send({"uncollected": str(report.longrepr)})

    def _send(self, message: dict[str, Any]) -> None:
        print(json.dumps(message), file=self._stream, flush=True)


def run(nodeids: list[str]) -> int:
    """Unpack the tests from standard input and run *nodeids* in their order; pytest's exit status."""
    _TREE.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read())) as archive:
        archive.extractall(_TREE, filter="data")
    os.environ[IN_GUEST] = "1"
    os.chdir(_TREE)
    reports = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    arguments = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest", "--import-mode=importlib", "-q", *nodeids]
    return int(pytest.main(arguments, plugins=[_Reporter(reports)]))
