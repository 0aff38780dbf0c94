"""Whether a test harmed its kernel: what the kernel said, its taint, and what was left behind. A check that cannot run is a failure."""

from __future__ import annotations

import json
import re
import shutil
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
from _pytest.nodes import Node

from harness.errors import GuestError, Inconclusive
from harness.guest import health
from harness.guest.health import KernelLog, Splat
from harness.guest.inventory import Inventory
from harness.outcome import Outcome, codec
from harness.outcome.types import PacketOutcome
from harness.pytest_plugin.carried import plain
from harness.pytest_plugin.guest.escapes import unshown
from harness.pytest_plugin.guest.limits import more_files
from harness.pytest_plugin.guest.orphans import reap
from harness.pytest_plugin.guest.shell import Shell
from harness.pytest_plugin.guest.standing import Standing, missing, standing
from harness.pytest_plugin.guest.state import State, changed_process, leftovers
from harness.pytest_plugin.mistakes import shortened
from harness.pytest_plugin.points import failed_points
from harness.pytest_plugin.selection import PACKETS, POINTS, PROFILE, SPOILT, UNCLEAR, WALKS, WIDER, WORN, isolation_of
from harness.walks.joined import joined

__all__ = ("SEEN", "SENT", "Watch")

#: Where a test keeps the walks of the packets that it sent.
SENT = pytest.StashKey[list[PacketOutcome]]()
#: With ``--trace-all``: what the tracer saw while the test had a lab, one after the other.
SEEN = pytest.StashKey[list[Outcome]]()

_SECTION_LIMIT, _DISK = 64 << 10, 64 << 20
#: So many walks a failure shows, the last ones.
_WALKS = 50
#: So many packets of a test are kept at most, the last ones.
_PACKETS = 2000
#: What may come of a fixture.
_OUTCOMES = (Exception, pytest.fail.Exception, pytest.skip.Exception)
_QUIET_FIXTURES = ("_pytest.", "harness.pytest_plugin.", "xdist.", "_hypothesis")


@dataclass(slots=True)
class _Expected:
    """What a test says beforehand that the kernel will complain of.

    :ivar harmless: the kernel is as good as before
    """

    pattern: re.Pattern[str]
    harmless: bool
    seen: list[Splat] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Sibling:
    """A test beside another one: it needs all that the other one does but what is the other's alone."""

    other: pytest.Item

    def listchain(self) -> list[Node]:
        """What is set up for both."""
        return self.other.listchain()[:-1]


