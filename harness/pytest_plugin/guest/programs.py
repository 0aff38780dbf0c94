"""Programs as tests, as other projects have them: run to their end, or to a limit, with nothing left running."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import pytest

from harness.pytest_plugin.guest.state import children

__all__ = ("Ended", "fail", "how", "lines", "run", "skip_reason", "telling")

#: What is kept of a program's output, half of it from each end: the guest's memory holds it several times.
_OUTPUT = 4 << 20
#: A guest's disks, and bytes: with less on one of them, not even what the test said can be kept.
_DISKS, _DISK = ("/", "/tmp"), 1 << 20  # noqa: S108 - nothing is written there
#: A shell's exit status for a program that a signal ended is more than this, by the signal's number.
_BY_SIGNAL = 128
_WHY = {signal.SIGXFSZ: ": more than 64 MiB in a file, or of output", signal.SIGKILL: ": perhaps for want of memory"}
_SKIPS, _MARK = re.compile(r"\bskip", re.IGNORECASE), re.compile(r"\[ *skip", re.IGNORECASE)
#: Lines that say what went wrong, the more telling first.
_TELLING = (re.compile(r"\b(?:FAIL|ERROR|not ok\b)"), re.compile(r"not found|No such file"))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    :param status: its exit status, 128 and the signal's number for one that a signal ended; ``None`` if it did not end within its limit
    :param output: what it wrote to standard output and standard error, the middle left out if that is more than 4 MiB
    """

    status: int | None
    output: str


def run(command: Sequence[str], directory: Path, environment: Mapping[str, str], limit_s: float | None) -> Ended:
    """Run a program in a directory, print its output, and end what it leaves running.

    :param environment: variables beside those of this process
    :param limit_s: seconds after which it is ended; ``None`` for never
    """
    before = set(children())
    # Not a pipe, whose end would only come with that of whatever a script leaves running; and not on a disk that the script may fill.
    with os.fdopen(os.memfd_create("output"), "w+b") as output:
        try:
            status = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                    env={**os.environ, **environment}, check=False, timeout=limit_s).returncode
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(before)
            text = _ends(output)
    if any(shutil.disk_usage(place).free < _DISK for place in _DISKS):
        fail(f"the guest's disk is full; its last words: {lines(text)[-1]}")
    print(text)
    return Ended(_BY_SIGNAL - status if status is not None and status < 0 else status, text)


def lines(output: str) -> list[str]:
    """The lines that say something; one that says so if there are none."""
    return [line for line in output.splitlines() if line.strip()] or ["it said nothing"]


def skip_reason(output: str) -> str:
    """Why a program skipped: the first line that says so, else the last; one with a mark, ``[SKIPPED]``, if there is no other."""
    said = lines(output)
    reasons = [line for line in said if _SKIPS.search(line)]
    return next((line for line in reasons if not _MARK.search(line)), [*reasons, said[-1]][0]).strip()


def how(status: int) -> str:
    """An exit status in words."""
    number = status - _BY_SIGNAL
    if number not in set(signal.Signals):
        return f"exit status {status}"
    name = signal.Signals(number)
    return f"{name.name}{_WHY.get(name, '')}"


def telling(output: str) -> str:
    """The line that says what went wrong, else the last."""
    said = lines(output)
    return next((line for sign in _TELLING for line in said if sign.search(line)), said[-1])


def fail(why: str) -> NoReturn:
    """Let the test fail without a traceback, which would show this project's code."""
    pytest.fail(why, pytrace=False)


def _ends(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(0)
    if size <= _OUTPUT:
        return output.read().decode(errors="replace")
    first = output.read(_OUTPUT // 2)
    output.seek(-_OUTPUT // 2, os.SEEK_END)
    return f"{first.decode(errors='replace')}\n[… {size - _OUTPUT:,} bytes left out …]\n{output.read().decode(errors='replace')}"


def _end(before: set[tuple[int, str]]) -> None:
    """End what a program left in the background, and what is orphaned by that.

    All are stopped before any is killed: a program that starts others without end would be faster otherwise.
    """
    while left := set(children()) - before:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid, _ in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        for pid, _ in left:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
