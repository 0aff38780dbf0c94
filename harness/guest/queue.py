"""A listener on an NFQUEUE queue (``nfnetlink_queue``, ``include/uapi/linux/netfilter/nfnetlink_queue.h``), and the kernel's own books.

The bindings that there are for Python (netfilterqueue, fnfqueue) are extension modules over libraries that a guest would have to build;
neither can answer with STOP or with bits above the verdict, hear of a refused answer, or say how a queue is bound.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType

from harness.guest.genetlink import attribute, attributes
from harness.guest.netns import Namespace
from harness.guest.traffic import cookie_of
from harness.outcome.types import QueueState
from harness.scenario.steps.queue import Listen

__all__ = ("Listener", "Waiting", "queues")

_NETLINK_NETFILTER, _SO_RCVBUFFORCE = 12, 33
_REQUEST, _ACK, _ERROR = 0x01, 0x04, 2
_SUBSYS_QUEUE = 3
_PACKET, _VERDICT, _CONFIG = (_SUBSYS_QUEUE << 8 | message for message in range(3))
_BIND = 1
_FAIL_OPEN = 1
_COPY_MODES = {"none": 0, "meta": 1, "packet": 2}

_HEADER, _NFGEN, _INT = struct.Struct("=IHHII"), struct.Struct("!BBH"), struct.Struct("=i")
_COMMAND, _PARAMETERS, _U32 = struct.Struct("!BBH"), struct.Struct("!IB"), struct.Struct("!I")
_PACKET_HEADER, _VERDICT_HEADER = struct.Struct("!IHB"), struct.Struct("!II")
_RECEIVE, _RECEIVE_BUFFER = 1 << 18, 8 << 20
_BOOKS = "/proc/thread-self/net/netfilter/nfnetlink_queue"


class _Attribute(IntEnum):
    """``enum nfqnl_attr_type``, as far as it is used."""

    PACKET_HDR = 1
    VERDICT_HDR = 2
    PAYLOAD = 10


class _Setting(IntEnum):
    """``enum nfqnl_attr_config``."""

    CMD = 1
    PARAMS = 2
    QUEUE_MAXLEN = 3
    MASK = 4
    FLAGS = 5


@dataclass(frozen=True, slots=True)
class Waiting:
    """A packet that was queued and has not been answered.

    :param cookie: ``None`` if it carries none, or was not copied so far
    :param protocol: ``skb->protocol``, host order
    :param data: from the network header on, as far as it was copied
    """

    id: int
    cookie: int | None
    protocol: int = 0
    data: bytes = b""


class Listener:
    """Binds a queue. The namespace is that of the step, the socket stays in it.

    :raises OSError: EPERM: another socket listens to the queue
    """

    def __init__(self, netns: Namespace, step: Listen, *, timeout: float = 30.0) -> None:
        self._number = step.queue
        self._sequence = 0
        self._waiting: list[Waiting] = []
        self._last = 0
        with netns.inside():
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        try:
            self._socket.bind((0, 0))
            self._socket.settimeout(timeout)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
            self._config(_Setting.CMD, _COMMAND.pack(_BIND, 0, 0))
            self._config(_Setting.PARAMS, _PARAMETERS.pack(step.copy_range, _COPY_MODES[step.copy]))
            if step.maxlen is not None:
                self._config(_Setting.QUEUE_MAXLEN, _U32.pack(step.maxlen))
            if step.fail_open:
                flags = attribute(_Setting.FLAGS, _U32.pack(_FAIL_OPEN)) + attribute(_Setting.MASK, _U32.pack(_FAIL_OPEN))
                self._request(_CONFIG, flags)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, as a listener does that dies: the kernel drops what waits."""
        self._socket.close()

    def fileno(self) -> int:
        """The socket's descriptor, readable when the kernel has sent something."""
        return self._socket.fileno()

    def waiting(self) -> tuple[Waiting, ...]:
        """Packets that came and were not answered, oldest first; some may be gone, of which the kernel does not tell."""
        self._socket.setblocking(False)
        try:
            while True:
                for kind, _sequence, body in self._receive():
                    self._take(kind, body)
        except BlockingIOError:
            return tuple(self._waiting)
        finally:
            self._socket.settimeout(30.0)

    def answer(self, verdict: int, cookie: int | None = None) -> int:
        """Answer the oldest packet, or the one with *cookie*.

        :param verdict: what ``nf_reinject`` gets
        :returns: positive errno of the kernel's, 0 if it took the answer. ENOENT: no such packet waits
        """
        return self.answer_to(next((one for one in self.waiting() if cookie in (None, one.cookie)), Waiting(self._last + 1, None)), verdict)

    def answer_to(self, chosen: Waiting, verdict: int) -> int:
        """Answer a packet of :meth:`waiting`.

        :param verdict: as of :meth:`answer`, as is what is returned
        """
        try:
            self._request(_VERDICT, attribute(_Attribute.VERDICT_HDR, _VERDICT_HEADER.pack(verdict, chosen.id)))
        except OSError as error:
            # What the kernel does not know is gone; what it refuses to hear is still there.
            if error.errno == errno.ENOENT and chosen in self._waiting:
                self._waiting.remove(chosen)
            return error.errno or 0
        self._waiting.remove(chosen)
        return 0

    def _config(self, setting: _Setting, value: bytes) -> None:
        self._request(_CONFIG, attribute(setting, value))

    def _request(self, kind: int, body: bytes) -> None:
        """Send a request, wait for its ack.

        :raises OSError: the kernel refuses it; TimeoutError: it does not answer
        """
        self._sequence += 1
        payload = _NFGEN.pack(socket.AF_UNSPEC, 0, self._number) + body
        self._socket.send(_HEADER.pack(_HEADER.size + len(payload), kind, _REQUEST | _ACK, self._sequence, 0) + payload)
        while True:
            for found, sequence, data in self._receive():
                if found == _ERROR and sequence == self._sequence:
                    number = -_INT.unpack_from(data)[0]
                    if number:
                        raise OSError(number, os.strerror(number))
                    return
                self._take(found, data)

    def _take(self, kind: int, body: bytes) -> None:
        if kind == _PACKET:
            found = attributes(body[_NFGEN.size:])
            self._last, protocol, _hook = _PACKET_HEADER.unpack_from(found[_Attribute.PACKET_HDR])
            data = found.get(_Attribute.PAYLOAD, b"")
            self._waiting.append(Waiting(self._last, cookie_of(data), protocol, data))

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        """Kind, sequence number and body of each message."""
        data, at = self._socket.recv(_RECEIVE), 0
        while at + _HEADER.size <= len(data):
            length, kind, _flags, sequence, _port = _HEADER.unpack_from(data, at)
            yield kind, sequence, data[at + _HEADER.size:at + length]
            at += (length + 3) & ~3


def queues(netns: Namespace) -> tuple[tuple[int, QueueState], ...]:
    """The kernel's books of the queues of a namespace that have a listener, by their numbers."""
    with netns.inside():
        lines = Path(_BOOKS).read_text().splitlines()
    found = []
    for line in lines:
        number, _port, total, _mode, _range, dropped, user_dropped, sequence, _one = map(int, line.split())
        found.append((number, QueueState(total, dropped, user_dropped, sequence)))
    return tuple(sorted(found, key=lambda queue: queue[0]))
