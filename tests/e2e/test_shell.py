"""``nfharness shell`` is a terminal like any other, and puts ours back however it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import CommandLine


class Terminal:
    """A terminal with ``nfharness shell`` in it."""

    def __init__(self, nfharness: CommandLine) -> None:
        self.ours, self.theirs = pty.openpty()
        self._shown = b""
        self.resize(33, 101)
        self.before = self.settings()
        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), self.theirs)
        self.process: subprocess.Popen[bytes] = nfharness.start("shell", preexec_fn=self._take, **streams)

    def _take(self) -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def settings(self) -> list[Any]:
        return termios.tcgetattr(self.theirs)

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def until(self, wanted: bytes, deadline_s: float = 60) -> bytes:
        """What is shown up to *wanted*; what comes after it is for the next call."""
        end = time.monotonic() + deadline_s
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


@pytest.fixture
def terminal(nfharness: CommandLine) -> Iterator[Terminal]:
    opened = Terminal(nfharness)
    opened.until(b"# ")
    yield opened
    opened.close()


def test_it_is_a_terminal(terminal: Terminal) -> None:
    terminal.type(b"stty size; tty\n")
    assert b"33 101" in terminal.until(b"/dev/pts/")
    terminal.until(b"# ")
    terminal.resize(40, 120)
    terminal.type(b"until stty size | grep '40 120'; do sleep 0.1; done\n")
    terminal.until(b"\r40 120")
    terminal.until(b"# ")
    terminal.type(b"sh -c 'echo star\"\"ted; exec sleep 600'\n")
    terminal.until(b"started\r\n")
    terminal.type(b"\x03")
    terminal.until(b"# ")
    terminal.type(b"echo sta''tus $?\n")
    terminal.until(b"status 130")
    terminal.until(b"# ")
    terminal.type(b"\x04")
    assert terminal.process.wait(30) == 0
    assert terminal.settings() == terminal.before


def test_exit_status_is_the_shells(terminal: Terminal) -> None:
    terminal.type(b"exit 9\n")
    assert terminal.process.wait(30) == 9
    assert terminal.settings() == terminal.before


def test_a_guest_that_dies_gives_the_terminal_back(terminal: Terminal) -> None:
    terminal.type(b"echo c > /proc/sysrq-trigger\n")
    terminal.until(b"nfharness: error: the guest died: Kernel panic - not syncing: sysrq triggered crash")
    terminal.until(b"  mend: ")
    assert terminal.process.wait(30) == 125
    assert terminal.settings() == terminal.before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_gives_the_terminal_back(terminal: Terminal, number: signal.Signals) -> None:
    terminal.process.send_signal(number)
    assert terminal.process.wait(30) == 128 + number
    assert terminal.settings() == terminal.before
