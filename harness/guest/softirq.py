"""Letting the network stack finish before the sender goes on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ("preemptible", "softirqs_first")

#: Threads that run network softirqs when there are too many for those that raised them: ``ksoftirqd/0``, and RT's ``backlog_napi/0``.
_THREADS = ("ksoftirqd/", "backlog_napi/")


#: How the kernel lets itself be preempted, the mode in force in brackets; it is there with CONFIG_PREEMPT_DYNAMIC.
_PREEMPT = Path("/sys/kernel/debug/sched/preempt")


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


@contextmanager
def preemptible() -> Iterator[None]:
    """Let ksoftirqd run in the middle of a system call, where the kernel can be told to; that takes half a second under emulation.

    So a fragment has come to its end when the next one is sent, even if ksoftirqd was woken for it: as long as that runs, softirqs wait
    for it (``ksoftirqd_running``, up to 6.4: d15121be7485 "Revert "softirq: Let ksoftirqd do its job""), and a list would grow.
    """
    before = re.search(r"\((\w+)\)", _PREEMPT.read_text()) if _PREEMPT.exists() else None
    if before is None or before[1] == "full":
        yield
        return
    _PREEMPT.write_text("full")
    try:
        yield
    finally:
        _PREEMPT.write_text(before[1])


def _softirq_threads(processor: int) -> Iterator[int]:
    for status in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if status.read_text().strip() in {f"{name}{processor}" for name in _THREADS}:
                yield int(status.parent.name)
