"""A terminal for the command line, and somebody who types."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from typing import Any

from tests.e2e.conftest import DEADLINE_S, CommandLine

__all__ = ("Terminal",)


class Terminal:
    """A terminal with ``nfharness shell`` in it.

    :param arguments: of that
    """

    def __init__(self, nfharness: CommandLine, *arguments: str) -> None:
        self.ours, self.theirs = pty.openpty()
        self._shown = b""
        self.resize(33, 101)
        self.before = self.settings()
        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), self.theirs)
        self.process: subprocess.Popen[bytes] = nfharness.start("shell", *arguments, preexec_fn=self._take, **streams)

    def _take(self) -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def settings(self) -> list[Any]:
        return termios.tcgetattr(self.theirs)

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def until(self, wanted: bytes) -> bytes:
        """What is shown up to *wanted*; what comes after it is for the next call."""
        end = time.monotonic() + DEADLINE_S
        while wanted not in self._shown:
            assert time.monotonic() < end, f"no {wanted!r} in {self._shown!r}"
            if select.select([self.ours], [], [], 0.1)[0]:
                self._shown += os.read(self.ours, 4096)
        before, _, self._shown = self._shown.partition(wanted)
        return before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for fd in (self.ours, self.theirs):
            os.close(fd)
