"""Child processes that never outlive us."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import HostError
from harness.host.deadlines import Deadline
from harness.host.paths import run_dir
from harness.host.uninterrupted import uninterrupted
from harness.requirements import known_hint

__all__ = ("ProgramFailed", "bound", "captured", "disconnect", "end", "in_namespace", "run", "start")


#: What apt, dpkg, tar, mke2fs, pip and gcc say when a disk is full.
_NO_ROOM = ("No space left on device", "enough free space", "Disk quota exceeded")
_ROOM_FOR_A_LOG = 1 << 20


class ProgramFailed(HostError):
    """A program that we ran failed.

    :param output: all that it said
    """

    def __init__(self, message: str, *, hint: str, output: str) -> None:
        super().__init__(message, hint=hint)
        self.output = output


def bound(argv: Sequence[str]) -> list[str]:
    """*argv* such that the kernel kills it when the thread that started it ends, however that ends (``PR_SET_PDEATHSIG``)."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *argv]


def in_namespace(argv: Sequence[str], *, every_user: bool = False) -> list[str]:
    """*argv* as (possibly only apparent) root with its own mounts and processes: both vanish with it.

    :param every_user: with other users to give files to as well, if need be those of ``/etc/subuid``
    """
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user", *(["--map-auto"] if every_user else [])]
    return bound(["unshare", *user, "--mount", "--pid", "--fork", "--kill-child=KILL", "--", *argv])


async def start(argv: Sequence[str], **options: Any) -> asyncio.subprocess.Process:
    """``asyncio.create_subprocess_exec``, which waits for ever where an interruption comes before it has connected to the pipes.

    :raises FileNotFoundError: it is not installed
    """
    running = None
    try:
        with uninterrupted():
            running = await asyncio.create_subprocess_exec(*argv, **options)
    except BaseException:
        if running:
            await end(running)
            disconnect(running)
        raise
    return running


async def end(running: asyncio.subprocess.Process) -> None:
    """Kill *running*, unless it has ended, and wait until the loop knows: asyncio's thread warns where the loop is closed before."""
    if running.returncode is None:
        # Not Process.kill(): that polls, and would take the exit status away from that thread.
        with suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGKILL)
    await running.wait()


def disconnect(running: asyncio.subprocess.Process) -> None:
    """Close the pipes of what has ended: where asyncio.run() ends, it cancels what reads them, too, and they would outlive the loop."""
    running._transport.close()  # type: ignore[attr-defined]


def run(argv: Sequence[str], *, what: str, log: Path, timeout: float, cwd: Path | None = None) -> None:
    """Run a command to its end with its output in *log*.

    :param what: for the error message, "building the kernel module"
    :param timeout: seconds of an idle host
    :raises CommandFailed: it failed; with the log's last line that says something, and the log's path
    :raises HostError: it took too long, or is not installed
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            status = _waited(argv, timeout, stdout=output, stderr=output, cwd=cwd)
        except TimeoutError as late:
            raise HostError(f"{what} did not end {late}", hint=f"try again; see {_keep(log)}") from None
        except FileNotFoundError as error:
            raise HostError(f"{what}: {error.filename} is not installed", hint="run 'nfharness doctor'") from None
    if status.returncode:
        text = log.read_text(errors="replace")
        # On a full disk the log is cut short as well.
        if any(sign in text for sign in _NO_ROOM) or shutil.disk_usage(log.parent).free < _ROOM_FOR_A_LOG:
            raise OSError(errno.ENOSPC, "No space left on device", str(log))
        hints = [hint for hint in (known_hint(text), f"see {_keep(log)}") if hint]
        message = f"{what} failed (exit {status.returncode}): {_last_words(text)}"
        raise ProgramFailed(message, hint="; ".join(hints), output=text)


def captured(argv: Sequence[str], seconds: float, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its status and what it wrote.

    :param seconds: of an idle host
    :raises TimeoutError: it did not end within them; "within 30 s"
    """
    return _waited(argv, seconds, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def _waited(argv: Sequence[str], seconds: float, **options: Any) -> subprocess.CompletedProcess[str]:
    deadline = Deadline(seconds)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, **options) as running:
        try:
            while True:
                try:
                    out, err = running.communicate(timeout=deadline.left())
                except subprocess.TimeoutExpired:
                    if not deadline.left():
                        raise TimeoutError(str(deadline)) from None
                else:
                    return subprocess.CompletedProcess(argv, running.returncode, out, err)
        except BaseException:
            running.kill()
            raise


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    signs = (" error", "Error", "E: ", "not found", "fatal")
    telling = next((line for line in lines if any(sign in line for sign in signs)), None)
    return (telling or (lines or ["no output"])[-1])[:300]


def _keep(log: Path) -> Path:
    """Copy the log out of a directory that is about to be swept."""
    kept = run_dir() / "failed" / log.name
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(log.read_bytes())
    except OSError:  # what went wrong first is what must be told
        return log
    return kept
