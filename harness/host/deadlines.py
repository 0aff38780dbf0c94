"""How long something may take: seconds of a host that does nothing else, and more of them on one that is busy.

A wait that has used its seconds up asks how slow the host is now, by a piece of work that takes an idle one a known time and by the
load of the last minutes, and goes on for as many times the seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ("Deadline", "slowness", "within")

#: The piece of work, and the seconds that it takes on one core of a machine like CI's that does nothing else.
_WORK_BYTES, _WORK_S = 16 << 20, 0.015
#: A host that is slower than this will not do, whatever it is busy with.
_MOST = 20.0


def slowness() -> float:
    """How many times as long things take now as on an idle host; from 1 to 20."""
    start = time.monotonic()
    hashlib.blake2b(bytes(_WORK_BYTES))
    measured = (time.monotonic() - start) / _WORK_S
    loaded = max(os.getloadavg()[:2]) / (os.cpu_count() or 1)
    return min(_MOST, max(1.0, measured, loaded))


class Deadline:
    """A moment that moves away as far as the host is busy.

    :param seconds: from now on, on an idle host
    :ivar allowed: seconds that are allowed as far as is known now
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = self.allowed = seconds
        self._start = time.monotonic()

    def __str__(self) -> str:
        busy = f" ({self.allowed:.0f} s, as this host is busy)" if self.allowed > self._seconds else ""
        return f"within {self._seconds:.0f} s{busy}"

    def left(self) -> float:
        """Seconds that are left; 0 once it has passed. Only then is the host asked how busy it is."""
        spent = time.monotonic() - self._start
        if spent >= self.allowed:
            self.allowed = max(self.allowed, self._seconds * slowness())
        return max(0.0, self.allowed - spent)


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[Deadline]:
    """A block that must end before a :class:`Deadline`.

    :raises TimeoutError: it did not; "within 30 s"
    """
    deadline = Deadline(seconds)
    try:
        async with asyncio.timeout(None) as limit:
            minder = asyncio.create_task(_mind(limit, deadline))
            try:
                yield deadline
            finally:
                minder.cancel()
    except TimeoutError as error:
        if not error.args:
            raise TimeoutError(str(deadline)) from None
        raise


async def _mind(limit: asyncio.Timeout, deadline: Deadline) -> None:
    left = deadline.allowed
    while left > 0:
        await asyncio.sleep(left)
        left = await asyncio.to_thread(deadline.left)
    limit.reschedule(asyncio.get_running_loop().time())
