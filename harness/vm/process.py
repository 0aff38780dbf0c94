"""Child processes that never outlive us."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HostError
from harness.vm.paths import run_dir

__all__ = ("bound", "in_namespace", "run")


#: What apt, dpkg, tar, mke2fs, pip and gcc say when a disk is full.
_NO_ROOM = ("No space left on device", "enough free space", "Disk quota exceeded")
_ROOM_FOR_A_LOG = 1 << 20


def bound(argv: Sequence[str]) -> list[str]:
    """*argv* such that the kernel kills it when the thread that started it ends, however that ends (``PR_SET_PDEATHSIG``)."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *argv]


def in_namespace(argv: Sequence[str], *, every_user: bool = False) -> list[str]:
    """*argv* as (possibly only apparent) root with its own mounts and processes: both vanish with it.

    :param every_user: with other users to give files to as well, if need be those of ``/etc/subuid``
    """
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user", *(["--map-auto"] if every_user else [])]
    return bound(["unshare", *user, "--mount", "--pid", "--fork", "--kill-child=KILL", "--", *argv])


def run(argv: Sequence[str], *, what: str, log: Path, timeout: float, cwd: Path | None = None) -> None:
    """Run a command to its end with its output in *log*.

    :param what: for the error message, "building the kernel module"
    :param timeout: seconds
    :raises HostError: it failed or took too long; with the log's last line that says something, and the log's path
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            status = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=timeout, cwd=cwd, check=False)
        except subprocess.TimeoutExpired:
            raise HostError(f"{what} did not end within {timeout:.0f} s", mend=f"try again; see {_keep(log)}") from None
        except FileNotFoundError as error:
            raise HostError(f"{what}: {error.filename} is not installed", mend="run 'nfharness doctor'") from None
    if status.returncode:
        text = log.read_text(errors="replace")
        # On a full disk the log is cut short as well.
        if any(sign in text for sign in _NO_ROOM) or shutil.disk_usage(log.parent).free < _ROOM_FOR_A_LOG:
            raise OSError(errno.ENOSPC, "No space left on device", str(log))
        raise HostError(f"{what} failed (exit {status.returncode}): {_last_words(text)}", mend=f"see {_keep(log)}")


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
