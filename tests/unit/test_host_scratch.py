"""Temporary directories: what SIGKILL leaves is swept by the next start, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness.host import scratch as room
from harness.host.scratch import scratch

_OWNER = """
import sys
from harness.host.scratch import scratch
with scratch("worker") as path:
    (path / "sub").mkdir()
    (path / "sub" / "stderr").write_text("x")
    print(path, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def _owner() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen([sys.executable, "-c", _OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    path = Path(process.stdout.readline().strip())
    os.utime(path / room._MARK, (0, 0))
    return process, path


def test_what_a_killed_process_left_goes_and_what_a_living_one_has_stays(place: Path) -> None:
    (place / "nfharness-notes").mkdir()
    (killed, left), (alive, used) = _owner(), _owner()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert (left / "sub/stderr").exists()
    with scratch("bench") as own:
        assert sorted(place.iterdir()) == sorted([own, used, place / "nfharness-notes"])
    alive.communicate("")
    assert alive.returncode == 0
    assert list(place.iterdir()) == [place / "nfharness-notes"]


def test_one_that_is_just_being_made_is_left_alone(place: Path) -> None:
    (place / "nfharness-worker-abc").mkdir()
    (place / "nfharness-worker-abc" / room._MARK).touch()
    with scratch("bench"):
        assert (place / "nfharness-worker-abc").exists()
