"""``--coverage`` in the guest: what gcov counted in each test, and before the first one."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator

import pytest

from harness.errors import GuestError
from harness.guest import gcov
from harness.pytest_plugin.selection import COUNTERS

__all__ = ("Counting",)


class Counting:
    """Hooks around each test in a guest whose kernel gcov counts."""

    def __init__(self) -> None:
        self._before: str | None = None
        self._counts = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """A test begins with counters of 0; those of before the first one are kept."""
        self._counts = False
        try:
            self._before = self._before or _counters()
            gcov.reset()
        except GuestError as error:
            pytest.fail(f"--coverage: {error.message}\n  hint: {error.hint}", pytrace=False)
        self._counts = True

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Once its fixtures are gone, the test's counters travel with its last report."""
        counters = _counters() if call.when == "teardown" and self._counts else ""
        report = yield
        if counters:
            report.user_properties = [*report.user_properties, (COUNTERS, json.dumps({"before": self._before, "test": counters}))]
        return report


def _counters() -> str:
    return base64.b64encode(gcov.packed()).decode()
