"""The cache's one way to make a thing: locked, atomic, and swept after a crash.

``with building(path) as new:`` gives a private directory beside *path* to build in, under a lock that another process waits for; when the
block ends the directory becomes *path* in one rename. A build that fails or is killed leaves only a directory that the next one sweeps.
What is built has its files' sizes beside it: a file that a full disk or a crash of the host has cut short is noticed before it is used.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.errors import HostError
from harness.vm import process

__all__ = ("building", "checked", "disk_full_is_an_error", "locked", "no_room", "read_record", "remove_tree", "size_of", "write_whole")

_LOCK_DEADLINE_S = 3600
_SIZES = ".sizes.json"


@contextmanager
def building(path: Path, *, waiting: Callable[[], None] = lambda: None) -> Iterator[Path | None]:
    """Make directory *path*, if it is not there; of two processes one builds and the other waits.

    Yields an empty directory to fill, which becomes *path* when the block ends well; ``None`` if *path* is there.

    :param waiting: called once if another process holds the lock
    :raises HostError: the disk is full, the lock was not had within an hour, or what is there is damaged
    """
    if path.is_dir():
        checked(path)
        yield None
        return
    with disk_full_is_an_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock"), waiting):
        if path.is_dir():
            checked(path)
            yield None
            return
        new = path.with_name(f".{path.name}.new")
        remove_tree(new)
        try:
            with disk_full_is_an_error(path):
                new.mkdir()
                yield new
                write_whole(new / _SIZES, json.dumps({file.name: file.stat().st_size for file in new.iterdir() if file.is_file()}))
                new.rename(path)
        except BaseException:
            remove_tree(new)
            raise


def checked(path: Path) -> None:
    """:raises HostError: a file of what was built as *path* is not as long as it was"""
    try:
        sizes = json.loads((path / _SIZES).read_text())
    except FileNotFoundError:
        return
    except ValueError:
        raise _damaged(path, f"{path / _SIZES} is damaged") from None
    for name, size in sizes.items():
        file = path / name
        found = file.stat().st_size if file.is_file() else 0
        if found != size:
            raise _damaged(path, f"{file} is damaged: {found} of {size} bytes")


def read_record(path: Path) -> Any:
    """The JSON that a build left as *path*. :raises HostError: it is damaged"""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        raise _damaged(path.parent, f"{path} is damaged") from None


def _damaged(directory: Path, message: str) -> HostError:
    return HostError(message, mend=f"it is built anew once it is gone: rm -r '{directory}'")


def write_whole(path: Path, text: str) -> None:
    """Write a small file such that a reader finds the old or the new text and nothing between; for one writer at a time."""
    new = path.with_name(f"{path.name}.new")
    with disk_full_is_an_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text)
        new.replace(path)


@cache
def _lock(path: Path) -> FileLock:
    """One object per lock and process: it counts, so that whoever holds it may take it again."""
    return FileLock(path)


@contextmanager
def locked(lock_path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock that at most one process holds. :param waiting: called once if another process holds it"""
    lock = _lock(lock_path)
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
    place = next(parent for parent in path.parents if parent.is_dir() and not parent.name.startswith("."))
    free = shutil.disk_usage(place).free >> 20
    return HostError(
        f"the disk is full: {free} MiB free under {place} are not enough",
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

    if not path.exists():
        return
    try:
        shutil.rmtree(path, onerror=lambda function, name, info: make_writable(function, name, info[1]))
    except PermissionError:
        # Without root a build that was killed leaves files of the users that it had borrowed from /etc/subuid.
        subprocess.run(process.in_namespace(["rm", "-rf", str(path)], every_user=True), capture_output=True, check=False)
        if path.exists():
            raise


def size_of(path: Path) -> int:
    """Bytes that a file or tree takes on disk; holes of sparse files do not count."""
    if path.is_file():
        return path.stat().st_blocks * 512
    return sum(entry.lstat().st_blocks * 512 for entry in path.rglob("*") if not entry.is_symlink())