class Watch:
    """Hooks around each test in a guest.

    :param shell: is offered when a test fails
    """

    def __init__(self, config: pytest.Config, shell: Shell | None = None) -> None:
        self._config = config
        self._shell = shell
        self._offered = self._failed = self._lost = False
        self._wider: list[str] = []
        self._log = KernelLog()
        self._lines: list[str] = []
        self._expected: list[_Expected] = []
        self._spoilt: list[str] = []
        self._worn: list[str] = []
        self._last = ""
        self._taint = health.taint()
        self._inventory = Inventory()
        self._before: State
        # A bare kernel has nothing of ours, and a test that has it to itself may change what it likes.
        self._alone = config.stash[PROFILE] is None and config.getoption("isolation") == "test"
        self._first = self._standing()
        self._needed = self._first
        self._problems: list[str] = []
        self._warned = False

    @contextmanager
    def expecting(self, pattern: str, *, harmless: bool, required: bool = True) -> Iterator[None]:
        """Splats that match are not the test's failure; none at all is, if one is *required*."""
        self._note(self._unexpected(self._read()))
        expected = _Expected(re.compile(pattern), harmless)
        self._expected.insert(0, expected)
        try:
            yield
            self._note(self._unexpected(self._read()))
        finally:
            self._expected.remove(expected)
        if expected.seen and not harmless:
            self._spoilt.append(f"the kernel warned as expected: {expected.seen[0].summary}")
        if required and not expected.seen:
            pytest.fail(f"the kernel did not warn of {pattern!r}", pytrace=False)

    def spoil(self, reason: str) -> None:
        """Give no other test this guest."""
        self._spoilt.append(reason)

    def complain(self, problem: str) -> None:
        """Let the phase that is under way fail over a problem, after which no other test gets this guest."""
        self._note([problem])

    @more_files()
    def _standing(self) -> Standing:
        return frozenset() if self._alone else standing(self._inventory)

    def _read(self) -> list[Splat]:
        lines = self._log.lines()
        self._lines += [line.text for line in lines]
        return list(health.splats(lines))

    def _unexpected(self, splats: list[Splat]) -> list[str]:
        found = []
        for splat in splats:
            said = f"{splat.summary}\n{splat.first_line}"
            expected = next((one for one in self._expected if one.pattern.search(said)), None)
            if expected:
                expected.seen.append(splat)
                self._warned = True
            else:
                told = splat.first_line if splat.summary in splat.first_line else f"{splat.summary}, with {splat.first_line}"
                found.append(f"the kernel warned: {told}")
        return found

    def _note(self, problems: list[str]) -> None:
        self._problems += problems
        self._spoilt += problems

    @more_files()
    def _harm(self) -> list[str]:
        """What the kernel has to complain of since the last call."""
        problems, self._problems = self._problems, []
        found: list[str] = self._unexpected(self._read())
        problems += found
        if self._log.lost:
            problems.append("the kernel's log overran: a warning may be missing")
        now = health.taint()
        gained, self._taint = now & ~self._taint, now
        if gained and not (self._warned and gained == health.WARNED):
            found.append(f"the kernel is tainted: {health.taint_names(gained)}")
            problems += found[-1:] if not self._spoilt else []
        self._spoilt += found
        return problems

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """A test begins with a kernel that complains of nothing."""
        health.warn_again()
        self._spoilt, self._worn, self._wider = [], [], []
        self._warned = self._offered = self._failed = self._lost = False
        self._expected = [_Expected(re.compile(str(mark.args[0])), harmless=True) for mark in item.iter_markers("may_warn")]
        self._problems = [f"{problem} (after {self._last})" for problem in self._unexpected(self._read())]
        self._lines = []
        self._before = State.read(self._inventory)
        self._needed = self._first & self._standing()
        self._last = item.nodeid
        return (yield)

    @contextmanager
    def _not_the_tests(self) -> Iterator[None]:
        """What is made meanwhile is not left behind by the test, and what is taken away is not missed."""
        before, needed = State.read(self._inventory), self._standing()
        yield
        self._before = self._before.changed(before, State.read(self._inventory))
        self._needed -= needed - self._standing()

    @property
    def _may_live_again(self) -> bool:
        """Whether the host may run the test again in another guest, after what was seen of it so far."""
        return self._lost if not self._failed else bool(self._config.getoption("flaky"))

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
        """What a fixture makes that outlives the test is not left behind by the test, and what it takes away is not missed."""
        if fixturedef.scope == "function" or (fixturedef.func.__module__ or "").startswith(_QUIET_FIXTURES):
            return (yield)
        with self._not_the_tests():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Tear down what is the test's, then wider fixtures, which may not be there to fail again, if the test may have another life."""
        if not (self._lost or self._config.getoption("flaky")):
            return (yield)
        errors: list[BaseException] = []
        try:
            item.session._setupstate.teardown_exact(_Sibling(item))  # type: ignore[arg-type] # pytest asks no more of it
        except _OUTCOMES as error:
            errors.append(error)
        try:
            yield
        except _OUTCOMES as error:
            errors.append(error)
            self._wider += [f"the teardown of a wider fixture failed: {said}" for said in _said(error)]
        if errors:
            raise errors[0] if len(errors) == 1 else BaseExceptionGroup("errors while tearing down", errors)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]
                                  ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Each phase answers for what the kernel said during it; the last also for what is left behind, and for what is gone."""
        shortened(call, item.config.rootpath)
        try:
            report = yield
        except BaseException as error:
            report = unshown(item, call, error)
        problems = self._problems_of(item, report)
        self._judge(report, problems)
        walks = item.stash.get(SENT, [])
        if report.outcome == "failed" and walks:
            told = {"left out": max(0, len(walks) - _WALKS), "outcome": codec.to_json(Outcome(packets=tuple(walks[-_WALKS:])))}
            report.user_properties = [*report.user_properties, (WALKS, json.dumps(told))]
            item.stash[SENT] = []
        self._offer_shell(report)
        if report.when == "teardown" and self._wider:
            report.user_properties = [*report.user_properties, (WIDER, "\n".join(self._wider))]
        if report.failed and not problems and call.excinfo is not None and isinstance(call.excinfo.value, Inconclusive):
            self._lost = True
        else:
            self._failed |= report.failed or bool(failed_points(report))
        if report.when == "teardown" and (self._spoilt or self._worn or self._may_live_again):
            self._judge(report, self._torn_down(item, report))
            item.session.shouldstop = "the host has another guest, or session, for what comes next"
            if self._lost and not self._failed:
                report.user_properties = [*report.user_properties, (UNCLEAR, True)]
        if report.when == "teardown" and SEEN in item.stash:
            captures = item.stash[SEEN]
            seen = joined(captures)
            text = json.dumps(codec.to_json(replace(seen, packets=seen.packets[-_PACKETS:])))
            report.user_properties = [*report.user_properties, (PACKETS, text)]
        if report.when == "teardown" and (self._spoilt or self._worn):
            why = (SPOILT, self._spoilt[0]) if self._spoilt else (WORN, self._worn[0])
            report.user_properties = [*report.user_properties, why]
        report.sections = [(title, _shortened(text)) for title, text in report.sections]
        return report

    def _problems_of(self, item: pytest.Item, report: pytest.TestReport) -> list[str]:
        """What the kernel complains of after a phase; after the last one also what is left behind, and what is gone."""
        problems: list[str] = []
        try:
            problems += self._harm()
            if report.when == "teardown":
                reap()
                after = State.read(self._inventory)
                if isolation_of(item) == "test":  # no other runs here
                    before = self._before
                    after = replace(after, process=before.process, host_name=before.host_name, clock=before.clock)
                left = missing(self._needed, self._standing()) + leftovers(self._before, after)
                self._spoilt += left
                self._worn += changed_process(self._before, after)
                problems += left + self._worn
                leaks = [f"memory leaked: {leak}" for leak in health.memory_leaks()]
                self._spoilt += leaks
                problems += leaks
                if shutil.disk_usage("/").free < _DISK:
                    self._spoilt.append("the guest's disk is full")
        except (OSError, GuestError) as error:
            problems.append(f"the kernel's health cannot be told: {error}")
            self._spoilt += problems[-1:]
        return problems

    def _torn_down(self, item: pytest.Item, report: pytest.TestReport) -> list[str]:
        """Tear down the fixtures of wider scopes, which were to serve the next test: the host ends this guest after the report.

        It does so after a test that spoilt the guest, and after one that failed if that may have another life.
        """
        found: list[str] = []
        try:
            item.session._setupstate.teardown_exact(None)
        except BaseException as error:
            report.sections.append(("Teardown of wider fixtures", "".join(traceback.format_exception(error))))
            found += [f"the teardown of a wider fixture failed: {said}" for said in _said(error)]
        try:
            found += self._harm()
        except (OSError, GuestError) as error:
            found.append(f"the kernel's health cannot be told: {error}")
        if found:
            report.user_properties = [*report.user_properties, (WIDER, "\n".join(found))]
        return found

    def _offer_shell(self, report: pytest.TestReport) -> None:
        """Let the host's user look around, once a test, before anything of the test is cleaned up. What is done there is not the test's."""
        points = any(name == POINTS for name, _ in report.user_properties)
        if self._shell is None or self._offered or not (report.failed or (points and report.when == "call")):
            return
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        with self._not_the_tests():
            self._offered = self._shell.offered(plain(data))
        if self._offered:
            self._read()
            self._taint = health.taint()
            self.spoil("a shell was open in it")

    def _judge(self, report: pytest.TestReport, problems: list[str]) -> None:
        if problems:
            if report.outcome != "failed":
                report.outcome = "failed"
                report.longrepr = "\n".join(problems)
                report.__dict__.pop("wasxfail", None)
            elif isinstance(report.longrepr, str):
                report.longrepr += "".join(f"\n{problem}" for problem in problems)
            else:
                report.sections.append(("Kernel", "\n".join(problems)))
        if report.outcome == "failed" and self._lines:
            report.sections = [section for section in report.sections if section[0] != "Kernel log"]
            report.sections.append(("Kernel log", "\n".join(self._lines)))


def _said(error: BaseException) -> Iterator[str]:
    """What failed, a line for each exception of a group."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _said(one)
    else:
        yield traceback.format_exception_only(error)[-1].partition("\n")[0]


def _shortened(text: str) -> str:
    """A text, or its two ends if it is too long to be read."""
    if len(text) <= _SECTION_LIMIT:
        return text
    half = _SECTION_LIMIT // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters left out …]\n{text[-half:]}"

