"""Letting the network stack finish before whoever sends goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ("softirqs_first",)

#: Threads that run network softirqs when there are too many for those that raised them: ``ksoftirqd/0``, and RT's ``backlog_napi/0``.
_THREADS = ("ksoftirqd/", "backlog_napi/")


@contextmanager
def softirqs_first() -> Iterator[None]:
    """Keep the calling thread on one processor, and let the threads that run its softirqs run before it.

    A veth pair hands packets over in softirqs of the sender's processor. So whatever a packet leads to, answers included, has come
    to its end when ``sendto()`` has returned.
    """
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    for thread in _softirq_threads(min(processors)):
        with suppress(ProcessLookupError):
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, processors)


def _softirq_threads(processor: int) -> Iterator[int]:
    for status in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if status.read_text().strip() in {f"{name}{processor}" for name in _THREADS}:
                yield int(status.parent.name)
