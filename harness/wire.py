"""The wire between host and guest agent: many byte streams over one virtio-serial port, each with its own flow control.

A frame is a 9-byte header (payload length, stream number, kind) and its payload. A stream is one guest process. Either side may send
at most :data:`WINDOW` bytes of one channel of a stream (stdin, stdout, stderr) beyond what the other side has granted back with CREDIT,
so a reader that is slow stops its own writer and nobody else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

__all__ = ("CHUNK", "CREDIT", "GREETING", "LIMIT", "WINDOW", "Decoder", "Kind", "WireFrame", "encode")

#: What stage 0 says on the port when it is ready for the code archive.
GREETING = b"nfharness stage0\n"
WINDOW = 1 << 18
CHUNK = 1 << 15
#: Bytes that a payload may have.
LIMIT = 1 << 24
_HEADER = struct.Struct("!IIB")
#: Payload of CREDIT: channel (0 stdin, 1 stdout, 2 stderr) and bytes granted.
CREDIT = struct.Struct("!BI")


class Kind(IntEnum):
    """What a frame says. H→G: host to guest."""

    WAKE = 1  # H→G, JSON: time, entropy; the first frame after a start or a restore
    CODE = 2  # H→G: part of a code archive; an empty one ends it and the agent takes it over
    PREPARE = 3  # H→G, JSON: load everything that a template holds
    READY = 4  # G→H, JSON: answer to PLACE, IMPORT or PREPARE, or an accepted code archive
    OPEN = 5  # H→G, JSON: start a process on this stream
    STARTED = 6  # G→H, JSON: its process number, or the errno that kept it from starting
    STDIN = 7  # H→G: data; empty for end of file
    STDOUT = 8  # G→H: data; empty for end of file
    STDERR = 9  # G→H: data; empty for end of file
    CREDIT = 10  # both: the other side may send more
    SIGNAL = 11  # H→G: one byte, sent to the stream's process group
    RESIZE = 12  # H→G: rows and columns of its terminal
    HANGUP = 13  # H→G: one byte, the channel that nobody reads any more
    EXIT = 14  # G→H, JSON: status or signal; the stream's last frame
    FAILED = 15  # G→H, JSON: the agent could not do what it was asked
    PING = 16  # H→G: is the agent there?
    PONG = 17  # G→H: it is
    PLACE = 18  # H→G, JSON: find the places of the tracer's probes
    IMPORT = 19  # H→G, JSON: import modules


@dataclass(frozen=True, slots=True)
class WireFrame:
    """One message."""

    kind: Kind
    stream: int = 0
    payload: bytes = b""


def encode(frame: WireFrame) -> bytes:
    """A frame's bytes."""
    return _HEADER.pack(len(frame.payload), frame.stream, frame.kind) + frame.payload


class Decoder:
    """Bytes in, whole frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[WireFrame]:
        """Take *data*; yield each frame that is complete by now.

        :raises ValueError: the peer sends no frames
        """
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            length, stream, kind = _HEADER.unpack_from(self._buffer)
            if length > LIMIT:
                raise ValueError(f"frame of {length} bytes: the peer does not speak this protocol")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield WireFrame(Kind(kind), stream, payload)
