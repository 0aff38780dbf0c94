"""A small synchronous netlink socket: generic netlink, and what else shares its shape.

pyroute2 drops the kernel's extended-ack text and takes milliseconds for a request. Hooks are registered by the thousand, and what a
test wants of a refusal is its reason.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Self

__all__ = ("DumpInterrupted", "GenericNetlink", "Netlink", "NetlinkRefused", "attribute", "attributes", "each_attribute")

_NETLINK_GENERIC, _SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 16, 270, 10, 11
_TIMEVAL = struct.Struct("@ll")
_REQUEST, _ACK, _DUMP = 0x01, 0x04, 0x300
_DUMP_INTR, _CAPPED, _ACK_TLVS = 0x10, 0x100, 0x200
_ERROR, _DONE = 2, 3
_EXTACK_TEXT, _EXTACK_OFFSET = 1, 2
_GENL_ID_CTRL, _CTRL_GETFAMILY, _CTRL_FAMILY_ID, _CTRL_FAMILY_NAME = 16, 3, 1, 2
_TYPE_MASK = 0x3FFF

_HEADER, _GENL, _ATTRIBUTE, _INT = struct.Struct("=IHHII"), struct.Struct("=BBH"), struct.Struct("=HH"), struct.Struct("=i")
#: Bytes of a message at most. For each dump the kernel makes a buffer of as many as it was last asked for, and clears it.
_RECEIVE = 15 << 10
#: Requests in one send: their acks must fit the socket's receive buffer.
_BATCH = 64


class NetlinkRefused(OSError):
    """The kernel refused a request.

    :ivar reason: its extended-ack text, empty if it gave none
    :ivar attribute: type of the attribute that it complained about, if it named one
    """

    def __init__(self, number: int, reason: str = "", attribute: int | None = None) -> None:
        super().__init__(number, f"{os.strerror(number)}: {reason}" if reason else os.strerror(number))
        self.reason = reason
        self.attribute = attribute


class DumpInterrupted(OSError):
    """What was listed changed while it was (``NLM_F_DUMP_INTR``): ask again."""

    def __init__(self) -> None:
        super().__init__(errno.EINTR, "the dump was interrupted by a change")


class _Message(NamedTuple):
    kind: int
    flags: int
    sequence: int
    body: bytes


class _Request(NamedTuple):
    sequence: int
    data: bytes


def attribute(kind: int, value: bytes) -> bytes:
    """One netlink attribute, padded."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes) -> Mapping[int, bytes]:
    """The attributes in a message, by type; the last one of a type counts."""
    return dict(each_attribute(data))


def each_attribute(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute in a message: of a list, all have the same type."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        yield kind & _TYPE_MASK, data[at + _ATTRIBUTE.size:at + length]
        at += (length + 3) & ~3


class Netlink:
    """A socket to one netlink protocol, in the namespace that the calling thread is in.

    :param protocol: ``NETLINK_*``; one whose messages have a header of four bytes before their attributes
    :param timeout: seconds that any answer may take
    """

    def __init__(self, protocol: int, *, timeout: float = 30.0) -> None:
        self._sequence = 0
        self._buffer = bytearray(_RECEIVE)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._socket.bind((0, 0))
            # The kernel's own timeout: with Python's, each call is preceded by a poll().
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(int(timeout), int(timeout % 1 * 1e6)))
            for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def dump_bodies(self, kind: int, payload: bytes) -> list[bytes]:
        """The messages of a dump, each with its header of four bytes.

        :param kind: ``nlmsg_type``

        :raises NetlinkRefused: it failed
        :raises DumpInterrupted: it is not consistent
        """
        request = self._prepare(kind, payload, _REQUEST | _DUMP)
        self._socket.send(request.data)
        return self._answers(request)

    def _prepare(self, kind: int, payload: bytes, flags: int) -> _Request:
        self._sequence += 1
        return _Request(self._sequence, _HEADER.pack(_HEADER.size + len(payload), kind, flags, self._sequence, 0) + payload)

    def _answers(self, request: _Request) -> list[bytes]:
        replies: list[bytes] = []
        interrupted = False
        while True:
            for message in self._receive():
                if message.sequence != request.sequence:
                    continue
                interrupted |= bool(message.kind != _ERROR and message.flags & _DUMP_INTR)
                if message.kind not in (_ERROR, _DONE):
                    replies.append(message.body)
                    continue
                refusal = _refusal(message, request)
                if refusal:
                    raise refusal
                if interrupted:
                    raise DumpInterrupted
                return replies

    def _receive(self) -> Iterator[_Message]:
        try:
            length = self._socket.recv_into(self._buffer, 0, socket.MSG_TRUNC)
        except BlockingIOError:
            raise TimeoutError(errno.ETIMEDOUT, "the kernel does not answer") from None
        if length > _RECEIVE:
            raise OSError(errno.EMSGSIZE, f"a netlink message of {length} bytes")
        data, at = bytes(self._buffer[:length]), 0
        while at + _HEADER.size <= len(data):
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
            yield _Message(kind, flags, sequence, data[at + _HEADER.size:at + length])
            at += (length + 3) & ~3


