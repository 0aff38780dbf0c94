"""A shell in the guest, in the very process tree and namespaces of a test that failed (``--shell-on-failure``): the guest's end of it."""

from __future__ import annotations

import fcntl
import os
import platform
import select
import struct
import subprocess
import termios
import threading
from contextlib import suppress
from typing import Any

import execnet

__all__ = ("Shell",)


class Shell:
    """Offers the host a shell, and runs it if the host's user is to have it.

    :param channel: to the host. What it carries there: a failed report as a dictionary, the shell's output as bytes, empty bytes at its
        end. What it carries here: the terminal (rows, columns, ``TERM``), or ``None`` for "no shell"; then keys as bytes, another size as
        (rows, columns), and ``None`` once the host has seen the end
    """

    def __init__(self, channel: execnet.Channel) -> None:
        self._channel = channel

    def offered(self, report: dict[str, Any]) -> bool:
        """Offer a shell for a failure; when this returns it has ended.

        :param report: of the phase that failed, as pytest serialises it
        :returns: whether there was one
        """
        self._channel.send(report)
        wanted = self._channel.receive()
        if wanted is None:
            return False
        rows, columns, term = wanted
        ours, theirs = os.openpty()
        try:
            _resize(ours, rows, columns)
            environment = {**os.environ, "TERM": term, "PS1": f"{platform.release()}:\\w# "}
            # setsid takes the terminal: Ctrl-C is for what runs in the shell.
            shell = subprocess.Popen(["setsid", "--ctty", "bash", "--norc"], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
            os.close(theirs)
            showing = threading.Thread(target=self._show, args=(ours, shell.pid))
            showing.start()
            while (keys := self._channel.receive()) is not None:
                if isinstance(keys, bytes):
                    with suppress(OSError):  # EIO: the shell has just ended
                        os.write(ours, keys)
                else:
                    _resize(ours, *keys)
            showing.join()
            shell.wait()
        finally:
            os.close(ours)
        return True

    def _show(self, ours: int, pid: int) -> None:
        """Send what the terminal shows until the shell has ended: its background jobs may live on, with the terminal open."""
        shell = os.pidfd_open(pid)
        ended = False
        while not ended:
            ready = select.select([ours, shell], [], [])[0]
            ended = shell in ready
            try:
                data = os.read(ours, 1 << 16) if ours in ready else b""
            except OSError:  # EIO: nothing has its other end open
                data, ended = b"", True
            if data:
                self._channel.send(data)
        os.close(shell)
        self._channel.send(b"")


def _resize(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
