"""Measuring test runs: what a freshly restored kernel for each test costs, and how long many small tests take."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.errors import GuestError
from harness.vm import process

__all__ = ("isolation_test_s", "many_tests_s")

_ISOLATED, _MANY, _WORKERS = 8, 200, 2
_DEADLINE_S = 900
_FILE = """
import pytest

@pytest.mark.kernel
@pytest.mark.parametrize("number", range({count}))
def test_trivial(number):
    assert number >= 0
"""


async def isolation_test_s(spec: str) -> float:
    """Seconds that ``--isolation test`` adds to a test, the rest of the run being the same."""
    shared = await _seconds(spec, _ISOLATED, "--isolation", "worker")
    return max(0.001, (await _seconds(spec, _ISOLATED, "--isolation", "test") - shared) / (_ISOLATED - 1))


async def many_tests_s(spec: str) -> float:
    """Seconds that 200 trivial tests take with two workers, start of pytest included."""
    return await _seconds(spec, _MANY, "-n", str(_WORKERS))


async def _seconds(spec: str, count: int, *options: str) -> float:
    with tempfile.TemporaryDirectory(prefix="nfharness-bench-") as text:
        directory = Path(text)
        (directory / "pytest.ini").write_text("[pytest]\n")
        (directory / "test_trivial.py").write_text(_FILE.format(count=count))
        argv = process.bound([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--kernel", spec, *options])
        start = time.monotonic()
        running = await asyncio.create_subprocess_exec(
            *argv, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            async with asyncio.timeout(_DEADLINE_S):
                said, _ = await running.communicate()
        except BaseException:
            running.kill()
            raise
        if running.returncode:
            last = said.decode(errors="replace").strip().splitlines()[-1:]
            raise GuestError(f"pytest ended with {running.returncode}: {' '.join(last)}", mend="run it by hand: nfharness test")
        return time.monotonic() - start
