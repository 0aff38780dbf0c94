"""Processes that ended up as a worker's children: it is their subreaper (``limits``), as another one's parent is init.

No process asks how an orphan ended. Until one does, it is one of the 256 processes that tests may have.
"""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Collection, Iterator
from contextlib import suppress
from multiprocessing import popen_fork
from pathlib import Path

from harness.pytest_plugin.guest.limits import more_files

__all__ = ("children", "own", "reap")

#: ``waitid()``: also children that end without a signal.
_WALL = 0x40000000
_DEAD = "Z"
#: What knows a child of this process, and asks for its end.
_PARENTS = (subprocess.Popen, popen_fork.Popen)


def children() -> Iterator[tuple[int, str]]:
    """Children of this process that live: number and name."""
    return ((pid, name) for pid, name, state in _children() if state != _DEAD)


def own() -> set[int]:
    """Children of this process, dead or alive."""
    return {pid for pid, _, _ in _children()}


@more_files()
def reap(kept: Collection[int] | None = None) -> None:
    """Let dead orphans go.

    :param kept: children that are not orphans; by default those that a Popen of this process knows. To find these takes long, so that it
        is done only if a child is dead.
    """
    if _waiting() is None:
        return
    dead = {pid for pid, _, state in _children() if state == _DEAD}
    if kept is None:
        kept = {found.pid for found in gc.get_objects() if issubclass(type(found), _PARENTS)}
    for pid in dead.difference(kept):
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _waiting() -> os.waitid_result | None:
    """A child that is dead. To look at all processes takes longer."""
    with suppress(ChildProcessError):
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WALL)
    return None


def _children() -> Iterator[tuple[int, str, str]]:
    """Number, name and state of each child."""
    parent = str(os.getpid())
    for entry in Path("/proc").iterdir() if _has_children() else ():
        if not entry.name.isdigit():
            continue
        try:
            name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        state, of, *_ = rest.split()
        if of == parent:
            yield int(entry.name), name, state


def _has_children() -> bool:
    """Whether this process has a child, dead or alive. To look at all processes takes longer than all the rest of the state."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WALL)
    except ChildProcessError:
        return False
    return True
