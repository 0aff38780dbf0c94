"""Records as a BPF ring buffer holds them, one after the other with their lengths (``Documentation/bpf/ringbuf.rst``)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ("BUSY", "DISCARD", "HEADER", "LENGTH", "framed", "records", "whole")

BUSY, DISCARD = 1 << 31, 1 << 30  # BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT
HEADER = 8  # BPF_RINGBUF_HDR_SZ
LENGTH = struct.Struct("<I")


def records(taken: bytes) -> Iterator[bytes]:
    """The records in what :meth:`harness.trace.ring.Ring.take` took; those that their writer discarded are left out."""
    at = 0
    while at < len(taken):
        length, = LENGTH.unpack_from(taken, at)
        at += HEADER
        if not length & DISCARD:
            yield taken[at:at + length]
        at += (length & ~DISCARD) + 7 & ~7


def framed(record: bytes) -> bytes:
    """A record as a ring has it, of which :func:`records` makes the record again.

    :param record: of a length that eight divides
    """
    return LENGTH.pack(len(record)) + bytes(HEADER - LENGTH.size) + record


def whole(taken: bytes) -> int:
    """How many bytes of what arrived so far are whole records."""
    at = 0
    while at + HEADER <= len(taken):
        length, = LENGTH.unpack_from(taken, at)
        end = at + HEADER + ((length & ~DISCARD) + 7 & ~7)
        if end > len(taken):
            break
        at = end
    return at
