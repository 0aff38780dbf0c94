"""A kernel's own shell selftests as tests: the body of the file that ``nfharness kselftest`` gives to pytest."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from harness.pytest_plugin.state import children

__all__ = ("run",)

_SKIP, _XFAIL = 4, 2
_OWN_DEADLINE_S = 600


def run(collection: Path, script: str, *, slow: bool) -> None:
    """Run a script as kselftest's runner does: in its own directory. 0 is a pass, 4 a skip (``ksft_skip``), 2 an expected failure.

    :param slow: the guest is emulated: scripts that heed ``KSFT_MACHINE_SLOW`` do less of the same then
    """
    program = collection / script
    os.chmod(program, 0o755)  # noqa: PTH101, S103 - an archive need not keep modes
    environment = {**os.environ, "KSFT_MACHINE_SLOW": "yes"} if slow else None
    before = set(children())
    # Not a pipe, whose end would only come with that of whatever a script leaves running.
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        try:
            done = subprocess.run([str(program)], cwd=collection, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                  env=environment, check=False, timeout=_OWN_DEADLINE_S)
        finally:
            _end(before)
            output.seek(0)
            text = output.read()
            print(text)
    said = [line for line in text.splitlines() if line.strip()] or ["it said nothing"]
    if done.returncode == _SKIP:
        pytest.skip(next((line for line in said if "SKIP" in line.upper()), said[-1]))
    if done.returncode == _XFAIL:
        pytest.xfail(said[-1])
    if done.returncode:
        telling = next((line for line in said if any(sign in line for sign in ("FAIL", "ERROR", "not found"))), said[-1])
        pytest.fail(f"exit status {done.returncode}: {telling}", pytrace=False)


def _end(before: set[tuple[int, str]]) -> None:
    """End what a script left in the background, and what is orphaned by that."""
    while left := set(children()) - before:
        for pid, _ in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
