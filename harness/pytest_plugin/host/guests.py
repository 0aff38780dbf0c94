"""A process's guests, one at a time: which test gets a new one, and what a test's life in it was."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from _pytest._code.code import ReprEntryNative, ReprExceptionInfo, ReprFileLocation, ReprTraceback

from harness.backends.sources import made_ready
from harness.errors import ExitCode, NfharnessError
from harness.host.again import ATTEMPTS
from harness.host.deadlines import Deadline
from harness.host.progress import Progress
from harness.pytest_plugin.carried import plain
from harness.pytest_plugin.host import shell
from harness.pytest_plugin.host.files import archive, built_modules
from harness.pytest_plugin.host.gateway import SHELL, Gateway, Lost
from harness.pytest_plugin.host.machines import GUEST, LastingMachine, Machines, Refused
from harness.pytest_plugin.host.markers import check_markers
from harness.pytest_plugin.host.vagrant import VagrantMachines
from harness.pytest_plugin.live import shower
from harness.pytest_plugin.selection import CANNOT, LOST, SPOILT, WORN, backend_of, isolation_of, kernel_of, packages
from harness.vm.preparation import Saved

__all__ = ("Guests",)

_START_S, _COLLECT_S, _END_S = 60.0, 60.0, 60.0
_AHEAD = 2
#: Warnings that a test's author can do nothing about: of how guests are made, and of BCC.
_NOT_THE_TESTS = ("Module already imported", "This process (pid=", "not a bytes object")


class _NotCollected(Lost):
    """The guest's pytest cannot run a test, of which nothing has run."""


@dataclass(slots=True)
class _Guest:
    """A guest in use.

    :ivar path: the file whose tests its worker has collected; ``None`` if it has no worker now
    :ivar ids: of those tests, in order
    :ivar queued: number of the test that the worker was told of beforehand
    :ivar last: test that it ran last, and whether another has begun since
    """

    kernel: str
    gateway: Gateway
    module: Path
    path: Path | None = None
    ids: list[str] = field(default_factory=list)
    queued: int | None = None
    last: str = ""
    begun: bool = False
    files: bool = False


