"""Programs as tests, as other projects have them: run to their end, or to a limit, with nothing left running."""

from __future__ import annotations

import math
import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import pytest

from harness.pytest_plugin.guest.orphans import children, own, reap

__all__ = ("Ended", "fail", "how", "lines", "run", "skip_reason", "telling")

#: What is kept of a program's output, half of it from each end: the guest's memory holds it several times.
_OUTPUT = 4 << 20
#: A guest's disks, and bytes: with less on one of them, not even what the test said can be kept.
_DISKS, _DISK = ("/", "/tmp"), 1 << 20  # noqa: S108 - nothing is written there
#: How often dead orphans are let go while a program runs.
_REAP_S = 0.1
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
    before, kept = set(children()), own()
    # Not a pipe, whose end would only come with that of whatever a script leaves running; and not on a disk that the script may fill.
    with os.fdopen(os.memfd_create("output"), "w+b") as output:
        process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                   env={**os.environ, **environment})
        try:
            status = _waited(process, limit_s, kept | {process.pid})
        finally:
            process.kill()
            process.wait()
            _end(before)
            text = _ends(output)
    if any(shutil.disk_usage(place).free < _DISK for place in _DISKS):
        fail(f"the guest's disk is full; its last words: {lines(text)[-1]}")
    print(text)
    return Ended(_BY_SIGNAL - status if status is not None and status < 0 else status, text)


def _waited(process: subprocess.Popen[bytes], limit_s: float | None, kept: Collection[int]) -> int | None:
    """The exit status of a program, as Popen has it; ``None`` if it does not end within its limit.

    Orphans that end meanwhile are let go: a test suite that is one program may have more than the guest has room for.

    :param kept: children that are no orphans
    """
    end, ended = time.monotonic() + (math.inf if limit_s is None else limit_s), select.poll()
    descriptor = os.pidfd_open(process.pid)
    try:
        ended.register(descriptor, select.POLLIN)
        while (left := end - time.monotonic()) > 0:
            if ended.poll(min(left, _REAP_S) * 1000):
                return process.wait()
            reap(kept)
    finally:
        os.close(descriptor)
    return None


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
