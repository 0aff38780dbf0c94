"""A kernel's own selftests as tests: the body of the file that ``nfharness kselftest`` gives to pytest."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness.pytest_plugin.guest.state import children

__all__ = ("run",)

_SKIP, _XFAIL = 4, 2
#: Lines that say what went wrong, the more telling first.
_TELLING = (re.compile(r"FAIL|ERROR|\bnot ok\b"), re.compile(r"not found|No such file"))
#: Seconds that a script itself gives what it waits for: ``timeout 5``, ``connect-timeout=3``, ``SOCAT_TIMEOUT=60``; no kernel's setting.
_LIMITS = re.compile(r"(?:(?<!--)\b|[A-Z]_)(?i:timeout)[= ](\d+)\b")


def run(collection: Path, name: str, *, slow: bool, limit_s: float | None) -> None:
    """Run a test as kselftest's runner does: in its own directory. 0 is a pass, 4 a skip (``ksft_skip``), 2 an expected failure.

    :param slow: the guest is emulated: scripts that heed ``KSFT_MACHINE_SLOW`` do less of the same then
    :param limit_s: seconds after which it is ended and has failed
    """
    program = collection / name
    if not program.is_file():
        pytest.fail(f"{name} could not be compiled", pytrace=False)
    os.chmod(program, 0o755)  # noqa: PTH101, S103 - an archive need not keep modes
    before = set(children())
    # Not a pipe, whose end would only come with that of whatever a script leaves running.
    with tempfile.TemporaryFile("w+", errors="replace") as output, _tools() as path:
        environment = {**os.environ, "PATH": path} | ({"KSFT_MACHINE_SLOW": "yes"} if slow else {})
        try:
            status = subprocess.run([str(program)], cwd=collection, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                    env=environment, check=False, timeout=limit_s).returncode
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(before)
            output.seek(0)
            text = output.read()
            print(text)
    _judge(status, text, limit_s, _own_limits(program) if slow else "")


def _judge(status: int | None, output: str, limit_s: float | None, doubt: str) -> None:
    said = [line for line in output.splitlines() if line.strip()] or ["it said nothing"]
    if status is None:
        pytest.fail(f"it did not end within {limit_s:.0f} s (--deadline); its last words: {said[-1]}", pytrace=False)
    if status == _SKIP:
        pytest.skip(next((line for line in said if "SKIP" in line.upper()), said[-1]))
    if status == _XFAIL:
        pytest.xfail(said[-1])
    if status:
        telling = next((line for sign in _TELLING for line in said if sign.search(line)), said[-1])
        pytest.fail(f"exit status {status}: {telling}{doubt}", pytrace=False)


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


def _end(before: set[tuple[int, str]]) -> None:
    """End what a test left in the background, and what is orphaned by that."""
    while left := set(children()) - before:
        for pid, _ in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
