"""A TCP connection between two hosts of a lab, and the walks of its packets."""

from __future__ import annotations

import errno
import fcntl
import os
import selectors
import socket
import struct
import termios
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

from harness.guest.traffic import be_transparent, family_of
from harness.netfilter import errno_name
from harness.outcome import describe
from harness.outcome.fate import Fate
from harness.pytest_plugin.networks import Host
from harness.pytest_plugin.walks import Walk
from harness.walks.summary import transport_of

__all__ = ("Exchange", "TcpConnection", "connection_of", "exchanged")

_IPV4, _IPV6, _TCP = 0x0800, 0x86DD, 6
_CHUNK = 1 << 16
_ABORT = struct.pack("ii", 1, 0)
_INT = struct.Struct("i")


@dataclass(slots=True)
class Exchange:
    """What the two ends of a connection saw of it.

    :param data: that the client is to send
    :param errno: what the client's socket failed with; ETIMEDOUT if nothing moved for too long; 0 for nothing
    :param client: the client's own address and port
    :param host: where a server of the lab's accepted it; ``None`` if none did
    :param source: the client's address and port as that server has them
    :param destination: the server's own address and port
    :param received: bytes that this server got
    :param reply: bytes that the client got
    :param is_complete: whether all bytes came: this server and the client have them; of another server, its kernel acknowledged them
    """

    data: bytes
    errno: int = 0
    client: tuple[str, int] = ("", 0)
    host: Host | None = None
    source: tuple[str, int] | None = None
    destination: tuple[str, int] | None = None
    received: bytes = b""
    reply: bytes = b""
    is_complete: bool = False


@dataclass(frozen=True, repr=False, eq=False)
class TcpConnection:
    """A TCP connection: what became of it, and of its packets.

    :param fate: ``Delivered()`` if the connection was made and all bytes came, else the fate of its first packet that was not delivered
    :param errno: what the client's socket failed with; ETIMEDOUT if nothing moved for too long; 0 for nothing
    :param host: where a server of the lab's accepted it; ``None`` if none did
    :param source: the client's address and port as that server has them: NAT may have changed them
    :param destination: the server's own address and port: NAT may have led the client here
    :param received: bytes that this server got
    :param reply: bytes that the client got
    :param there: walks of the client's packets, in order
    :param back: walks of the packets to the client, in order
    :param answers: walks of the resets and ICMP errors that answer a packet of the connection; a reset is among *there* or *back*, too
    """

    fate: Fate
    errno: int
    host: Host | None
    source: tuple[str, int] | None
    destination: tuple[str, int] | None
    received: bytes
    reply: bytes
    there: tuple[Walk, ...]
    back: tuple[Walk, ...]
    answers: tuple[Walk, ...]

    @property
    def walks(self) -> list[Walk]:
        """The walks of all its packets, and of the answers to them, in order."""
        return _in_order((*self.there, *self.back, *self.answers))

    def __repr__(self) -> str:
        failed = f", {errno_name(self.errno)}" if self.errno else ""
        packets = f"{len(self.there)} packets there, {len(self.back)} back, {len(self.answers)} answers"
        return f"<connection {describe.fate(self.fate)}{failed}: {packets}; bytes: {len(self.received)} there, {len(self.reply)} back>"


