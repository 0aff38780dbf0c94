"""A guest has room for 256 processes of tests: those that have ended, and whose parents have, take none of it."""

from __future__ import annotations

import subprocess

import pytest

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("time", range(4))
def test_tests_after_many_orphans(time: int) -> None:
    done = subprocess.run(["sh", "-c", "for i in $(seq 150); do (true &); done"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), time
