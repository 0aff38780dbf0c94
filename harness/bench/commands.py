"""Whole commands, timed as a person or a script starts them: a new Python, its output in a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Container, Mapping
from pathlib import Path

from harness.errors import GuestError
from harness.host import process
from harness.host.deadlines import within

__all__ = ("seconds_of",)


async def seconds_of(module: str, *arguments: str, cwd: Path, deadline_s: float, by_hand: str, environment: Mapping[str, str] | None = None,
                     ends: Container[int] = (0,)) -> float:
    """Seconds that ``python -m MODULE ARGUMENTS`` takes, Python's own start included.

    :param deadline_s: seconds of an idle host
    :param by_hand: the command that shows more if this one fails
    :param environment: variables beside our own
    :param ends: its exit statuses that are no failure
    :raises GuestError: it failed; with the last line that it wrote
    """
    argv = process.bound([sys.executable, "-m", module, *arguments])
    start = time.monotonic()
    running = await process.start(
        argv, cwd=cwd, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        async with within(deadline_s):
            out, err = await running.communicate()
    except BaseException:
        await process.end(running)
        raise
    spent = time.monotonic() - start
    if running.returncode not in ends:
        last = (err.strip() or out).decode(errors="replace").strip().splitlines()[-1:]
        raise GuestError(f"{module} ended with {running.returncode}: {' '.join(last)}", hint=f"run it by hand: {by_hand}")
    return spent