class Guests:
    """The guests in which a process's kernel tests run.

    :param items: this process's kernel tests
    """

    def __init__(self, config: pytest.Config, items: Sequence[pytest.Item]) -> None:
        self._items = items
        self._config = config
        self._guest: _Guest | None = None
        self._speed: dict[str, float] = {}
        backend = backend_of(config)
        kind: type[Machines] = VagrantMachines if backend == "vagrant" else LastingMachine
        self._machines = None if backend == "qemu" else kind(config)
        self._what = self._machines.what_is_lost if self._machines else GUEST
        self._bare = bool(config.getoption("bare"))
        self._packages = packages(config)
        self._show = shower(config)
        self._tests = b""
        self._modules: dict[str, dict[str, bytes]] = {}
        # Threads that stay: a guest ends with the thread that started it.
        self._starter = ThreadPoolExecutor(_AHEAD)
        self._ahead: deque[tuple[str, Path, Future[_Guest]]] = deque()

    def run(self, item: pytest.Item, nextitem: pytest.Item | None, attempts: int = ATTEMPTS) -> Iterator[pytest.TestReport]:
        """The reports of a test's phases, once it has ended. A guest that this host takes away before that costs an attempt."""
        kernel = kernel_of(item)
        assert kernel is not None  # noqa: S101
        phases: list[pytest.TestReport] = []
        start = time.time()
        try:
            check_markers(item)
            self._admit(item)
            self._make_ready(kernel)
            guest = self._fitting(item, kernel)
            for report in self._life(guest, item, nextitem):
                phases.append(report)
                if report.when == "teardown":
                    yield from phases
        except Lost as lost:
            ended = any(report.when == "teardown" for report in phases)
            if self._guest and self._guest.last and not self._guest.begun:
                lost.reason += f" (before this test had begun, after {self._guest.last})"
            self._spoil(kernel, item, "" if isinstance(lost, _NotCollected) else lost.reason)
            self._end()
            if lost.taken:
                if not ended:
                    yield from self._again(item, nextitem, lost, start, attempts - 1)
                return
            yield from [] if ended else phases
            yield _lost(item, lost, start, self._what, "teardown" if any(report.when == "call" for report in phases) else "call")
            yield from _rest(item, phases)
        except NfharnessError as error:
            self._end_after(error)
            yield _cannot(item, error, start)
            yield from _rest(item, phases)
        else:
            spoilt = next((str(why) for report in phases for name, why in report.user_properties if name == SPOILT), "")
            self._spoil(kernel, item, spoilt)
            worn = any(name == WORN for report in phases for name, _ in report.user_properties)
            if spoilt or worn or isolation_of(item) == "test":
                self._end()

    def _again(self, item: pytest.Item, nextitem: pytest.Item | None, lost: Lost, start: float,
               attempts: int) -> Iterator[pytest.TestReport]:
        """What becomes of a test that was not its guest's undoing.

        :param attempts: that are left
        """
        if attempts:
            self.note(f"{item.nodeid}: {lost.reason}; trying again")
            yield from self.run(item, nextitem, attempts)
        else:
            lost.reason += f" ({ATTEMPTS} times, and so with {ATTEMPTS} guests)"
            yield _lost(item, lost, start, self._what, "setup")
            yield from _rest(item, ())

    def _admit(self, item: pytest.Item) -> None:
        """Look whether the machine, if tests have one, may run the test.

        :raises Refused: it may not
        """
        if self._machines:
            self._machines.admit(isolation_of(item))

    def _end_after(self, error: NfharnessError) -> None:
        """End the guest at hand over an error, unless that has left it as it was."""
        if not isinstance(error, Refused) or (self._guest and self._guest.queued is not None):
            self._end()

    def _make_ready(self, kernel: str) -> None:
        """Build what is not there, and find out how much slower guests of *kernel* are than with KVM."""
        if kernel not in self._speed or kernel not in self._modules:
            capture = self._config.pluginmanager.getplugin("capturemanager")
            with capture.global_and_fixture_disabled():
                if self._machines:
                    self._speed[kernel] = self._machines.found(kernel)
                else:
                    kind: Saved = "bare" if self._bare else "template"
                    _, template = asyncio.run(made_ready(kernel, Progress(), kind, with_packages=self._packages))
                    self._speed[kernel] = template.slowness
                self._modules[kernel] = built_modules(self._config.getini("kernel_modules"), kernel)

    def _fitting(self, item: pytest.Item, kernel: str) -> _Guest:
        """The guest at hand if it may run the test, a new one otherwise; with a worker for the test's file."""
        guest = self._guest
        if guest and not (guest.kernel == kernel and _may_share(item, guest.module)):
            self._end()
            guest = None
        if guest is None:
            guest = self._guest = self._started_ahead(item, kernel) or self._start(item, kernel)
        if guest.path != item.path:
            self._open(guest, item)
        return guest

    def _start(self, item: pytest.Item, kernel: str) -> _Guest:
        with self._machines.fit(kernel, fresh=isolation_of(item) != "worker") if self._machines else nullcontext():
            gateway = Gateway(kernel, backend_of(self._config), bare=self._bare, with_packages=self._packages, show=self._show)
            guest = _Guest(kernel, gateway, item.path)
        try:
            self._open(guest, item)
        except BaseException:
            guest.gateway.close()
            raise
        return guest

    def _start_ahead(self, item: pytest.Item) -> None:
        """Start the guest that the next test will need while this one's is busy; the one after that, too, where a processor is idle."""
        kernel = kernel_of(item)
        if kernel not in self._speed or self._machines:
            return
        rest = self._items[self._items.index(item):]
        number = sum((kernel_of(one), one.path, isolation_of(one)) == (kernel, item.path, "test") for one in rest)
        while len(self._ahead) < max(1, min(number, _spare_processors())):
            self._ahead.append((kernel, item.path, self._starter.submit(self._start, item, kernel)))

    def _started_ahead(self, item: pytest.Item, kernel: str) -> _Guest | None:
        while self._ahead:
            ahead, path, started = self._ahead.popleft()
            if (ahead, path) == (kernel, item.path):
                return started.result()
            self._starter.submit(_discard, started)
        return None

    def _open(self, guest: _Guest, item: pytest.Item) -> None:
        """Start a worker for the test's file."""
        config, speed = self._config, self._speed[guest.kernel]
        self._tests = self._tests or archive(config, {test.path for test in self._items})
        options = {name: value for name, value in vars(config.option).items() if _travels(value)}
        order = {"tests": b"" if guest.files else self._tests, "options": options,
                 "modules": {} if guest.files else self._modules.get(guest.kernel, {})}
        worker = {"workerid": "guest", "workercount": 1, "testrunuid": uuid.uuid4().hex, "mainargv": ["pytest"]}
        guest.gateway.open(order, (worker, self._arguments(item, guest.kernel), {}, None), shell=config.getoption("shell_on_failure"))
        guest.files, guest.path, guest.queued = True, item.path, None
        deadline = Deadline(_COLLECT_S * speed)
        failures = []
        while event := guest.gateway.event(deadline, f"collecting {item.path.name}"):
            name, arguments = event
            if name == "collectreport":
                report = config.hook.pytest_report_from_serializable(config=config, data=arguments["data"])
                failures.append(str(report.longrepr))
            elif name == "collectionfinish":
                guest.ids = list(arguments["ids"])
                if item.nodeid not in guest.ids:
                    raise _NotCollected("it was not collected in the guest", None, "\n".join(failures))
                return
            self._general(name, arguments)
        raise _NotCollected("pytest ended in the guest before it had collected", None, "\n".join(failures))

    def _arguments(self, item: pytest.Item, kernel: str) -> list[str]:
        config = self._config
        path = item.path.relative_to(config.rootpath)
        ini = ["-c", str(config.inipath.relative_to(config.rootpath))] if config.inipath else []
        overrides = [part for text in (config.getoption("override_ini") or ()) for part in ("-o", text)]
        return ["--disable-plugin-autoload", "-p", "no:terminal", "--rootdir", ".", *ini, "-o", "addopts=", "-o", "required_plugins=",
                "-o", "cache_dir=/run/nfharness/pytest-cache", *overrides, f"--import-mode={config.getoption('importmode')}",
                f"--capture={config.getoption('capture')}",
                *(part for what in _NOT_THE_TESTS for part in ("-W", f"ignore:{what}")), "--kernel", kernel, str(path)]

    def _life(self, guest: _Guest, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[pytest.TestReport]:
        """Tell the worker of the test, and of the next one, without which xdist's worker does not begin."""
        number, speed = guest.ids.index(item.nodeid), self._speed[guest.kernel]
        if guest.queued != number:
            guest.gateway.send("runtests", indices=[number])
        guest.queued = None
        if nextitem is not None and kernel_of(nextitem) == guest.kernel and nextitem.path == item.path and nextitem.nodeid in guest.ids \
                and isolation_of(item) != "test" and _may_share(nextitem, guest.module):
            guest.queued = guest.ids.index(nextitem.nodeid)
            guest.gateway.send("runtests", indices=[guest.queued])
        else:
            guest.gateway.send("shutdown")
            if nextitem is not None and not (kernel_of(nextitem) == guest.kernel and isolation_of(item) != "test"
                                             and _may_share(nextitem, guest.module)):
                self._start_ahead(nextitem)
        guest.begun = False
        yield from self._reports(guest, item, number, Deadline(_deadline_of(item) * speed))
        guest.last, guest.begun = item.nodeid, False
        if guest.queued is None:
            deadline = Deadline(_END_S * speed)
            while event := guest.gateway.event(deadline, f"the end of {item.path.name}"):
                self._general(*event)
            guest.path = None

    def _reports(self, guest: _Guest, item: pytest.Item, number: int, deadline: Deadline) -> Iterator[pytest.TestReport]:
        while event := guest.gateway.event(deadline, item.nodeid):
            name, arguments = event
            if name == "testreport":
                data = {key: value for key, value in arguments["data"].items() if key not in ("item_index", "worker_id", "testrun_uid")}
                yield self._config.hook.pytest_report_from_serializable(config=self._config, data=data)
            elif name == "runtest_protocol_complete" and arguments["item_index"] == number:
                return
            elif name == "logstart":
                guest.begun = True
            elif name == SHELL:
                try:
                    shell.opened(self._config, guest.gateway, arguments["said"], guest.kernel)
                except Lost as lost:
                    lost.reason += " (while its shell was open)"
                    yield shell.report_of(self._config, arguments["said"])
                    raise
                deadline = Deadline(_deadline_of(item) * self._speed[guest.kernel])
            else:
                self._general(name, arguments)
        raise Lost("pytest ended in the guest before the test did", None, "")

    def _general(self, name: str, arguments: dict[str, Any]) -> None:
        """Take an event of pytest's in the guest that is not about a test.

        :raises Lost: pytest broke in the guest
        """
        if name == "internal_error":
            raise Lost("pytest broke in the guest", None, arguments["formatted_error"])
        if name == "warning_recorded":
            data = arguments["warning_message_data"]
            warnings.warn_explicit(data["message_str"], UserWarning, data["filename"] or "guest", data["lineno"] or 1)

    def _spoil(self, kernel: str, item: pytest.Item, why: str) -> None:
        """A guest of ours is thrown away; a machine is not fit for another test as it is.

        :param why: empty if the test spoilt nothing
        """
        if self._machines and why:
            self._machines.spoil(kernel, f"{why} ({item.nodeid})")

    def _end(self) -> None:
        """End the guest at hand."""
        if self._guest:
            self._guest.gateway.close()
            self._guest = None

    def note(self, line: str) -> None:
        """Tell the user at once."""
        with self._config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            Progress().note(line)

    def renew(self) -> None:
        """Give the test that comes next a guest that no test has used."""
        self._end()

    def close(self) -> None:
        """End all guests."""
        self._end()
        while self._ahead:
            _discard(self._ahead.popleft()[2])
        self._starter.shutdown()


def _spare_processors() -> int:
    """How many guests each of pytest's workers may start ahead at once, by the processors of this host."""
    return min(_AHEAD, len(os.sched_getaffinity(0)) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def _discard(started: Future[_Guest]) -> None:
    with suppress(Lost, NfharnessError):
        started.result().gateway.close()


def _may_share(item: pytest.Item, module: Path) -> bool:
    """Whether a test may run where tests of *module* have."""
    level = isolation_of(item)
    return level == "worker" or (level == "module" and item.path == module)


def _deadline_of(item: pytest.Item) -> float:
    mark = item.get_closest_marker("deadline")
    return float(mark.args[0] if mark else item.config.getoption("deadline"))


def _travels(value: object) -> bool:
    return type(value) in (type(None), bool, int, float, str, list, tuple) and plain(value) == value


def _rest(item: pytest.Item, phases: Sequence[pytest.TestReport]) -> Iterator[pytest.TestReport]:
    """The end that a test did not come to: without it, JUnit's file lacks the test's properties."""
    if not any(report.when == "teardown" for report in phases):
        yield pytest.TestReport(item.nodeid, item.location, {}, "passed", None, "teardown")


def _lost(item: pytest.Item, lost: Lost, start: float, what: str, when: Literal["setup", "call", "teardown"]) -> pytest.TestReport:
    """What tells most, the console if there is one, is part of the text: every report has that, and it is told once.

    The text has a headline for pytest's short summary, which in CI has all of a text that has none.

    :param what: the guest, or what it is called
    """
    where = f"\n  hint: {lost.see}" if lost.see else ""
    sections = [("Guest's standard error", lost.said)] if lost.console and lost.said.strip() else []
    reason = lost.reason if lost.taken else f"{what} was lost: {lost.reason}"
    text = ReprTraceback([ReprEntryNative([f"{reason}\n{lost.console or lost.said}{where}\n"])], None, "native")
    told = ReprExceptionInfo(text, ReprFileLocation(item.location[0], item.location[1] or 0, reason))
    return pytest.TestReport(item.nodeid, item.location, {}, "failed", told, when, sections, time.time() - start, start, time.time(),
                             [(CANNOT, str(int(ExitCode.CANNOT))) if lost.taken else (LOST, lost.reason)])


def _cannot(item: pytest.Item, error: NfharnessError, start: float) -> pytest.TestReport:
    hint = f"\n  hint: {error.hint}" if error.hint else ""
    return pytest.TestReport(item.nodeid, item.location, {}, "failed", f"{error.message}{hint}", "setup", (),
                             time.time() - start, start, time.time(), [(CANNOT, str(int(error.exit_code)))])
