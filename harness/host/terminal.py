"""A console on our own standard output or error."""

from __future__ import annotations

import select
import sys
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from harness.printable import printable

__all__ = ("Terminal", "reader_has_gone")


class Terminal(Console):
    """A console on standard output, or with ``stderr=True`` on standard error; every one of ours is this one.

    :raises BrokenPipeError: what reads it has gone
    """

    def on_broken_pipe(self) -> None:
        """rich would end the program with status 1, which to us means that model and kernel differ."""
        raise BrokenPipeError

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Rich's segments, with control characters in text of whatever origin as escapes: rich's own are none of its text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    @classmethod
    def wide(cls, width: int) -> Terminal:
        """Standard output for tables: as wide as the terminal; *width* columns, as wide as the table, where there is none."""
        return cls() if sys.stdout.isatty() else cls(width=width)


def reader_has_gone(*descriptors: int) -> bool:
    """Whether one of these is a pipe or socket that nothing reads any more."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
