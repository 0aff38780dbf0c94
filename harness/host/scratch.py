"""Temporary directories that are gone after us, also when SIGKILL ends us: the next one to be made sweeps them."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.host.store import remove_tree

__all__ = ("scratch",)

_PREFIX = "nfharness-"
#: A directory with this file is one of ours; the process that made it has the file locked for as long as it lives.
_MARK = ".nfharness-scratch"
#: A directory is not looked at before, so that one that is being made is not taken for one that was left.
_YOUNG_S = 60


@contextmanager
def scratch(purpose: str) -> Iterator[Path]:
    """A directory under ``$TMPDIR`` that is gone when the block ends.

    :param purpose: a word for its name
    """
    _sweep(Path(tempfile.gettempdir()))
    path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{purpose}-"))
    with (path / _MARK).open("w") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
        try:
            yield path
        finally:
            remove_tree(path)


def _sweep(place: Path) -> None:
    """Remove what processes of ours left that live no more; what cannot be removed stays."""
    for mark in place.glob(f"{_PREFIX}*/{_MARK}"):
        try:
            found = mark.lstat()
            ours = {found.st_uid, mark.parent.lstat().st_uid} == {os.geteuid()}
            if ours and time.time() - found.st_mtime > _YOUNG_S and not _is_locked(mark):
                remove_tree(mark.parent)
        except OSError:
            continue


def _is_locked(mark: Path) -> bool:
    with mark.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
