"""The kernel's log: what it warned of, by ``/dev/kmsg`` and its sequence numbers."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

__all__ = ("KernelLog", "LogLine", "Splat", "splats", "warn_again")

_CLEAR_WARN_ONCE = Path("/sys/kernel/debug/clear_warn_once")
_CUT = "------------[ cut here ]------------"
#: The line that names a splat; up to 7.0 ``CPU: … PID: … at`` came before the place of a warning, later the place comes first.
_HEADLINE = re.compile(r"(?P<kind>WARNING|BUG|Oops|INFO|UBSAN|general protection fault|Kernel panic - not syncing|refcount_t)\b[:,]? ?"
                       r"(?P<rest>.*)")
_INFO = re.compile(r"INFO: (rcu|task .* blocked)")
_PLACE = re.compile(r"(?:^|at )(?P<file>[\w./-]+\.[ch]):\d+")


@dataclass(frozen=True, slots=True)
class LogLine:
    """:param sequence: of the record, without gaps unless the ring overran; :param text: its message"""

    sequence: int
    text: str


@dataclass(frozen=True, slots=True)
class Splat:
    """A warning, bug or oops.

    :param kind: ``WARNING``, ``BUG``, ``Oops`` …
    :param summary: the message that it came with, else the source file of a warning, else the whole line
    :param first_line: as the log has it
    """

    kind: str
    summary: str
    first_line: str


def splats(lines: Iterable[str]) -> Iterator[Splat]:
    """The splats in a log's lines: messages between ``cut here`` and the headline belong to it."""
    message: list[str] = []
    cut = False
    for line in lines:
        if line == _CUT:
            cut, message = True, []
            continue
        found = _HEADLINE.match(line)
        if found is None or (found["kind"] == "INFO" and not _INFO.match(line)):
            if cut:
                message.append(line)
            continue
        place = _PLACE.search(found["rest"])
        yield Splat(found["kind"], message[0] if message else place["file"] if place and found["kind"] == "WARNING" else line, line)
        cut, message = False, []


class KernelLog:
    """What the kernel says from now on.

    :ivar lost: records that the ring overran before they were read
    """

    def __init__(self) -> None:
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self._fd, 0, os.SEEK_END)
        self.lost = False

    def __enter__(self) -> KernelLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._fd)

    def lines(self) -> list[LogLine]:
        """Those since the last call."""
        found: list[LogLine] = []
        while True:
            try:
                record = os.read(self._fd, 8192).decode(errors="replace")
            except BlockingIOError:
                return found
            except BrokenPipeError:
                self.lost = True
                continue
            head, _, text = record.partition(";")
            found.append(LogLine(int(head.split(",")[1]), text.partition("\n")[0]))

    def splats(self) -> list[Splat]:
        """Those since the last call. Whoever warned has written all of it before it went on."""
        return list(splats(line.text for line in self.lines()))


def warn_again() -> None:
    """Let each ``WARN_ONCE`` warn once more. Without debugfs it does not; then a splat that is predicted is missed, never invented."""
    with contextlib.suppress(OSError):
        _CLEAR_WARN_ONCE.write_text("1")
