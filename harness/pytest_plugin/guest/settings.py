"""What a kernel is set to: the settings below ``/proc/sys``, its modules' parameters, and whether kprobes are on.

A guest takes a quarter of a second to read them all. So they are read once, and inotify tells which are written then: ``vfs_write()``
ends with ``fsnotify_modify()`` on procfs, sysfs and debugfs, too. ``/proc/sys/net`` has other inodes in each network namespace; only the
first one's are watched. Not seen are writes through another mount of procfs, which is another super block since 5.8, and the settings of a
module that is loaded later.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from harness.guest import inotify
from harness.guest.inotify import Inotify

__all__ = ("Settings", "watched")

_PROC = "/proc/sys"
#: What changes although no test writes it, and what is no setting. A file that nobody may read or write is not compared either.
_NO_SETTINGS = {
    "/proc/sys/fs/binfmt_misc",  # a file system's mount point
    "/proc/sys/kernel/ns_last_pid",  # changes with each process
    "/proc/sys/kernel/perf_event_max_sample_rate",  # lowered when interrupts take long (perf_sample_event_took)
    "/proc/sys/kernel/sched_domain",  # has what balancing costs, as measured (update_newidle_cost)
    "/proc/sys/kernel/tainted",  # told by its letters
    "/proc/sys/net/ipv4/tcp_fastopen_key",  # made at random when it is first used (tcp_fastopen_init_key_once)
    "/proc/sys/net/netfilter/nf_log",  # changes when a module with a logger is loaded (nf_log_set)
    "/proc/sys/vm/stat_refresh",  # a command, also when it is read
    "/sys/module/nfharness/parameters/orphans",  # our driver writes what it has found out about the kernel (harness/guest/ct.py)
}
_AT_FDCWD, _OPEN_TREE_CLONE = -100, 1
#: How many descriptors are sent in one message, which holds 253 (``SCM_MAX_FD``).
_AT_ONCE = 250


class Settings:
    """The settings below some directories.

    :param roots: those directories
    :raises OSError: the kernel has no inotify, or all that a user may have of it are taken
    """

    def __init__(self, *roots: str) -> None:
        directories = list(itertools.chain.from_iterable(_directories(root) for root in roots))
        self._inotify = Inotify()
        self._watched = {self._inotify.add(path, inotify.MODIFY): path for path in directories}
        self._pins = _pinned([path for path in directories if path.startswith(_PROC)])
        own = (self._inotify.fd, self._pins.fileno())
        self._descriptors = {number: os.readlink(f"/proc/self/fd/{number}") for number in own}  # noqa: PTH115
        self._values = dict(_values(directories))
        self._entries = self._made()

    def read(self) -> frozenset[tuple[str, str]]:
        """Each setting in words, with its value now, and the descriptors without which a write is not seen."""
        lost = {number for number, target in self._descriptors.items() if _target(number) != target}
        written = self._values.keys() if lost else self.written()
        if written or lost:
            for path in list(written):
                self._reread(path)
            self._entries = self._made() - {self._descriptor(number) for number in lost}
        return self._entries

    def written(self) -> set[str]:
        """The paths of settings that were written since the last call; all of them if there were too many writes (``Q_OVERFLOW``)."""
        found: set[str] = set()
        for event in self._inotify.events():
            if event.mask & inotify.Q_OVERFLOW:
                found.update(self._values)
            elif event.mask & inotify.MODIFY and (path := f"{self._watched[event.watch]}/{event.name}") not in _NO_SETTINGS:
                found.add(path)
        return found

    def _made(self) -> frozenset[tuple[str, str]]:
        own = (self._descriptor(number) for number in self._descriptors)
        return frozenset((*((f"the setting {path}", value) for path, value in self._values.items()), *own))

    def _descriptor(self, number: int) -> tuple[str, str]:
        return f"the worker's descriptor {number} (the watch over settings)", ""

    def _reread(self, path: str) -> None:
        self._values.pop(path, None)
        if (value := _value(path)) is not None:
            self._values[path] = value


@functools.cache
def watched() -> Settings:
    """The settings of this kernel; the first call begins to watch. A fork of this process has the watch, too."""
    return Settings(_PROC, "/sys/kernel/debug/kprobes", *(str(path) for path in Path("/sys/module").glob("*/parameters")))


def _directories(root: str) -> Iterator[str]:
    """A directory and those below it, less those of devices other than ``lo``, which are a machine's own affair."""
    for path, names, _ in os.walk(root):
        yield path
        if path.endswith(("/conf", "/neigh")):
            names[:] = [name for name in names if name in {"all", "default", "lo"}]
        names[:] = [name for name in names if f"{path}/{name}" not in _NO_SETTINGS]


def _values(directories: list[str]) -> Iterator[tuple[str, str]]:
    """Path and value of each setting in directories."""
    for directory in directories:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_file() and entry.path not in _NO_SETTINGS and (value := _value(entry.path)) is not None:
                    yield entry.path, value


def _value(path: str) -> str | None:
    """A setting's value; ``None``: that is not readable, or not writable and therefore no setting."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # three times as fast as open()
        try:
            if os.fstat(descriptor).st_mode & stat.S_IWUSR:
                return os.read(descriptor, 4096).decode(errors="backslashreplace").strip()
        finally:
            os.close(descriptor)
    return None


def _target(descriptor: int) -> str:
    with suppress(OSError):
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
    return ""


def _pinned(directories: list[str]) -> socket.socket:
    """A socket in whose queue descriptors of directories below /proc/sys lie, so that the kernel does not forget them.

    procfs makes a new inode, which is not watched, for a directory that was forgotten (``proc_sys_make_inode()``). A directory keeps those
    above it. The descriptors are of a copy of the mount: the mount itself may be taken away.

    :raises OSError: the mount cannot be copied (CAP_SYS_ADMIN)
    """
    tree = ctypes.CDLL(None, use_errno=True).open_tree(_AT_FDCWD, _PROC.encode(), _OPEN_TREE_CLONE | os.O_CLOEXEC)
    if tree < 0:
        raise OSError(ctypes.get_errno(), "open_tree")
    above = {os.path.dirname(path) for path in directories}  # noqa: PTH120
    lowest = [os.path.relpath(path, _PROC) for path in directories if path not in above]
    ours, theirs = socket.socketpair()
    with theirs:
        for several in (lowest[start:start + _AT_ONCE] for start in range(0, len(lowest), _AT_ONCE)):
            pins = [os.open(path, os.O_PATH | os.O_CLOEXEC, dir_fd=tree) for path in several]
            socket.send_fds(theirs, [b"."], pins)
            for pin in pins:
                os.close(pin)
    os.close(tree)
    return ours
