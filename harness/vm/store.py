"""The cache's one way to make a thing: locked, atomic, and swept after a crash.

``with building(path) as new:`` gives a private directory beside *path* to build in, under a lock that another process waits for; when the
block ends the directory becomes *path* in one rename. A build that fails or is killed leaves only a directory that the next one sweeps.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import HostError

__all__ = ("building", "disk_full_is_an_error", "remove_tree", "size_of")

_LOCK_DEADLINE_S = 3600


@contextmanager
def building(path: Path, *, waiting: Callable[[], None] = lambda: None) -> Iterator[Path | None]:
    """Make directory *path*, if it is not there; of two processes one builds and the other waits.

    Yields an empty directory to fill, which becomes *path* when the block ends well; ``None`` if *path* is there.

    :param waiting: called once if another process holds the lock
    :raises HostError: the disk is full, or the lock was not had within an hour
    """
    if path.is_dir():
        yield None
        return
    with disk_full_is_an_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_name(f".{path.name}.lock"), waiting):
        if path.is_dir():
            yield None
            return
        new = path.with_name(f".{path.name}.new")
        remove_tree(new)
        try:
            with disk_full_is_an_error(path):
                new.mkdir()
                yield new
                new.rename(path)
        except BaseException:
            remove_tree(new)
            raise


@contextmanager
def _locked(lock_path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    lock = FileLock(lock_path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting()
        try:
            lock.acquire(timeout=_LOCK_DEADLINE_S)
        except Timeout:
            raise HostError(f"another nfharness has held {lock_path} for an hour", mend="end that process, then try again") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def disk_full_is_an_error(path: Path) -> Iterator[None]:
    """Turn ``ENOSPC`` (and quota's ``EDQUOT``) into an error that says how much room there is and where."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_room(path) from error
        raise


def no_room(path: Path) -> HostError:
    """The error for a full disk under *path*."""
    free = shutil.disk_usage(path.parent).free >> 20
    return HostError(
        f"the disk is full: {free} MiB free under {path.parent}",
        mend="make room there, run 'nfharness image prune', or point NFHARNESS_CACHE at a larger disk",
    )


def remove_tree(path: Path) -> None:
    """Delete a directory and all below it, directories without write permission included; absent is fine."""

    def make_writable(function: Callable[..., object], name: str, _error: BaseException) -> None:
        Path(name).parent.chmod(stat.S_IRWXU)
        if Path(name).is_dir():
            Path(name).chmod(stat.S_IRWXU)
        if function in (os.rmdir, os.unlink):
            function(name)
        else:
            shutil.rmtree(name, ignore_errors=True)

    if path.exists():
        shutil.rmtree(path, onerror=lambda function, name, info: make_writable(function, name, info[1]))


def size_of(path: Path) -> int:
    """Bytes that a file or tree takes on disk; holes of sparse files do not count."""
    if path.is_file():
        return path.stat().st_blocks * 512
    return sum(entry.lstat().st_blocks * 512 for entry in path.rglob("*") if not entry.is_symlink())
