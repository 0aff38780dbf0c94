"""The cache's one way to make a thing: locked, atomic, and swept after a crash.

``with building(path) as new:`` gives a private directory beside *path* to build in, under a lock that another process waits for; when the
block ends the directory becomes *path* in one rename. A build that fails or is killed leaves only a directory that the next one sweeps.
What is built has its files' sizes beside it: a file that a full disk or a crash of the host has cut short is noticed before it is used.
It has their checksums, too: a file in which bits have flipped is noticed by ``doctor --deep``, and when a guest dies of it at once.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import stat
import subprocess
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.errors import HostError
from harness.host import process
from harness.host.deadlines import Deadline

__all__ = (
    "altered", "building", "checked", "checksum", "discard", "disk_full_is_an_error", "files_hash", "has_checksums", "is_held",
    "is_kept", "is_writable", "keep", "lock_of", "locked", "no_room", "read_record", "remove_tree", "size_of", "write_whole",
)  # fmt: skip

_LOCK_DEADLINE_S = 3600
_SIZES, _SUMS = ".sizes.json", ".sums.json"
_BLOCK = 1 << 20
_ZEROS = bytes(_BLOCK)


@contextmanager
def building(path: Path, *, waiting: Callable[[], None] = lambda: None, sealed: bool = True) -> Iterator[Path | None]:
    """Make directory *path*, if it is not there; of two processes one builds and the other waits.

    Yields an empty directory to fill, which becomes *path* when the block ends well; ``None`` if *path* is there.

    :param waiting: called once if another process holds the lock
    :param sealed: what is made stays as it is, so that its files' sizes and checksums are kept
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
                files = [file for file in new.iterdir() if file.is_file()]
                if sealed:
                    write_whole(new / _SIZES, json.dumps({file.name: file.stat().st_size for file in files}))
                    write_whole(new / _SUMS, json.dumps({file.name: checksum(file) for file in files if file.suffix != ".log"}))
                new.rename(path)
        except BaseException:
            remove_tree(new)
            raise


def checked(path: Path) -> None:
    """Look whether what was built is whole.

    :raises HostError: a file of what was built as *path* is not as long as it was
    """
    try:
        sizes = _of_files(path / _SIZES)
    except FileNotFoundError:
        return
    except ValueError:
        raise _damaged(path, f"{path / _SIZES} is damaged") from None
    for name, size in sizes.items():
        file = path / name
        found = file.stat().st_size if file.is_file() else 0
        if found != size:
            raise _damaged(path, f"{file} is damaged: {found} of {size} bytes")


def checksum(file: Path) -> int:
    """CRC-32 of a file's blocks that are not all zero, with their places: holes cost nothing, and zeros in their stead are the same."""
    found = 0
    with file.open("rb", buffering=0) as opened:
        size = os.fstat(opened.fileno()).st_size
        place = 0
        while place < size:
            try:
                place = os.lseek(opened.fileno(), place, os.SEEK_DATA) // _BLOCK * _BLOCK
            except OSError:  # ENXIO: there is nothing but a hole from here on
                break
            block = os.pread(opened.fileno(), _BLOCK, place)
            if block != _ZEROS[: len(block)]:
                found = zlib.crc32(block, zlib.crc32(str(place).encode(), found))
            place += _BLOCK
    return found


def altered(path: Path) -> list[Path]:
    """The files of what was built as *path* whose contents are not those that were written; none where no checksums were made."""
    try:
        sums = _of_files(path / _SUMS)
    except FileNotFoundError:
        return []
    except ValueError:
        return [path / _SUMS]
    return [path / name for name, found in sums.items() if _is_altered(path / name, found)]


def _of_files(record: Path) -> dict[str, int]:
    """File name → number, as a build has left them.

    :raises FileNotFoundError: it has left none
    :raises ValueError: the record is damaged
    """
    found = json.loads(record.read_bytes())
    if not isinstance(found, dict):
        raise ValueError(f"{record} is no object")
    return found


def _is_altered(file: Path, sum_: int) -> bool:
    try:
        return checksum(file) != sum_
    except PermissionError:  # another user's
        return False
    except OSError:  # it is gone, or the disk cannot read it any more
        return True


