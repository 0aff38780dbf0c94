"""gcov's counters in the guest, which a kernel with ``CONFIG_GCOV_KERNEL`` shows in debugfs (``kernel/gcov/fs.c``)."""

from __future__ import annotations

import io
from pathlib import Path

from harness.errors import GuestError
from harness.guest.files import write_packed

__all__ = ("packed", "reset")

_DIRECTORY = Path("/sys/kernel/debug/gcov")


def packed() -> bytes:
    """The counters of every file that has some, as a tar under their paths in debugfs.

    :raises GuestError: the kernel shows none
    """
    _check()
    buffer = io.BytesIO()
    write_packed(f"{_DIRECTORY}/**/*.gcda", buffer)
    return buffer.getvalue()


def reset() -> None:
    """Set all counters to 0, those of modules that are gone included.

    :raises GuestError: the kernel shows none
    """
    _check()
    (_DIRECTORY / "reset").write_text("0")


def _check() -> None:
    if not _DIRECTORY.is_dir():
        raise GuestError(f"this kernel shows no counters: there is no {_DIRECTORY}", hint="it needs CONFIG_GCOV_KERNEL and CONFIG_DEBUG_FS")
