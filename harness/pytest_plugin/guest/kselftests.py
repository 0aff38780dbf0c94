"""A kernel's own selftests as tests: the body of the file that ``nfharness kselftest`` gives to pytest."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.pytest_plugin.guest import programs

__all__ = ("run",)

_SKIP, _XFAIL = 4, 2
#: Seconds that a script itself gives what it waits for: ``timeout 5``, ``connect-timeout=3``, ``SOCAT_TIMEOUT=60``; no kernel's setting.
_LIMITS = re.compile(r"(?:(?<!--)\b|[A-Z]_)(?i:timeout)[= ](\d+)\b")


def run(collection: Path, name: str, _record: object = None, *, slow: bool, limit_s: float | None) -> None:
    """Run a test as kselftest's runner does: in its own directory. 0 is a pass, 4 a skip (``ksft_skip``), 2 an expected failure.

    :param collection: its directory
    :param slow: the guest is emulated: scripts that heed ``KSFT_MACHINE_SLOW`` do less of the same then
    :param limit_s: seconds after which it is ended and has failed
    """
    program = collection / name
    if not program.is_file():
        programs.fail(f"{name} could not be compiled")
    os.chmod(program, 0o755)  # noqa: PTH101, S103 - an archive need not keep modes
    with _tools() as path:
        ended = programs.run([str(program)], collection, {"PATH": path} | ({"KSFT_MACHINE_SLOW": "yes"} if slow else {}), limit_s)
    _judge(ended, limit_s, _own_limits(program) if slow else "")


def _judge(ended: programs.Ended, limit_s: float | None, doubt: str) -> None:
    said = programs.lines(ended.output)
    if ended.status is None:
        programs.fail(f"it did not end within {limit_s:.0f} s (--deadline); its last words: {said[-1]}")
    if ended.status == _SKIP:
        pytest.skip(programs.skip_reason(ended.output))
    if ended.status == _XFAIL:
        pytest.xfail(said[-1])
    if ended.status:
        programs.fail(f"{programs.how(ended.status)}: {programs.telling(ended.output)}{doubt}")


def _own_limits(program: Path) -> str:
    """What is to be known of a script's failure in an emulated guest: the times that it gives others are for a real machine."""
    found = {int(seconds) for seconds in _LIMITS.findall(program.read_text(errors="replace"))} - {0}
    if not found:
        return ""
    shown = ", ".join(map(str, sorted(found)))
    return f"\nIt gives what it waits for {shown} s, which may be too short for this emulated guest; only a host with KVM is faster."


@contextmanager
def _tools() -> Iterator[str]:
    """A PATH on which ``ebtables`` is the one that kernels' scripts mean: the other has no broute's redirect (EINVAL, ebt_redirect.c)."""
    legacy, path = shutil.which("ebtables-legacy"), os.environ.get("PATH", os.defpath)
    if legacy is None:
        yield path
        return
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "ebtables").symlink_to(legacy)
        yield f"{directory}:{path}"
