"""Child processes that never outlive us."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from harness.host import process


def test_a_loop_is_not_closed_before_it_knows_that_a_child_ended(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    wait = os.waitpid

    def late(pid: int, options: int) -> tuple[int, int]:
        time.sleep(0.3)
        return wait(pid, options)

    monkeypatch.setattr(os, "waitpid", late)

    async def started_and_ended() -> int | None:
        running = await asyncio.create_subprocess_exec(*process.bound(["sleep", "60"]))
        await process.end(running)
        return running.returncode

    assert asyncio.run(started_and_ended()) == -signal.SIGKILL
    time.sleep(0.6)  # asyncio's thread would tell the closed loop then
    assert caplog.messages == []


def test_what_has_ended_is_left_alone() -> None:
    async def ended_before() -> int | None:
        running = await asyncio.create_subprocess_exec("true")
        await running.wait()
        await process.end(running)
        return running.returncode

    assert asyncio.run(ended_before()) == 0
