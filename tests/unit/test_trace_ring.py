"""Reading a BPF ring buffer from its mapping; here a file of the same layout stands for the map."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from harness.trace.ring import Ring, Rings
from harness.walks.framing import records, whole

SIZE = mmap.PAGESIZE
BUSY, DISCARD = 1 << 31, 1 << 30


class Kernel:
    """The producer's side."""

    def __init__(self, fd: int) -> None:
        self.fd, self.produced = fd, 0

    def produce(self, payload: bytes, flags: int = 0) -> None:
        record = struct.pack("<II", len(payload) | flags, 0) + payload
        record += bytes(-len(record) % 8)
        at = self.produced % SIZE
        for copy in (at, at + SIZE, at - SIZE):
            for index, byte in enumerate(record):
                if 0 <= copy + index < 2 * SIZE:
                    os.pwrite(self.fd, bytes([byte]), 2 * mmap.PAGESIZE + copy + index)
        self.produced += len(record)
        os.pwrite(self.fd, struct.pack("<Q", self.produced), mmap.PAGESIZE)

    @property
    def consumed(self) -> int:
        return int(struct.unpack("<Q", os.pread(self.fd, 8, 0))[0])


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    fd = os.memfd_create("ring")
    os.truncate(fd, 2 * mmap.PAGESIZE + 2 * SIZE)
    yield Kernel(fd)
    os.close(fd)


def test_records_come_in_order_and_once(kernel: Kernel) -> None:
    ring = Ring(kernel.fd, SIZE)
    kernel.produce(b"first")
    kernel.produce(b"second one")
    assert list(records(ring.take())) == [b"first", b"second one"]
    assert list(records(ring.take())) == []
    assert kernel.consumed == kernel.produced


def test_a_record_that_is_still_being_written_holds_up_those_behind_it(kernel: Kernel) -> None:
    ring = Ring(kernel.fd, SIZE)
    kernel.produce(b"done")
    kernel.produce(b"busy", BUSY)
    kernel.produce(b"behind")
    assert list(records(ring.take())) == [b"done"]
    assert kernel.consumed < kernel.produced


def test_a_discarded_record_is_passed_over(kernel: Kernel) -> None:
    ring = Ring(kernel.fd, SIZE)
    kernel.produce(b"thrown away", DISCARD)
    kernel.produce(b"kept")
    assert list(records(ring.take())) == [b"kept"]


def test_a_record_across_the_end_is_whole(kernel: Kernel) -> None:
    ring = Ring(kernel.fd, SIZE)
    payloads = [bytes([number]) * 1000 for number in range(10)]
    taken = []
    for payload in payloads:
        kernel.produce(payload)
        taken += list(records(ring.take()))
    assert taken == payloads


def test_a_new_reader_goes_on_where_the_last_one_stopped(kernel: Kernel) -> None:
    first = Ring(kernel.fd, SIZE)
    kernel.produce(b"old")
    assert list(records(first.take())) == [b"old"]
    first.close()
    kernel.produce(b"new")
    assert list(records(Ring(kernel.fd, SIZE).take())) == [b"new"]


def test_the_rings_of_all_processors_are_read_as_one() -> None:
    fds = [os.memfd_create("ring") for _ in range(2)]
    for fd in fds:
        os.truncate(fd, 2 * mmap.PAGESIZE + 2 * SIZE)
    kernels = [Kernel(fd) for fd in fds]
    rings = Rings(fds, SIZE)
    kernels[1].produce(b"of the second")
    kernels[0].produce(b"of the first")
    assert list(records(rings.take(lambda: [0, 0]))) == [b"of the first", b"of the second"]
    assert rings.take(lambda: [0, 0]) == b""
    rings.close()
    for fd in fds:
        os.close(fd)


def test_records_of_a_processor_that_writes_none_are_not_looked_at_one_by_one(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    rings = Rings([kernel.fd], SIZE)
    kernel.produce(b"first")
    kernel.produce(b"second")
    monkeypatch.setattr("harness.trace.ring.LENGTH", SimpleNamespace(unpack_from=lambda *_: pytest.fail("looked at a record")))
    assert list(records(rings.take(lambda: [0]))) == [b"first", b"second"]


def test_records_of_a_processor_that_writes_one_are_taken_up_to_that(kernel: Kernel) -> None:
    rings = Rings([kernel.fd], SIZE)
    kernel.produce(b"done")
    kernel.produce(b"busy", BUSY)
    assert list(records(rings.take(lambda: [1]))) == [b"done"]
    assert list(records(rings.take(lambda: [1]))) == []


def test_a_record_that_comes_behind_the_question_is_looked_at(kernel: Kernel) -> None:
    rings = Rings([kernel.fd], SIZE)
    kernel.produce(b"done")

    def unfinished() -> list[int]:
        kernel.produce(b"busy", BUSY)
        return [0]

    assert list(records(rings.take(unfinished))) == [b"done"]


def test_a_record_that_has_arrived_in_part_is_not_whole() -> None:
    first, second = (struct.pack("<II", 5, 0) + b"12345\0\0\0", struct.pack("<II", 16, 0) + bytes(16))
    stream = first + second
    assert [whole(stream[:size]) for size in (0, 7, 15, 16, 20, 39, 40)] == [0, 0, 0, 16, 16, 16, 40]
