"""A kernel's own shell selftests as tests: the body of the file that ``nfharness kselftest`` gives to pytest."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

__all__ = ("run",)

_SKIP, _XFAIL = 4, 2
_OWN_DEADLINE_S = 600


def run(collection: Path, script: str) -> None:
    """Run a script as kselftest's runner does: in its own directory. 0 is a pass, 4 a skip (``ksft_skip``), 2 an expected failure."""
    program = collection / script
    os.chmod(program, 0o755)  # noqa: PTH101, S103 - an archive need not keep modes
    done = subprocess.run([str(program)], cwd=collection, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", check=False, timeout=_OWN_DEADLINE_S)
    print(done.stdout)
    said = [line for line in done.stdout.splitlines() if line.strip()] or ["it said nothing"]
    if done.returncode == _SKIP:
        pytest.skip(next((line for line in said if "SKIP" in line.upper()), said[-1]))
    if done.returncode == _XFAIL:
        pytest.xfail(said[-1])
    if done.returncode:
        telling = next((line for line in said if any(sign in line for sign in ("FAIL", "ERROR", "not found"))), said[-1])
        pytest.fail(f"exit status {done.returncode}: {telling}", pytrace=False)
