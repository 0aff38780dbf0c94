"""A terminal for the command line, and a person who types."""

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
    """A terminal with a command of nfharness's in it.

    :param arguments: the command, and its own
    """

    def __init__(self, nfharness: CommandLine, *arguments: str) -> None:
        self.ours, self.theirs = pty.openpty()
        self._shown = b""
        self.resize(33, 101)
        self.before = self.settings()
        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), self.theirs)
        self.process: subprocess.Popen[bytes] = nfharness.start(*arguments, preexec_fn=self._take, **streams)

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
            ended = self.process.poll() is not None
            if select.select([self.ours], [], [], 0.1)[0]:
                self._shown += os.read(self.ours, 4096)
            else:
                assert not ended, f"it ended with {self.process.returncode}, and no {wanted!r} in {self._shown!r}"
        before, _, self._shown = self._shown.partition(wanted)
        return before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for fd in (self.ours, self.theirs):
            os.close(fd)
