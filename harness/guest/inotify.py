"""inotify (inotify(7)): what is made, removed or written in directories. A watch holds the inode, and no mount."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

__all__ = ("CREATE", "DELETE", "MODIFY", "MOVED_TO", "Q_OVERFLOW", "Inotify", "InotifyEvent")

MODIFY, MOVED_TO, CREATE, DELETE, Q_OVERFLOW = 0x2, 0x80, 0x100, 0x200, 0x4000
#: ``struct inotify_event``: watch, mask, cookie, the length of the name that follows.
_HEAD = struct.Struct("iIII")


class InotifyEvent(NamedTuple):
    """An event.

    :param watch: as :meth:`Inotify.add` returned it; -1 if events were lost (``Q_OVERFLOW``)
    :param name: in the directory that is watched
    """

    watch: int
    mask: int
    name: str


class Inotify:
    """A queue of events.

    :ivar fd: readable when there are events
    :raises OSError: the kernel has no inotify, or all instances that a user may have are taken
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._checked("inotify_init1", self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def add(self, directory: str | os.PathLike[str], mask: int) -> int:
        """Watch a directory.

        :returns: the number that its events have
        """
        return self._checked("inotify_add_watch", self._libc.inotify_add_watch(self.fd, os.fsencode(directory), mask))

    def events(self) -> Iterator[InotifyEvent]:
        """The events since the last call; does not wait."""
        with suppress(BlockingIOError):
            while True:
                data, place = os.read(self.fd, 1 << 16), 0
                while place < len(data):
                    watch, mask, _, length = _HEAD.unpack_from(data, place)
                    place += _HEAD.size + length
                    yield InotifyEvent(watch, mask, os.fsdecode(data[place - length:place].rstrip(b"\0")))

    def close(self) -> None:
        """End all watches."""
        os.close(self.fd)

    @staticmethod
    def _checked(function: str, result: int) -> int:
        if result < 0:
            raise OSError(ctypes.get_errno(), function)
        return result
