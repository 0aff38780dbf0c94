"""Trying again what failed through no fault of the kernel's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from harness.errors import EmulatorFailed
from harness.host.progress import Progress

__all__ = ("ATTEMPTS", "tried_again")

ATTEMPTS = 3
_T = TypeVar("_T")


async def tried_again(once: Callable[[], Awaitable[_T]], progress: Progress) -> _T:
    """What *once* returns, which is called anew when the emulator failed: three times at most.

    :raises EmulatorFailed: of the last time
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            return await once()
        except EmulatorFailed as error:
            if not left:
                raise
            progress.note(f"{error.message}; trying again")
    raise AssertionError
