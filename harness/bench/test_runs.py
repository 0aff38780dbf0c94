"""Measuring test runs: what a freshly restored kernel for each test costs, and how long many small tests take."""

from __future__ import annotations

from harness.bench.commands import seconds_of
from harness.host.scratch import scratch
from harness.images.kernel_tree import from_anywhere

__all__ = ("isolation_test_s", "many_tests_s")

_WORKERS = 2
_DEADLINE_S = 900
_FILE = """
import pytest

@pytest.mark.kernel
@pytest.mark.parametrize("number", range({count}))
def test_trivial(number):
    assert number >= 0
"""


async def isolation_test_s(spec: str, count: int) -> float:
    """Seconds that ``--isolation test`` adds to a test, the rest of the run being the same.

    :param count: tests of a run, two or more
    """
    shared = await _seconds(spec, count, "--isolation", "worker")
    return max(0.001, (await _seconds(spec, count, "--isolation", "test") - shared) / (count - 1))


async def many_tests_s(spec: str, count: int) -> float:
    """Seconds that *count* trivial tests take with two workers, start of pytest included."""
    return await _seconds(spec, count, "-n", str(_WORKERS))


async def _seconds(spec: str, count: int, *options: str) -> float:
    with scratch("bench") as directory:
        (directory / "pytest.ini").write_text("[pytest]\n")
        (directory / "test_trivial.py").write_text(_FILE.format(count=count))
        return await seconds_of("pytest", "-q", "-p", "no:cacheprovider", "--kernel", from_anywhere(spec), *options, cwd=directory,
                                deadline_s=_DEADLINE_S, by_hand="nfharness test")
