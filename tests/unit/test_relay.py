"""A guest process that does not heed our signals is given up, and its guest can still be asked why."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from harness.cli import relay
from harness.cli.signals import Interrupted
from harness.vm.channel import Remote


class _Deaf:
    """A guest process that says nothing and does not end."""

    def __init__(self) -> None:
        self.got: list[int] = []

    async def read(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def signal(self, number: int) -> None:
        self.got.append(number)

    async def write(self, data: bytes) -> None:
        pass

    async def end_input(self) -> None:
        pass


def test_the_third_signal_interrupts_and_leaves_other_tasks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "make_deaf", lambda: None)
    remote = _Deaf()

    async def impatient() -> tuple[Any, int, bool]:
        loop = asyncio.get_running_loop()
        beside = asyncio.create_task(asyncio.sleep(60))
        for number in range(3):
            loop.call_later(0.05 * (number + 1), os.kill, os.getpid(), signal.SIGUSR1)
        with pytest.raises(Interrupted) as raised:
            await relay.relay(cast(Remote, remote), signals=[signal.SIGUSR1])
        await asyncio.sleep(0)
        task = asyncio.current_task()
        return raised.value.number, task.cancelling() if task else -1, beside.cancelled()

    assert asyncio.run(impatient()) == (signal.SIGUSR1, 0, False)
    assert remote.got == [signal.SIGUSR1] * 2


#: A command ends while the thread that reads standard input waits for room.
_ENDS = """
import asyncio, threading
from harness.cli.relay import _feed
from tests.unit.test_relay import _Deaf

class Slow(_Deaf):
    async def write(self, data):
        await asyncio.get_running_loop().create_future()

async def command():
    feeding = asyncio.create_task(_feed(Slow()))
    while len(asyncio.all_tasks()) < 3:  # this one, the one that feeds, and the piece that has no room
        await asyncio.sleep(0.001)

asyncio.run(command())
for thread in threading.enumerate():
    if thread.daemon:
        thread.join()
"""


def test_input_that_is_left_when_the_command_ends_is_not_told_of() -> None:
    with Path("/dev/zero").open("rb") as endless:
        done = subprocess.run([sys.executable, "-c", _ENDS], stdin=endless, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