def files_hash(paths: list[Path]) -> str:
    """Hash of some files' names and contents: a part of the name of what is built from them."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def has_checksums(path: Path) -> bool:
    """Whether there are checksums of what was built as *path*."""
    return (path / _SUMS).exists()


def discard(path: Path) -> bool:
    """Delete what was built as *path*, or what a build of it has left; False if another process is building it.

    A guest that runs from it keeps what it has open.
    """
    lock = FileLock(lock_of(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    try:
        # Out of the way in one step first: what is half deleted must not look whole.
        doomed = lock_of(path).with_suffix(".new")
        if path != doomed:
            remove_tree(doomed)
            path.rename(doomed)
        remove_tree(doomed)
    finally:
        lock.release()
    return True


def lock_of(path: Path) -> Path:
    """The lock under which an entry is built, whether *path* is whole or being built."""
    name = path.name.removeprefix(".").removesuffix(".new") if path.name.startswith(".") else path.name
    return path.with_name(f".{name}.lock")


def read_record(path: Path) -> Any:
    """The JSON that a build left as *path*.

    :raises HostError: it is damaged
    """
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        raise _damaged(path.parent, f"{path} is damaged") from None


def _damaged(directory: Path, message: str) -> HostError:
    return HostError(message, hint=f"it is built anew once it is gone: rm -r {shlex.quote(str(directory))}")


def write_whole(path: Path, text: str, *, make_parent: bool = True) -> None:
    """Write a small file such that a reader finds the old or the new text and nothing between; for one writer at a time.

    :param make_parent: make the directory if it is not there
    :raises FileNotFoundError: the directory is not there, and is not to be made
    """
    new = path.with_name(f"{path.name}.new")
    with disk_full_is_an_error(path):
        if make_parent:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            new.write_text(text)
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


@cache
def _lock(path: Path) -> FileLock:
    """One object per lock and process: it counts, so that its holder may take it again."""
    return FileLock(path)


@contextmanager
def locked(lock_path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock that at most one process holds.

    :param waiting: called once if another process holds it
    """
    lock = _lock(lock_path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting()
        _acquire(lock, lock_path)
    try:
        yield
    finally:
        lock.release()


def is_held(lock_path: Path) -> bool:
    """Whether a process holds a lock; asks without writing, and keeps nobody from taking it for longer than that."""
    return _is_flocked(lock_path, fcntl.LOCK_SH)


#: Files that this process keeps, by their device and inode: open until it ends.
_kept: dict[tuple[int, int], int] = {}


def keep(file: Path) -> None:
    """Tell those that sweep that this process uses what *file* belongs to, until it ends.

    :raises OSError: there is no such file
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    if _kept.setdefault((found.st_dev, found.st_ino), descriptor) != descriptor:
        os.close(descriptor)
        return
    fcntl.flock(descriptor, fcntl.LOCK_SH)


def is_kept(file: Path) -> bool:
    """Whether a process keeps a file; one that is not there, nobody does."""
    return _is_flocked(file, fcntl.LOCK_EX)


def _is_flocked(file: Path, against: int) -> bool:
    """Whether a lock on a file stands against another one.

    :param against: ``LOCK_SH`` or ``LOCK_EX``
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, against | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _acquire(lock: FileLock, path: Path) -> None:
    deadline = Deadline(_LOCK_DEADLINE_S)
    while True:
        try:
            lock.acquire(timeout=deadline.left())
        except Timeout:
            if not deadline.left():
                message = f"another nfharness has held {path} for {deadline.allowed / 60:.0f} minutes"
                raise HostError(message, hint="end that process, then try again") from None
        else:
            return


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
        hint="make room there, run 'nfharness image prune', or point NFHARNESS_CACHE at a larger disk",
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


def is_writable(path: Path) -> bool:
    """Whether we may write to what is there; not on a file system that is mounted read-only, root or not."""
    return os.access(path, os.W_OK)


def size_of(path: Path) -> int:
    """Bytes that a file or tree takes on disk; holes of sparse files do not count, nor what vanishes while it is looked at."""
    files = [path] if path.is_file() else [Path(place, name) for place, _, names in os.walk(path) for name in (".", *names)]
    total = 0
    for file in files:
        with suppress(FileNotFoundError):
            found = file.lstat()
            total += 0 if stat.S_ISLNK(found.st_mode) else found.st_blocks * 512
    return total
