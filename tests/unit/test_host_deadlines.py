"""Deadlines count the seconds of an idle host: a busy one has more, and a wait says what it had."""

from __future__ import annotations

import ast
import asyncio
import os
import time
from pathlib import Path

import pytest

import harness
from harness.errors import HostError
from harness.host import deadlines, process
from harness.host.deadlines import Deadline, slowness, within
from harness.host.store import locked

ROOT = Path(harness.__file__).parent


class Host:
    """A host that is so busy, each time that it is asked."""

    def __init__(self, *times_slower: float) -> None:
        self.left = list(times_slower)

    def __call__(self) -> float:
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


def waits(seconds: float, awaited_s: float) -> None:
    async def wait() -> None:
        async with within(seconds):
            await asyncio.sleep(awaited_s)

    asyncio.run(wait())


def test_an_idle_host_has_no_more_than_the_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "slowness", Host(1))
    with pytest.raises(TimeoutError, match=r"^within 0 s$"):
        waits(0.01, 60)


def test_a_busy_host_has_as_many_times_the_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "slowness", Host(1000))
    waits(0.01, 0.1)


def test_a_host_that_gets_busier_meanwhile_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    start, asked = time.monotonic(), 0

    def slower() -> float:
        nonlocal asked
        asked += 1
        return 2 * (time.monotonic() - start) / 0.01

    async def wait() -> None:
        async with within(0.01):
            while asked < 3:
                await asyncio.sleep(0.01)

    monkeypatch.setattr(deadlines, "slowness", slower)
    asyncio.run(wait())


def test_every_deadline_passes_and_tells_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "slowness", Host(3))
    with pytest.raises(TimeoutError, match=r"^within 1 s \(2 s, as this host is busy\)$"):
        waits(0.5001, 60)


def test_who_is_in_time_does_not_ask_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "slowness", Host())
    waits(60, 0)
    assert Deadline(60).left() > 0


def test_an_error_in_the_block_is_that_error() -> None:
    async def fails(error: Exception) -> None:
        async with within(60):
            raise error

    with pytest.raises(TimeoutError, match="the archive"):
        asyncio.run(fails(TimeoutError("the archive")))
    with pytest.raises(HostError):
        asyncio.run(fails(HostError("x")))


def test_a_host_is_never_infinitely_slow_nor_faster_than_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= slowness() <= 20
    monkeypatch.setattr(os, "getloadavg", lambda: (1e6, 0.0, 0.0))
    assert slowness() == 20
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setattr(time, "monotonic", iter((0.0, 0.06)).__next__)
    assert slowness() == pytest.approx(4)


def test_a_command_has_more_time_on_a_busy_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(deadlines, "slowness", Host(1000))
    process.run(["sleep", "0.3"], what="sleeping", log=tmp_path / "log", timeout=0.02)
    assert process.captured(["sh", "-c", "echo one; sleep 0.3; echo two"], 0.02).stdout == "one\ntwo\n"
    monkeypatch.setattr(deadlines, "slowness", Host(2))
    with pytest.raises(HostError, match=r"sleeping did not end within 1 s \(2 s, as this host is busy\)"):
        process.run(["sleep", "60"], what="sleeping", log=tmp_path / "log", timeout=0.75)


def test_a_lock_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from filelock import FileLock  # noqa: PLC0415

    monkeypatch.setattr("harness.host.store._LOCK_DEADLINE_S", 0.01)
    monkeypatch.setattr(deadlines, "slowness", Host(2))
    with FileLock(tmp_path / "lock"), pytest.raises(HostError, match="another nfharness has held"), locked(tmp_path / "lock"):
        pass


@pytest.mark.parametrize("room", ["vm", "explore", "conformance", "cli"])
def test_no_wait_of_the_host_is_by_its_clock_alone(room: str) -> None:
    """But for those that are over at once, and what :mod:`harness.host.process` and :mod:`harness.host.deadlines` do themselves."""
    found = []
    for path in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or path.name in ("deadlines.py", "process.py"):
                continue
            called = ast.unparse(node.func)
            bound = {word.arg: ast.unparse(word.value) for word in node.keywords}.get("timeout")
            by_clock = bound not in (None, "0", "deadline.left()") and called != "process.run"
            if called in ("asyncio.timeout", "asyncio.wait_for") or by_clock:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {called}")
    assert not found
