"""Trying again what failed through no fault of the kernel's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from harness.errors import EmulatorDied
from harness.host.progress import Progress

__all__ = ("ATTEMPTS", "tried_again")

ATTEMPTS = 3
_T = TypeVar("_T")


async def tried_again(once: Callable[[], Awaitable[_T]], progress: Progress) -> _T:
    """What *once* returns, which is called anew when QEMU has died of something else than its guest: three times at most.

    :raises EmulatorDied: of the last time
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            return await once()
        except EmulatorDied as error:
            if not left:
                raise
            progress.note(f"{error.message}; trying again")
    raise AssertionError
