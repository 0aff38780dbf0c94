"""Blocks that Ctrl-C and its kin do not cut short: of a moment, which half done could not be put in order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ("postponed", "uninterrupted")

_under_way = 0
_came: list[int] = []


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A block at whose end the signal comes that came in it."""
    global _under_way  # noqa: PLW0603
    _under_way += 1
    try:
        yield
    finally:
        _under_way -= 1
        if _came and not _under_way:
            signal.raise_signal(_came.pop())


def postponed(number: int) -> bool:
    """Whether such a block is under way, at whose end the signal comes again: asked by the signal's handler."""
    if _under_way:
        _came[:] = [number]
    return bool(_under_way)
