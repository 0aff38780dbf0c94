"""One process that the agent runs for the host: a command, or a Python function in a fork of the agent itself."""

from __future__ import annotations

import errno
import fcntl
import importlib
import json
import os
import pty
import selectors
import signal
import struct
import sys
import termios
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from harness.errors import NfharnessError, described
from harness.wire import WINDOW

__all__ = ("ERROR_STATUS", "Child", "Spare", "start")

#: Exit status of a Python task that ended in an NfharnessError; the last line of its stderr is that error as JSON.
ERROR_STATUS = 120


@dataclass(slots=True)
class Child:
    """A running process and its streams.

    :param fds: channel → our end; 0 stdin, 1 stdout (a terminal's only one), 2 stderr
    :param credit: channel → bytes that may still be sent to the host
    :param status: wait status once it has ended
    :param left: channel → bytes that lay in its pipe when it had ended
    """

    stream: int
    pid: int
    fds: dict[int, int]
    terminal: bool
    credit: dict[int, int] = field(default_factory=lambda: {1: WINDOW, 2: WINDOW})
    pending: bytearray = field(default_factory=bytearray)
    stdin_ended: bool = False
    status: int | None = None
    left: dict[int, int] = field(default_factory=dict)
    drained: set[int] = field(default_factory=set)
    _watched: dict[int, int] = field(default_factory=dict)

    def watch(self, selector: selectors.BaseSelector, *, room: bool) -> None:
        """Register just what can make progress now; close stdin once its end has been passed on."""
        if self.stdin_ended and not self.pending and 0 in self.fds:
            self.hang_up(selector, 0)
        wanted: dict[int, tuple[int, int]] = {}
        for channel, fd in self.fds.items():
            events = selectors.EVENT_READ if channel and room and self.may_read(channel) else 0
            if channel == 0 and self.pending:
                events = selectors.EVENT_WRITE
            if events:
                wanted[fd] = (events, channel)
        for fd in [fd for fd in self._watched if fd not in wanted]:
            selector.unregister(fd)
            del self._watched[fd]
        for fd, (events, channel) in wanted.items():
            if fd not in self._watched:
                selector.register(fd, events, (self, channel))
                self._watched[fd] = events

    def may_read(self, channel: int) -> bool:
        """Whether there may be output that the host has room for."""
        return channel in self.fds and channel not in self.drained and self.credit[channel] > 0

    def is_drained(self) -> bool:
        """Whether nothing that the process itself wrote is left."""
        return all(channel in self.drained for channel in self.fds if channel)

    def end(self, status: int) -> None:
        """Note that the process has ended. What lies in its pipes now is its output; what its children write later is not.

        :param status: its exit status, minus the signal's number if one ended it
        """
        self.status = status
        if not self.terminal:
            for channel in self.fds.keys() - {0}:
                (self.left[channel],) = struct.unpack("i", fcntl.ioctl(self.fds[channel], termios.FIONREAD, bytes(4)))

    def read(self, channel: int, limit: int) -> bytes | None:
        """Read some output; empty at its end; ``None`` if there is none now."""
        if channel in self.left:
            limit = min(limit, self.left[channel])
        try:
            data = os.read(self.fds[channel], min(limit, self.credit[channel]))
        except BlockingIOError:
            return None
        except OSError:  # EIO: the other end of a terminal is closed
            data = b""
        self.credit[channel] -= len(data)
        if channel in self.left:
            self.left[channel] -= len(data)
        if not data:
            self.drained.add(channel)
        return data

    def feed(self, data: bytes) -> None:
        """Input from the host; empty for its end."""
        self.pending += data
        if not data and self.terminal:
            self.pending += b"\x04"
        elif not data:
            self.stdin_ended = True

    def write_pending(self) -> int:
        """Pass on some input; returns how many bytes need not be kept any more."""
        try:
            written = os.write(self.fds[0], self.pending)
        except BlockingIOError:
            return 0
        except OSError:  # EPIPE: nobody reads it any more
            written = len(self.pending)
        del self.pending[:written]
        return written

    def kill(self, number: int) -> None:
        """Send a signal to the process group."""
        if self.status is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def resize(self, rows: int, columns: int) -> None:
        """Change the terminal's size."""
        if self.terminal:
            fcntl.ioctl(self.fds[1], termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def hang_up(self, selector: selectors.BaseSelector, channel: int) -> None:
        """Close our end of *channel*: the process reads the end of its input, or gets EPIPE."""
        fd = self.fds.pop(channel, None)
        if fd is not None:
            if self._watched.pop(fd, None):
                selector.unregister(fd)
            os.close(fd)

    def close(self, selector: selectors.BaseSelector) -> None:
        """Let go of every descriptor."""
        for fd in self._watched:
            selector.unregister(fd)
        for fd in set(self.fds.values()):
            os.close(fd)
        self.fds.clear()


@dataclass(frozen=True, slots=True)
class Spare:
    """A fork of the agent that waits for a Python task. One is made before a template is saved: a restored guest's first task
    then needs no fork, which copies the agent's page tables while nothing is in any cache yet.

    :param request: where it reads what to run
    """

    pid: int
    fds: dict[int, int]
    request: int

    @classmethod
    def make(cls, *, close: Sequence[int]) -> Spare:
        """Fork one.

        :param close: descriptors of the agent that it must not keep
        """
        fds, ends = _pipes()
        request_r, request_w = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            _end_with(lambda: _wait_for_task(request_r, ends, [*close, request_w, *fds.values()]))
        for fd in (*ends, request_r):
            os.close(fd)
        return cls(pid, fds, request_w)

    def start(self, stream: int, request: dict[str, Any]) -> Child:
        """Give it a Python task."""
        with os.fdopen(self.request, "wb") as pipe:
            pipe.write(json.dumps(request).encode())
        for fd in self.fds.values():
            os.set_blocking(fd, False)
        return Child(stream, self.pid, self.fds, terminal=False)

    def dismiss(self) -> None:
        """Let the spare process end unused: it would run code that has been replaced."""
        for fd in (self.request, *self.fds.values()):
            os.close(fd)


def start(stream: int, request: dict[str, Any], *, close: Sequence[int]) -> Child:
    """Start what an OPEN frame asks for.

    :param request: ``argv`` or ``python`` ("module:function") with ``args``; ``env``, ``cwd``; ``terminal`` as [rows, columns]
    :param close: descriptors of the agent that the child must not keep
    :raises OSError: the command cannot be run
    """
    terminal = request.get("terminal")
    if terminal:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *terminal, 0, 0))
        fds, ends = {0: os.dup(ours), 1: ours}, (theirs, theirs, theirs)
    else:
        fds, ends = _pipes()
    report_r, report_w = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become(request, ends, report_w, [*close, report_r, *fds.values()])
    for fd in {*ends, report_w}:
        os.close(fd)
    with os.fdopen(report_r, "rb") as report:
        failure = report.read()
    if failure:
        for fd in fds.values():
            os.close(fd)
        raise OSError(*json.loads(failure))
    for fd in fds.values():
        os.set_blocking(fd, False)
    return Child(stream, pid, fds, bool(terminal))


