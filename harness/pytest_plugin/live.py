"""What a guest's tests print: kept for a failure, test by test, and with ``pytest -s`` shown as it comes."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ("BEGINS", "Live", "is_live", "shower")

#: What a guest writes before each test's output.
BEGINS = b"\0nfharness: a test begins\0"
Show = Callable[[bytes], None]


def is_live(capture: str) -> bool:
    """Whether pytest's ``--capture`` wants output to be seen at once."""
    return capture in ("no", "tee-sys")


def shower(config: pytest.Config) -> Show | None:
    """What shows output; ``None`` if nothing is to be shown. One of several workers puts its name before each line."""
    if not is_live(config.getoption("capture")):
        return None
    worker = getattr(config, "workerinput", {}).get("workerid")
    return _Lines(f"[{worker}] ".encode()).show if worker else _show


def _show(data: bytes) -> None:
    sys.stdout.flush()
    os.write(1, data)


class _Lines:
    """Whole lines with a name, on standard error: a worker of xdist has no other output."""

    def __init__(self, name: bytes) -> None:
        self._name, self._rest = name, b""

    def show(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data and self._rest:
            lines, self._rest = [self._rest], b""
        if lines:
            os.write(2, b"".join(self._name + line + b"\n" for line in lines))


class Live(threading.Thread):
    """Reads what comes through a FIFO until the last writer has closed it.

    :param fifo: is made
    :param file: gets what came since the last test began
    :param show: takes all of it piece by piece, and an empty one at the end
    """

    def __init__(self, fifo: Path, file: Path, show: Show | None) -> None:
        super().__init__(daemon=True)
        os.mkfifo(fifo)
        self._fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._file, self._show = file, show
        self.start()

    def run(self) -> None:
        """Read the pipe until no process holds its other end; show what comes, and write it to the file."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        with self._file.open("wb", buffering=0) as file:
            data, rest = b"-", b""
            while data:
                poll.poll()  # before there is a writer this waits; when there is none any more it does not
                data = os.read(self._fd, 1 << 16)
                *before, last = (rest + data).split(BEGINS)
                rest = _begun(last) if data else b""
                last = last.removesuffix(rest)
                if before:
                    file.seek(0)
                    file.truncate()
                file.write(last)
                if self._show and (shown := b"".join((*before, last))):
                    self._show(shown)
        if self._show:
            self._show(b"")
        os.close(self._fd)


def _begun(data: bytes) -> bytes:
    """The end of *data* with which :data:`BEGINS` may begin."""
    return next((BEGINS[:length] for length in range(len(BEGINS) - 1, 0, -1) if data.endswith(BEGINS[:length])), b"")
