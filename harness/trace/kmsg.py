"""The kernel's messages, record by record (``Documentation/ABI/testing/dev-kmsg``)."""

from __future__ import annotations

import os
import select
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ("KernelMessages", "LogLine")

_FACILITY_SHIFT = 3


@dataclass(frozen=True, slots=True)
class LogLine:
    """A record.

    :param sequence: without gaps unless the ring overran
    :param text: its message
    :param kernel: whether the kernel wrote it, and not a process through ``/dev/kmsg``
    """

    sequence: int
    text: str
    kernel: bool = True

    @classmethod
    def read(cls, record: str) -> LogLine:
        """A record as ``/dev/kmsg`` gives it.

        The kernel gives no process its own facility: a message that asks for it becomes one of the user's.
        """
        head, _, text = record.partition(";")
        priority, sequence, *_ = head.split(",")
        return cls(int(sequence), text.partition("\n")[0], int(priority) >> _FACILITY_SHIFT == 0)


class KernelMessages:
    """What the kernel says from now on. A reader has its own place: clearing the log (``dmesg --clear``) does not move it.

    :ivar lost: records that the ring overran before they were read
    """

    def __init__(self) -> None:
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self._fd, 0, os.SEEK_END)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self.lost = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._fd)

    def complete(self) -> list[LogLine]:
        """The lines since the last call, and one that the kernel has not ended yet: a line ends when another one begins."""
        Path("/dev/kmsg").write_text("nfharness: read\n")
        return self.lines()

    def lines(self) -> list[LogLine]:
        """The lines since the last call."""
        found: list[LogLine] = []
        while found or self._poll.poll(0):  # which says sooner that there is nothing than an error does
            try:
                record = os.read(self._fd, 8192).decode(errors="replace")
            except BlockingIOError:
                return found
            except BrokenPipeError:
                self.lost = True
                continue
            found.append(LogLine.read(record))
        return found
