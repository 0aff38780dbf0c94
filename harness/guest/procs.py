"""Whether a namespace's directory in procfs goes with it: seen from outside, by the numbers that procfs gives away."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import NfharnessError
from harness.guest.netns import DIRECTORY, Namespace

__all__ = ("Procs",)

_PROC, _NET, _NETFILTER = "/proc", "/proc/thread-self/net", "netfilter"


@dataclass(slots=True)
class Procs:
    """Inode numbers below ``/proc/net``. procfs gives away the smallest that is free (``proc_alloc_inum``): a new namespace that has larger
    ones than that of a dead namespace's ``netfilter``, which nobody has, tells that the directory is there still.

    :param live: of namespaces that there are
    :param dead: of the ``netfilter`` of those that there are no longer
    """

    live: dict[str, frozenset[int]] = field(default_factory=dict)
    own: dict[str, int] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)

    def saw(self, namespace: Namespace) -> None:
        """Take note of a namespace's numbers."""
        self.live[namespace.name], netfilter = _numbers(namespace)
        if netfilter is not None:
            self.own[namespace.name] = netfilter

    def died(self, namespace: Namespace) -> None:
        """The kernel has cleaned up a namespace."""
        self.live.pop(namespace.name, None)
        if namespace.name in self.own:
            self.dead.add(self.own.pop(namespace.name))

    def left(self, namespace: Namespace) -> int:
        """How many directories of dead namespaces a new one tells to be there still."""
        self.saw(namespace)
        taken = frozenset[int]().union(*self.live.values())
        largest = max(self.live[namespace.name], default=0)
        self.dead -= taken
        if any(number < largest for number in self.dead):
            self.dead -= _elsewhere()
        return sum(number < largest for number in self.dead)


def _numbers(namespace: Namespace) -> tuple[frozenset[int], int | None]:
    """All numbers, and that of ``netfilter``."""
    with namespace.inside():
        found = _below([_NET])
    return frozenset(found.values()), found.get(f"{_NET}/{_NETFILTER}")


def _elsewhere() -> set[int]:
    """Numbers below ``/proc`` outside the scenario's namespaces: a module that is loaded meanwhile, or an interrupt, takes one."""
    with os.scandir(_PROC) as entries:
        found = {entry.path: entry.inode() for entry in entries if not entry.name.isdigit()}
        tops = [path for path in found if Path(path).is_dir() and not Path(path).is_symlink() and path != f"{_PROC}/sys"]
    taken = {*found.values(), *_below([_NET, *tops]).values()}
    for file in DIRECTORY.iterdir() if DIRECTORY.is_dir() else ():
        with contextlib.suppress(OSError, NfharnessError):  # one that goes meanwhile, or that is no namespace
            taken |= _numbers(Namespace.find(file.name))[0]
    return taken


def _below(directories: list[str]) -> dict[str, int]:
    """Path → number of everything below some directories."""
    found: dict[str, int] = {}
    while directories:
        with contextlib.suppress(OSError), os.scandir(directories.pop()) as entries:
            for entry in entries:
                found[entry.path] = entry.inode()
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.path)
    return found