class _End:
    """One end's socket: what it is still to write, and what it has read. It closes its direction when all is written.

    :param writes_first: else it writes when the other end has closed its direction
    """

    def __init__(self, connected: socket.socket, to_write: bytes, *, writes_first: bool) -> None:
        self.socket = connected
        self.got = bytearray()
        self.errno = 0
        self._to_write = memoryview(to_write)
        self._phases = [self._write, self._read] if writes_first else [self._read, self._write]
        self.wants = selectors.EVENT_WRITE if writes_first else selectors.EVENT_READ

    @property
    def is_done(self) -> bool:
        return not self._phases

    @property
    def is_acknowledged(self) -> bool:
        """Whether the other end's kernel has acknowledged all that was written (``SIOCOUTQ``)."""
        waiting, = _INT.unpack(fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(_INT.size)))
        return not self.errno and self._write not in self._phases and not waiting

    def go_on(self) -> None:
        """Write or read as much as is possible now."""
        try:
            if self._phases[0]():
                del self._phases[0]
                self.wants = selectors.EVENT_READ if self._phases == [self._read] else selectors.EVENT_WRITE
        except BlockingIOError:
            pass
        except OSError as error:
            self.errno = error.errno or 0
            self._phases = []

    def abort(self) -> None:
        """Let the socket end with a reset, and not go on trying behind the test's back."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)

    def _write(self) -> bool:
        failed = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, os.strerror(failed))
        if self._to_write:
            self._to_write = self._to_write[self.socket.send(self._to_write):]
        if not self._to_write:
            self.socket.shutdown(socket.SHUT_WR)
        return not self._to_write

    def _read(self) -> bool:
        found = self.socket.recv(_CHUNK)
        self.got += found
        return not found


def exchanged(client: Host, address: str, port: int, *, data: bytes, answer: bytes, servers: Mapping[Host, Mapping[int, bool]],
              timeout: float, goes_on: Callable[[], bool]) -> Exchange:
    """Make a connection, and let each end send its bytes and close.

    :param servers: ports on which servers of the lab's listen, by host, each with whether tproxy leads there; one that is taken is left
        to the test's own server
    :param timeout: seconds in which something has to move; then both ends give up
    :param goes_on: is asked now and then; whether something else than the two ends has still to do with a packet
    """
    seen = Exchange(data)
    with ExitStack() as stack:
        waiting = stack.enter_context(selectors.DefaultSelector())
        for host, ports in servers.items():
            for server in filter(None, (_server(host, family_of(address), one, transparent=led) for one, led in ports.items())):
                waiting.register(stack.enter_context(server), selectors.EVENT_READ, host)
        with client.inside():
            opened = stack.enter_context(socket.socket(family_of(address), socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK))
        own, accepted = _End(opened, data, writes_first=True), None
        seen.errno = opened.connect_ex((address, port))
        seen.client = opened.getsockname()[:2]
        if seen.errno in (0, errno.EINPROGRESS):
            waiting.register(opened, own.wants, own)
            accepted = _until_done(waiting, own, answer, seen, stack, timeout=timeout, goes_on=goes_on)
            seen.reply, seen.received = bytes(own.got), bytes(accepted.got) if accepted else b""
            seen.is_complete = own.is_acknowledged and (accepted is None or (
                accepted.is_done and seen.received == data and seen.reply == answer))
            seen.errno = own.errno or (0 if seen.is_complete else errno.ETIMEDOUT)
        if not seen.is_complete:
            for end in filter(None, (own, accepted)):
                end.abort()
    return seen


def _until_done(waiting: selectors.DefaultSelector, own: _End, answer: bytes, seen: Exchange, stack: ExitStack, *,
                timeout: float, goes_on: Callable[[], bool]) -> _End | None:
    """Let the ends go on until both are done, the client has failed, or nothing moves any more.

    :returns: the end that a server of the lab's accepted
    """
    accepted: _End | None = None
    while not own.errno and not (own.is_done and (accepted is None or accepted.is_done)):
        ready = waiting.select(timeout)
        if not goes_on() and not ready:
            break
        for key, _ in ready:
            if isinstance(key.data, _End):
                _go_on(waiting, key.data)
            elif isinstance(key.fileobj, socket.socket):
                taken, source = key.fileobj.accept()
                seen.host, seen.source, seen.destination = key.data, source[:2], taken.getsockname()[:2]
                taken.setblocking(False)
                accepted = _End(stack.enter_context(taken), answer, writes_first=False)
                waiting.register(taken, accepted.wants, accepted)
    return accepted


def _go_on(waiting: selectors.DefaultSelector, end: _End) -> None:
    end.go_on()
    if end.is_done:
        waiting.unregister(end.socket)
    else:
        waiting.modify(end.socket, end.wants, end)


def _server(host: Host, family: socket.AddressFamily, port: int, *, transparent: bool) -> socket.socket | None:
    """A socket that listens; ``None`` where a server of the test's does already."""
    with host.inside():
        server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if transparent:
            be_transparent(server)
        server.bind(("", port))
        server.listen()
    except OSError as error:
        server.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return server


class _Segment(NamedTuple):
    """A TCP segment's header.

    :param source: address and port, packed
    :param destination: address and port, packed
    :param acknowledges: the sequence number; ``None`` without ACK
    """

    source: bytes
    destination: bytes
    sequence: int
    acknowledges: int | None


def _segments(walk: Walk) -> Iterator[_Segment]:
    """The header of a TCP segment as it was at each hook point: NAT changes it."""
    for traversal in walk.outcome.traversals if walk.outcome.kind == "tcp" else ():
        head = traversal.head
        version6 = head[0] >> 4 == 6
        number, segment, _ = transport_of(_IPV6 if version6 else _IPV4, head)
        if number == _TCP and len(segment) >= 14:
            first, middle, last = (8, 24, 40) if version6 else (12, 16, 20)
            yield _Segment(head[first:middle] + segment[:2], head[middle:last] + segment[2:4], int.from_bytes(segment[4:8]),
                           int.from_bytes(segment[8:12]) if segment[13] & 0x10 else None)


def connection_of(seen: Exchange, walks: Sequence[Walk]) -> TcpConnection:
    """A connection with those of a block's walks that are its own.

    A packet is the client's if it has the client's address and port as its source at a hook point. It is one to the client if it has them
    as its destination, or acknowledges one of the client's sequence numbers: behind NAT the client has another address.
    """
    client = ip_address(seen.client[0]).packed + seen.client[1].to_bytes(2)
    there = [walk for walk in walks if any(segment.source == client for segment in _segments(walk))]
    begin = next((segment.sequence for walk in there for segment in _segments(walk)), None)
    room = len(seen.data) + 2  # SYN and FIN have a sequence number each

    def comes_back(segment: _Segment) -> bool:
        acknowledges = begin is not None and segment.acknowledges is not None and (segment.acknowledges - begin) % 2**32 <= room
        return segment.destination == client or acknowledges

    back = [walk for walk in walks if walk not in there and any(map(comes_back, _segments(walk)))]
    numbered = {walk.outcome.number: walk for walk in walks}
    answers = _in_order(numbered[answer.outcome.number] for walk in (*there, *back) for answer in walk.answers)
    fate = _fate(seen, _in_order((*there, *back)))
    return TcpConnection(fate, seen.errno, seen.host, seen.source, seen.destination, seen.received, seen.reply, tuple(there),
                         tuple(back), tuple(answers))


def _in_order(walks: Iterable[Walk]) -> list[Walk]:
    found = {walk.outcome.number: walk for walk in walks}
    return [found[number] for number in sorted(found)]


def _fate(seen: Exchange, walks: Sequence[Walk]) -> Fate:
    """The fate is a walk's own object where it can be: a comparison that fails shows that walk."""
    if seen.is_complete:
        return next((walk.fate for walk in walks if walk.fate.kind == "delivered"), Fate("delivered"))
    failed = next((walk.fate for walk in walks if walk.fate.kind not in ("delivered", "segmented")), None)
    if failed:
        return failed
    what = "every packet of it that was seen was delivered" if walks else "no packet of it was seen"
    return Fate("unknown", reason=f"{errno_name(seen.errno)}, and {what}")
