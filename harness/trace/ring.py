"""A BPF ring buffer, read from its own mapping (``Documentation/bpf/ringbuf.rst``).

libbpf's reader calls back once a record, which through ctypes costs more than the kernel spent on making it; and a mapping made
before a fork is not there after it. This one is made by the process that reads.
"""

from __future__ import annotations

import mmap
import select
import struct
from collections.abc import Callable, Iterable

from harness.walks.framing import BUSY, DISCARD, HEADER, LENGTH

__all__ = ("Ring", "Rings")

#: In the machine's own order, so that it is read and written at one go.
_POSITION = struct.Struct("@Q")


class Ring:
    """Reader of one ring buffer map.

    :param fd: the map's; stays the caller's
    :param size: bytes of data, a power of two
    """

    def __init__(self, fd: int, size: int) -> None:
        page = mmap.PAGESIZE
        self._size = size
        self._consumer = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        # The data follows twice, so that a record never wraps.
        self._producer = mmap.mmap(fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self.fd = fd

    @property
    def consumed(self) -> int:
        """The position up to which records were taken."""
        return int(_POSITION.unpack_from(self._consumer)[0])

    @property
    def produced(self) -> int:
        """The position up to which records are reserved."""
        return int(_POSITION.unpack_from(self._producer)[0])

    def take(self, complete: int = 0) -> bytes:
        """Take every complete record out of the buffer, as the kernel laid them out: for :func:`harness.walks.framing.records`.

        Telling the records apart costs more than copying them, and can be done where nothing waits for it.

        :param complete: a position before which no record is being written any more; from there on each is looked at
        """
        page = mmap.PAGESIZE
        first, produced = self.consumed, self.produced
        if first == produced:
            return b""
        # The reader may not lag behind by more than the buffer's size: what lies between is contiguous in the double mapping.
        start, end = page + first % self._size, page + first % self._size + produced - first
        at, lengths = start + max(0, complete - first), LENGTH.unpack_from
        while at < end:
            length, = lengths(self._producer, at)
            if length & BUSY:
                break
            at += HEADER + ((length & ~DISCARD) + 7 & ~7)
        taken = self._producer[start:at]
        _POSITION.pack_into(self._consumer, 0, first + at - start)
        return taken

    def close(self) -> None:
        """Undo the mappings."""
        self._producer.close()
        self._consumer.close()


class Rings:
    """The rings of all processors, as one.

    :param fds: the maps'
    :param size: bytes of data of each
    """

    def __init__(self, fds: Iterable[int], size: int) -> None:
        self._rings = [Ring(fd, size) for fd in fds]

    def take(self, unfinished: Callable[[], Iterable[int]]) -> bytes:
        """Take every complete record: each processor's in order, one processor after the other.

        :param unfinished: how many records each processor has reserved and not submitted. Where there are none, all that were reserved
            before the question are complete, and need not be looked at one by one.
        """
        reserved = [ring.produced for ring in self._rings]
        if reserved == [ring.consumed for ring in self._rings]:
            return b""
        taken = (ring.take(0 if count else position) for ring, position, count in zip(self._rings, reserved, unfinished(), strict=False))
        return b"".join(filter(None, taken))  # what comes of one ring alone is not copied again

    def wait(self, seconds: float) -> bool:
        """Wait until there is something to read in any.

        :returns: whether there is
        """
        poll = select.poll()
        for ring in self._rings:
            poll.register(ring.fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def close(self) -> None:
        """Undo the mappings."""
        for ring in self._rings:
            ring.close()
