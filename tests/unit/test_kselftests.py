"""How a kernel's own scripts are run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.pytest_plugin.kselftests import run

#: A worker in a guest is the subreaper of what it starts (PR_SET_CHILD_SUBREAPER).
_WORKER = """
import ctypes, pathlib, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
from harness.pytest_plugin.kselftests import run
from harness.pytest_plugin.state import children
run(pathlib.Path(sys.argv[1]), "forks.sh", slow=False)
assert not list(children())
"""


@pytest.mark.parametrize(("slow", "said"), [(True, "slow: yes"), (False, "slow: no")])
def test_an_emulated_guest_is_a_slow_machine_to_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str], slow: bool, said: str) -> None:
    (tmp_path / "speed.sh").write_text("#!/bin/sh\necho slow: ${KSFT_MACHINE_SLOW:-no}\n")
    run(tmp_path, "speed.sh", slow=slow)
    assert said in capsys.readouterr().out


def test_what_a_script_leaves_running_is_neither_awaited_nor_left_behind(tmp_path: Path) -> None:
    (tmp_path / "forks.sh").write_text("#!/bin/sh\ntimeout 100000 sleep 100000 &\n")
    subprocess.run([sys.executable, "-c", _WORKER, str(tmp_path)], check=True, timeout=60)
