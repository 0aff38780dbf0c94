"""Hooks that come and go on one processor while another one sends packets through their point."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from harness.errors import GuestError
from harness.guest.netns import Namespace
from harness.guest.traffic import cookie_of, payload
from harness.trace.capture import Capture
from harness.walks.events import Call, Entry

__all__ = ("PORT", "ChurnSender", "ChurnSink", "calls_of", "on_processor")

#: Where the datagrams go.
PORT = 4009
_SO_RCVBUFFORCE, _RECEIVE_BYTES = 33, 16 << 20
_SECONDS = 30.0
_POLL_SECONDS = 0.002


class ChurnSink:
    """Takes the datagrams. A context."""

    def __init__(self, netns: Namespace) -> None:
        with netns.inside():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
        self._socket.bind(("", PORT))

    def __enter__(self) -> ChurnSink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def arrived(self, count: int) -> list[int]:
        """The cookies that have arrived, as soon as there are *count* of them, else when the time is up."""
        found = self.take()
        deadline = time.monotonic() + _SECONDS
        while len(found) < count and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            found += self.take()
        return found

    def take(self) -> list[int]:
        """The cookies that the socket has now."""
        found: list[int] = []
        with suppress(BlockingIOError):
            while True:
                cookie = cookie_of(self._socket.recv(1 << 12))
                if cookie is not None:
                    found.append(cookie)
        return found


@dataclass(slots=True)
class ChurnSender:
    """A process that sends some datagrams whenever it is told to.

    :ivar sent: those that ``sendto()`` took
    """

    pid: int
    tell: int
    told: int
    sent: int = 0

    @classmethod
    def start(cls, netns: Namespace, to: str, cookies: Sequence[int]) -> ChurnSender:
        """Fork it; it has its own processor where there are two."""
        (order, tell), (told, answer) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            os.close(tell)  # or its own end would keep it waiting
            _send(netns, to, cookies, order, answer)
        os.close(order)
        os.close(answer)
        return cls(pid, tell, told)

    def go(self, count: int) -> None:
        """Let the sender send *count* packets, and return at once."""
        os.write(self.tell, count.to_bytes(4, "little"))

    def done(self) -> bool:
        """Whether it has sent them.

        :raises GuestError: it died
        """
        if not select.select([self.told], [], [], 0)[0]:
            return False
        answer = os.read(self.told, 4)
        if not answer:
            raise GuestError("the sender died", hint="look at the guest's log")
        self.sent += int.from_bytes(answer, "little")
        return True

    def end(self) -> None:
        """Let the sender end, and wait until it has."""
        for fd in (self.tell, self.told):
            os.close(fd)
        os.waitpid(self.pid, 0)


def _send(netns: Namespace, to: str, cookies: Sequence[int], order: int, answer: int) -> None:
    """The rest of the sender's life."""
    try:
        with netns.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, on_processor(-1):
            left = iter([payload(32, cookie) for cookie in cookies])
            while count := int.from_bytes(os.read(order, 4), "little"):
                sent = 0
                for _ in range(count):
                    try:
                        sender.sendto(next(left), (to, PORT))
                    except OSError:
                        continue
                    sent += 1
                os.write(answer, sent.to_bytes(4, "little"))
    finally:
        os._exit(0)


@contextmanager
def on_processor(which: int) -> Iterator[None]:
    """Run the block on one of the processors: 0 the first one, -1 the last."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[which]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def calls_of(capture: Capture, inum: int, pf: int, hook: int, cookies: Collection[int]) -> list[list[int]]:
    """The ids of our hooks that were called in each traversal of a point by one of these packets."""
    runs: dict[int, list[int]] = {}
    for event in capture.events():
        if isinstance(event, Entry) and (event.netns, event.pf, event.hook) == (inum, pf, hook) and cookie_of(event.tail) in cookies:
            runs[event.traversal] = []
        elif isinstance(event, Call) and event.traversal in runs and event.hook_id is not None:
            runs[event.traversal].append(event.hook_id)
    return list(runs.values())
