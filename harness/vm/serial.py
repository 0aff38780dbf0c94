"""A guest's serial console while it lives: in a file that nobody sweeps meanwhile, and its end in memory, whatever becomes of the file."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from harness.host.paths import run_dir
from harness.vm import console

__all__ = ("Serial", "keep_latest")

_KEPT = 1 << 18
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Serial:
    """What one guest writes to its console.

    :param file: gets all of it; by default a new one, below :func:`harness.host.paths.run_dir`
    :ivar whole: whether the file has got all of it: not on a disk that is full
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.whole = True
        self._tail = bytearray()
        self._ours: socket.socket | None = None
        self._fd = -1
        try:
            self._open()
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self.whole = False

    def _open(self) -> None:
        if self.file is None:
            directory = run_dir() / "consoles"
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd, name = tempfile.mkstemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), suffix=".log", dir=directory)
            self.file = Path(name)
        else:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def connect(self) -> socket.socket:
        """Begin to listen.

        :returns: the end to write to
        """
        self._ours, theirs = socket.socketpair()
        self._ours.setblocking(False)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        asyncio.get_running_loop().add_reader(self._ours, self._take)
        return theirs

    def _take(self) -> None:
        """Keep what has been written; stop listening at its end."""
        if self._ours is None:
            return
        try:
            while data := self._ours.recv(1 << 16):
                self._keep(data)
        except BlockingIOError:
            return
        except OSError:
            pass
        self._stop()

    def _keep(self, data: bytes) -> None:
        self._tail += data
        del self._tail[:-_KEPT]
        try:
            self.whole &= self._fd >= 0 and os.write(self._fd, data) == len(data)
        except OSError:
            self.whole = False

    def _stop(self) -> None:
        if self._ours is not None:
            asyncio.get_running_loop().remove_reader(self._ours)
            self._ours.close()
            self._ours = None

    def text(self) -> str:
        """The end of what was written so far."""
        self._take()
        return console.cleaned(bytes(self._tail))

    @property
    def see(self) -> str:
        """The words of a hint: the file with the whole console, or what to do if the file is incomplete."""
        return f"see {self.file}" if self.whole else "make room for all of the console: the disk was full under NFHARNESS_STATE"

    def close(self) -> None:
        """Listen no more; from now on the file may be swept."""
        self._take()
        self._stop()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def keep_latest(count: int = 50) -> None:
    """Forget all consoles but the latest, and those of guests that live."""
    for old in sorted((run_dir() / "consoles").glob("*.log"))[:-count]:
        with suppress(OSError), old.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            old.unlink(missing_ok=True)