def _pipes() -> tuple[dict[int, int], tuple[int, int, int]]:
    """Three pipes: our ends by channel, and the child's ends."""
    (in_r, in_w), (out_r, out_w), (err_r, err_w) = (os.pipe2(os.O_CLOEXEC) for _ in range(3))
    return {0: in_w, 1: out_r, 2: err_r}, (in_r, out_w, err_w)


def _settle(ends: Sequence[int], close: Sequence[int]) -> None:
    """Give the child a session, put its streams in their places, and close what is the agent's."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    for target, fd in enumerate(ends):
        os.dup2(fd, target)
    for fd in {*close, *(fd for fd in ends if fd > 2)}:
        os.close(fd)


def _end_with(life: Callable[[], int]) -> NoReturn:
    """End this process, a fork of the agent, with the status that *life* returns: nothing that it raises unwinds into the agent's loop."""
    status = 1
    try:
        status = life() & 0xFF  # as the kernel takes it; Python's _exit() raises where it is no C int
    except BaseException:
        with suppress(OSError):
            os.write(2, traceback.format_exc().encode(errors="backslashreplace"))
    finally:
        os._exit(status)


def _wait_for_task(request: int, ends: Sequence[int], close: Sequence[int]) -> int:
    """A spare's life; its exit status."""
    _settle(ends, close)
    with os.fdopen(request, "rb") as pipe:
        text = pipe.read()
    return _run_python(json.loads(text)) if text else 0


def _become(request: dict[str, Any], ends: tuple[int, int, int], report: int, close: Sequence[int]) -> NoReturn:
    """The rest of the child's life."""
    try:
        _settle(ends, close)
        if request.get("terminal"):
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if "argv" in request:
            for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            os.environ.update(request.get("env") or {})
            os.chdir(request.get("cwd") or "/root")
            if not any(request["argv"][:1]):  # execvp(3) says so; Python's looks for it in each directory of the PATH
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            os.execvp(request["argv"][0], request["argv"])  # noqa: S606
        os.close(report)
    except BaseException as error:
        # Not only what execve() says: Python's refuses a NUL in an argument, and "=" in the name of a variable, with a ValueError.
        code = error.errno if isinstance(error, OSError) and error.errno else errno.EINVAL
        why = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        os.write(report, json.dumps([code, why]).encode())
        os._exit(127)
    _end_with(lambda: _run_python(request))


def _status_of(end: SystemExit) -> int:
    """What Python makes of ``sys.exit()``: a text goes to standard error, with status 1."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


def _run_python(request: dict[str, Any]) -> int:
    """Call the function; its exit status."""
    sys.stdin, sys.stdout = os.fdopen(0, "r"), os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace")  # as Python has it: an error may say what is no text
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        os.environ.update(request.get("env") or {})
        module, _, function = request["python"].partition(":")
        status = getattr(importlib.import_module(module), function)(*request.get("args", [])) or 0
    except NfharnessError as error:
        print(json.dumps(described(error)), file=sys.stderr)
        status = ERROR_STATUS
    except KeyboardInterrupt:
        status = 130
    except SystemExit as error:
        status = _status_of(error)
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the latter: the task has closed it
            stream.flush()
    return int(status)
