"""The points of a test that speaks TAP or KTAP as separate results, in every report and in the terminal."""

from __future__ import annotations

import pytest

from harness.pytest_plugin.points import phases_of_points

__all__ = ("Points",)


class Points:
    """Hooks of the process that writes reports: xdist's workers may only report of tests that they collected."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._session: pytest.Session | None = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Remember what counts the tests, by which the terminal says how far the run is."""
        self._session = session

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Report a test's points before the test itself."""
        phases = phases_of_points(report)
        if phases and self._session:
            self._session.testscollected += sum(phase.when == "call" for phase in phases)
            for phase in phases:
                self._config.hook.pytest_runtest_logreport(report=phase)