class GenericNetlink(Netlink):
    """A socket to one generic netlink family.

    :param family: its name
    :raises NetlinkRefused: ENOENT: the kernel has no such family
    """

    def __init__(self, family: str, version: int, *, timeout: float = 30.0) -> None:
        super().__init__(_NETLINK_GENERIC, timeout=timeout)
        self._version = version
        self._family = _GENL_ID_CTRL
        try:
            name = attribute(_CTRL_FAMILY_NAME, family.encode() + b"\0")
            (reply,) = self.request(_CTRL_GETFAMILY, name)
            self._family = int.from_bytes(reply[_CTRL_FAMILY_ID], "little")
        except BaseException:
            self._socket.close()
            raise

    def request(self, command: int, body: bytes = b"") -> Sequence[Mapping[int, bytes]]:
        """Send a command, wait for its ack, return the attributes of the replies before it.

        :raises NetlinkRefused: the ack carries an errno
        :raises TimeoutError: no answer
        """
        request = self._command(command, body, _REQUEST | _ACK)
        self._socket.send(request.data)
        return [attributes(reply[_GENL.size:]) for reply in self._answers(request)]

    def request_many(self, command: int, bodies: Iterable[bytes]) -> list[NetlinkRefused | None]:
        """Send one command with many bodies, some in each system call; the refusal of each, or ``None``."""
        return self.run_many((command, body) for body in bodies)

    def run_many(self, requests: Iterable[tuple[int, bytes]]) -> list[NetlinkRefused | None]:
        """Send many commands with their bodies, some in each system call; the refusal of each, or ``None``."""
        outcomes: list[NetlinkRefused | None] = []
        batch: list[_Request] = []
        for command, body in requests:
            batch.append(self._command(command, body, _REQUEST | _ACK))
            if len(batch) == _BATCH:
                outcomes += self._run(batch)
                batch = []
        return outcomes + self._run(batch)

    def dump(self, command: int, body: bytes = b"") -> Sequence[Mapping[int, bytes]]:
        """The attributes of each message of a dump.

        :raises NetlinkRefused: it failed
        :raises DumpInterrupted: it is not consistent
        """
        return [attributes(reply) for reply in self.dump_replies(command, body)]

    def dump_replies(self, command: int, body: bytes = b"") -> list[bytes]:
        """The attributes of each message of a dump, as they came; see :meth:`dump`."""
        return [reply[_GENL.size:] for reply in self.dump_bodies(self._family, _GENL.pack(command, self._version, 0) + body)]

    def _command(self, command: int, body: bytes, flags: int) -> _Request:
        return self._prepare(self._family, _GENL.pack(command, self._version, 0) + body, flags)

    def _run(self, batch: Sequence[_Request]) -> list[NetlinkRefused | None]:
        if not batch:
            return []
        self._socket.send(b"".join(request.data for request in batch))
        requests = {request.sequence: request for request in batch}
        refusals: dict[int, NetlinkRefused | None] = {}
        while len(refusals) < len(batch):
            for message in self._receive():
                if message.kind == _ERROR and message.sequence in requests:
                    refusals[message.sequence] = _refusal(message, requests[message.sequence])
        return [refusals[request.sequence] for request in batch]


def _refusal(message: _Message, request: _Request) -> NetlinkRefused | None:
    """Take ``struct nlmsgerr`` (or the end of a dump) and its extended ack apart."""
    number = _INT.unpack_from(message.body)[0] if len(message.body) >= _INT.size else 0
    if number >= 0:
        return None
    reason, name = "", None
    if message.flags & _ACK_TLVS:
        skip = _INT.size
        if message.kind == _ERROR:
            skip += _HEADER.size if message.flags & _CAPPED else _HEADER.unpack_from(message.body, _INT.size)[0]
        extended = attributes(message.body[skip:])
        reason = extended.get(_EXTACK_TEXT, b"").rstrip(b"\0").decode(errors="replace")
        if _EXTACK_OFFSET in extended:
            at = int.from_bytes(extended[_EXTACK_OFFSET], "little")
            if at + _ATTRIBUTE.size <= len(request.data):
                name = _ATTRIBUTE.unpack_from(request.data, at)[1] & _TYPE_MASK
    return NetlinkRefused(-number, reason, name)
