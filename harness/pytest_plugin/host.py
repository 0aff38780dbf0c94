"""The host's half: tests of a directory called ``kernel`` run in guests, once for each ``--kernel``; the rest run here."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import KernelDied, NfharnessError
from harness.pytest_plugin.guest import IN_GUEST
from harness.vm.channel import Remote, Request
from harness.vm.kernels import DEFAULT
from harness.vm.progress import Progress
from harness.vm.session import session

__all__ = ("GuestRuns",)

_SILENCE_DEADLINE_S = 120


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--kernel``."""
    if not os.environ.get(IN_GUEST):
        what = f"kernel to run kernel tests on [{DEFAULT}]; repeatable"
        parser.addoption("--kernel", action="append", default=[], metavar="SPEC", help=what)


def pytest_configure(config: pytest.Config) -> None:
    """Register the part that runs tests in guests, on the host."""
    if not os.environ.get(IN_GUEST):
        config.pluginmanager.register(GuestRuns(config), "nfharness-guests")


class GuestRuns:
    """Runs the chosen tests of one file on one kernel in one guest; a test that kills the guest costs only itself."""

    def __init__(self, config: pytest.Config) -> None:
        self._kernels: list[str] = config.getoption("--kernel") or [DEFAULT]
        self._config = config
        self._waiting: dict[tuple[str, Path], list[pytest.Function]] = defaultdict(list)
        self._runner = asyncio.Runner()
        self._running: tuple[tuple[str, Path], Generator[tuple[str, list[pytest.TestReport]], None, None]] | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Each kernel test once for each kernel."""
        if metafunc.definition.path.parent.name == "kernel":
            metafunc.fixturenames.append("nfharness_kernel")
            metafunc.parametrize("nfharness_kernel", self._kernels)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Group by kernel and file, in the order they came."""
        for item in items:
            if key := _key(item):
                assert isinstance(item, pytest.Function)  # noqa: S101
                self._waiting[key].append(item)
        order = {key: number for number, key in enumerate(sorted(self._waiting, key=lambda key: self._kernels.index(key[0])))}
        items.sort(key=lambda item: order.get(_key(item), -1) if _key(item) else -1)  # type: ignore[arg-type]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Run a kernel test's whole life in a guest and report it as if it had run here."""
        key = _key(item)
        if key is None:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._reports(key, item):
            report.nodeid, report.location = item.nodeid, item.location
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _reports(self, key: tuple[str, Path], item: pytest.Item) -> list[pytest.TestReport]:
        if self._running is None or self._running[0] != key:
            self._running = key, self._run(key)
        waiting = self._waiting[key]
        while waiting and waiting[0] is not item:
            waiting.pop(0)
        _, reports = next(self._running[1])
        waiting.remove(item)  # type: ignore[arg-type]
        return reports

    def _run(self, key: tuple[str, Path]) -> Generator[tuple[str, list[pytest.TestReport]], None, None]:
        """Each waiting test's reports in turn; a new guest where one died."""
        while items := list(self._waiting[key]):
            guest = _GuestRun(self._config, key[0], items)
            try:
                while result := self._runner.run(guest.next_result()):
                    yield result
            finally:
                self._runner.run(guest.close())

    def pytest_unconfigure(self) -> None:
        """Leave nothing behind."""
        if self._running:
            self._running[1].close()
        self._runner.close()


class _GuestRun:
    """One guest that works through some tests of one file."""

    def __init__(self, config: pytest.Config, kernel: str, items: list[pytest.Function]) -> None:
        self._config, self._kernel, self._items = config, kernel, list(items)
        self._context: Any = None
        self._remote: Remote
        self._buffer = b""
        self._noise = b""
        self._over = False

    async def next_result(self) -> tuple[str, list[pytest.TestReport]] | None:
        """The next test's reports, or ``None`` when there are no more from this guest."""
        if self._over or not self._items:
            return None
        item = self._items[0]
        reports: list[pytest.TestReport] = []
        try:
            if self._context is None:
                await self._open()
            async with asyncio.timeout(_SILENCE_DEADLINE_S):
                while not any(report.when == "teardown" for report in reports):
                    message = await self._message()
                    if "report" in message:
                        reports.append(self._config.hook.pytest_report_from_serializable(config=self._config, data=message["report"]))
                    elif "uncollected" in message:
                        raise NfharnessError(message["uncollected"])
        except (NfharnessError, TimeoutError) as error:
            self._over = True
            reports.append(self._crash(item, error))
        self._items.pop(0)
        return item.nodeid, reports

    async def _open(self) -> None:
        self._context = session(self._kernel, Progress(quiet=not os.environ.get("CI")))
        opened = await self._context.__aenter__()
        request = Request(python="harness.pytest_plugin.guest:run", args=[[_guest_nodeid(item) for item in self._items]])
        self._remote = await opened.guest.open(request)
        await self._remote.write(_archive(Path(self._config.rootpath) / "tests"))
        await self._remote.end_input()

    async def _message(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            piece = await self._remote.read()
            if piece is None:
                status = await self._remote.wait()
                raise NfharnessError(f"pytest ended in the guest with status {status}:\n{self._noise.decode(errors='replace')}")
            if piece[0] == 1:
                self._buffer += piece[1]
            else:
                self._noise = (self._noise + piece[1])[-8192:]
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def _crash(self, item: pytest.Function, error: Exception) -> pytest.TestReport:
        text = f"no report from the guest within {_SILENCE_DEADLINE_S} s" if isinstance(error, TimeoutError) else str(error)
        if isinstance(error, KernelDied):
            text += f"\n{error.console_tail}"
        return pytest.TestReport(item.nodeid, item.location, {}, "failed", text, "call")

    async def close(self) -> None:
        """End the guest."""
        if self._context is not None:
            await self._context.__aexit__(None, None, None)
            self._context = None


def _key(item: pytest.Item) -> tuple[str, Path] | None:
    if isinstance(item, pytest.Function) and hasattr(item, "callspec") and "nfharness_kernel" in item.callspec.params:
        return str(item.callspec.params["nfharness_kernel"]), item.path
    return None


def _guest_nodeid(item: pytest.Function) -> str:
    """The test's id in the guest: the kernel is no parameter there."""
    kernel = item.callspec.params["nfharness_kernel"]
    file, _, name = item.nodeid.partition("::")
    identity = item.callspec.id
    rest = "" if identity == kernel else identity.removeprefix(f"{kernel}-").removesuffix(f"-{kernel}")
    return f"{Path(file).relative_to('tests')}::{name.partition('[')[0]}" + (f"[{rest}]" if rest else "")


def _archive(tests: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted((tests / "kernel").rglob("*.py")):
            archive.add(path, path.relative_to(tests))
    return buffer.getvalue()
