"""What a test may use of its guest, so that one that takes all of it does not take the agent's share."""

from __future__ import annotations

import ctypes
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ("apply", "lift", "more_files")

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = _CGROUPS / "tests"
_PROCESSES, _FILE_SIZE, _RESERVED = 256, 64 << 20, 192 << 20
_PR_SET_CHILD_SUBREAPER = 36
#: Files that a worker needs open to look at its kernel: the tracer's programs are a hundred of them.
_FILES = 1024


def apply() -> None:
    """Limit this process and those that it will start: at most 256 of them, all but 192 MiB of memory, files of 64 MiB.

    The last is a soft limit, which a test may raise. Where the kernel has no such cgroups, memory and processes are not limited.
    An orphaned process becomes a child of this one.
    """
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_SIZE, soft[1]))
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with suppress(OSError):
        (_CGROUPS / "cgroup.subtree_control").write_text("+pids +memory")
        _OWN.mkdir(exist_ok=True)
        total = re.search(r"MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text())
        assert total is not None  # noqa: S101
        (_OWN / "pids.max").write_text(str(_PROCESSES))
        (_OWN / "memory.max").write_text(str(int(total[1]) * 1024 - _RESERVED))
        (_OWN / "cgroup.procs").write_text(str(os.getpid()))


def lift() -> None:
    """Leave the cgroup, which goes unless a test's process is in it: a machine that was there before us keeps none."""
    with suppress(OSError):
        (_CGROUPS / "cgroup.procs").write_text(str(os.getpid()))
        _OWN.rmdir()


@contextmanager
def more_files() -> Iterator[None]:
    """Look at the kernel, however few files a test lets this process open; the test's limit is back afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= _FILES:
        yield
        return
    with suppress(ValueError):  # a test that is no superuser any more, and has lowered what it may raise
        resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, max(hard, _FILES)))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
