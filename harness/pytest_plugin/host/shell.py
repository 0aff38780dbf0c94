"""``--shell-on-failure``: pytest's terminal becomes one in the guest in which a test has just failed, until the shell there ends."""

from __future__ import annotations

import copy
import os
import select
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from harness.host.keyboard import raw_terminal
from harness.pytest_plugin.host.gateway import SHELL, Gateway
from harness.pytest_plugin.host.walks import show_walks
from harness.pytest_plugin.points import phases_of_points

__all__ = ("check_terminal", "opened", "report_of")


def check_terminal(config: pytest.Config) -> None:
    """Look whether a shell would have a terminal.

    :raises pytest.UsageError: tests are distributed to workers, or standard input or output is no terminal
    """
    if getattr(config.option, "dist", "no") != "no":
        raise pytest.UsageError("--shell-on-failure: workers of pytest-xdist have no terminal\n"
                                "  hint: leave --dist and --tx away, and -n, or say -n 0")
    with _uncaptured(config):
        is_terminal = os.isatty(0) and os.isatty(1)
    if not is_terminal:
        raise pytest.UsageError("--shell-on-failure: standard input and output are not a terminal\n"
                                "  hint: start pytest by hand, with neither of them redirected")


def report_of(config: pytest.Config, data: dict[str, Any]) -> pytest.TestReport:
    """The report that a guest has offered a shell for."""
    report = config.hook.pytest_report_from_serializable(config=config, data=copy.deepcopy(data))
    assert isinstance(report, pytest.TestReport)  # noqa: S101
    return report


def opened(config: pytest.Config, gateway: Gateway, data: dict[str, Any], kernel: str) -> None:
    """Show what failed, and connect the terminal to a shell in the guest until that ends. No shell for what is forgiven.

    :param data: the report that the guest offers a shell for
    :raises Lost: the guest did not outlive it
    """
    failed = [report for report in (report_of(config, data), *phases_of_points(report_of(config, data)))
              if report.failed and not _forgiven(config, report, kernel)]
    if not failed:
        gateway.shell.send(None)
        return
    with _uncaptured(config):
        _tell(config, report_of(config, data), failed)
        size = os.get_terminal_size()
        gateway.shell.send((size.lines, size.columns, os.environ.get("TERM", "linux")))
        with raw_terminal(), _signals(gateway), _keys(gateway):
            while (event := gateway.event(None, "the shell's end")) and event[0] == SHELL and event[1]["said"]:
                _write(event[1]["said"])
        gateway.shell.send(None)


def _forgiven(config: pytest.Config, report: pytest.TestReport, kernel: str) -> bool:
    known = config.pluginmanager.getplugin("nfharness-known")
    return bool(known and known.why(report, kernel))


def _tell(config: pytest.Config, report: pytest.TestReport, failed: Sequence[pytest.TestReport]) -> None:
    """Show the failure as the end of the run does, and what the terminal is now."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None:
        return
    show_walks(report)
    reporter.ensure_newline()
    reporter.write_sep("_", f"{report.nodeid} ({report.when})")
    for one in failed:
        one.toterminal(reporter._tw)  # as pytest's own debugger does
    for title, text in report.sections:
        reporter.write_sep("-", title)
        reporter.write_line(text.rstrip("\n"))
    reporter.write_line("nfharness: a shell in this test's guest; Ctrl-D or 'exit' ends it, and the run goes on", bold=True)


@contextmanager
def _uncaptured(config: pytest.Config) -> Iterator[None]:
    """While standard input is there, which pytest keeps from tests. Output is only taken while a test runs here, and is not now."""
    capture = config.pluginmanager.getplugin("capturemanager")
    capture.suspend(in_=True)
    try:
        yield
    finally:
        capture.resume()  # puts back all three
        capture.suspend()


@contextmanager
def _signals(gateway: Gateway) -> Iterator[None]:
    """Pass on the terminal's size when it changes. SIGTERM ends the run as Ctrl-C does elsewhere: Python would leave the terminal raw."""
    def resized(_number: int, _frame: FrameType | None) -> None:
        size = os.get_terminal_size()
        gateway.shell.send((size.lines, size.columns))

    before = {number: signal.signal(number, handler)
              for number, handler in ((signal.SIGWINCH, resized), (signal.SIGTERM, signal.default_int_handler))}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _keys(gateway: Gateway) -> Iterator[None]:
    """Pass on the keys that are typed, and none any more when the block has ended: the next ones are for others."""
    ended, end = os.pipe()

    def read() -> None:
        while ended not in select.select([0, ended], [], [])[0]:
            try:
                keys = os.read(0, 1 << 12)
            except OSError:  # EIO: the terminal is closed
                keys = b""
            try:
                gateway.shell.send(keys or b"\x04")
            except OSError:  # the guest is gone
                return
            if not keys:
                return

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    try:
        yield
    finally:
        os.write(end, b"-")
        reading.join()
        os.close(ended)
        os.close(end)


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view):]
