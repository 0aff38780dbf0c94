"""Network namespaces with a name (``/run/netns``, as ``ip netns`` keeps them), without a fork for each.

:func:`create` and :meth:`Namespace.inside` change the calling thread's namespace only, for a moment. A socket belongs for good to
the namespace that it was made in.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyroute2 import IPRoute

__all__ = ("DIRECTORY", "Namespace", "attach", "create", "current_inum", "deleted", "iproute")

DIRECTORY = Path("/run/netns")

_CLONE_NEWNET, _MS_BIND, _MNT_DETACH = 0x40000000, 0x1000, 2
_OWN = "/proc/thread-self/ns/net"

#: ``net->ns.inum`` of namespaces that were deleted here, until they are known to be gone: a socket that was closed may hold its own for a
#: grace period more (``SOCK_RCU_FREE``).
deleted: set[int] = set()

_libc = ctypes.CDLL(None, use_errno=True)


def _call(function: str, *arguments: int | bytes | None) -> None:
    if getattr(_libc, function)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


@dataclass(frozen=True, slots=True)
class Namespace:
    """A named network namespace.

    :param name: under :data:`DIRECTORY`
    :param inum: ``net->ns.inum``, which is the inode number of the namespace's file
    """

    name: str
    inum: int

    @property
    def path(self) -> Path:
        return DIRECTORY / self.name

    @classmethod
    def find(cls, name: str) -> Namespace:
        """A namespace that exists.

        :raises FileNotFoundError: there is none of that name
        """
        return cls(name, (DIRECTORY / name).stat().st_ino)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Run the block, and the processes that it starts, in the namespace.

        :raises OSError: ``setns()`` is refused (CAP_SYS_ADMIN), or the namespace is gone
        """
        with _return_home():
            target = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _call("setns", target, _CLONE_NEWNET)
            finally:
                os.close(target)
            yield

    def delete(self) -> None:
        """Take the name away. The namespace dies, in the background (``cleanup_net``), with the last process and socket in it."""
        self.detach()
        deleted.add(self.inum)

    def detach(self) -> None:
        """Take the name away from a namespace that lives on."""
        with contextlib.suppress(OSError):
            _call("umount2", os.fsencode(self.path), _MNT_DETACH)
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def _return_home() -> Iterator[None]:
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            _call("setns", home, _CLONE_NEWNET)
        finally:
            os.close(home)


def create(name: str) -> Namespace:
    """Make a namespace; its ``lo`` is down.

    :raises FileExistsError: the name is taken
    :raises OSError: ``unshare()`` or ``mount()`` is refused (CAP_SYS_ADMIN)
    """
    with _named(name) as path, _return_home():
        _call("unshare", _CLONE_NEWNET)
        _call("mount", os.fsencode(_OWN), os.fsencode(path), None, _MS_BIND, None)
    namespace = Namespace.find(name)
    deleted.discard(namespace.inum)
    return namespace


def attach(name: str, pid: int) -> Namespace:
    """Give a name to the namespace of a process, as ``ip netns attach`` does.

    :raises FileExistsError: the name is taken
    :raises OSError: no such process, or ``mount()`` is refused (CAP_SYS_ADMIN)
    """
    with _named(name) as path:
        _call("mount", os.fsencode(f"/proc/{pid}/ns/net"), os.fsencode(path), None, _MS_BIND, None)
    return Namespace.find(name)


@contextlib.contextmanager
def _named(name: str) -> Iterator[Path]:
    """A new file for a namespace, which the block mounts there; gone if it does not.

    :raises FileExistsError: the name is taken
    """
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / name
    path.touch(mode=0o444, exist_ok=False)
    try:
        yield path
    except BaseException:
        path.unlink()
        raise


def current_inum() -> int:
    """``net->ns.inum`` of the calling thread's namespace."""
    return Path(_OWN).stat().st_ino


def iproute() -> IPRoute:
    """A netlink socket in the calling thread's namespace. Given a name, pyroute2 would fork to make the socket."""
    from pyroute2 import IPRoute  # noqa: PLC0415 - seconds in an emulated guest

    return IPRoute()
