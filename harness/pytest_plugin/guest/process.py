"""What a test may change in the worker's own process, which runs the next test, too: environment, directory, signals, limits, groups …"""

from __future__ import annotations

import functools
import os
import resource
import signal
import sys
from collections.abc import Iterator

__all__ = ("Limits", "process_limits", "process_state")

#: Fields of /proc/self/status, and what they are in words, but for the last two. The user is told as ``standing`` has it.
_FIELDS = {
    b"\nUmask:\t": "the umask", b"\nGid:\t": "the worker's group", b"\nGroups:\t": "the list of groups",
    b"\nSigBlk:\t": "the mask of blocked signals", b"\nCapEff:\t": "the worker's capabilities",
    b"\nNoNewPrivs:\t": "no_new_privs", b"\nSeccomp:\t": "the mode of seccomp", b"\nCpus_allowed_list:\t": "the set of processors",
    b"\nSigIgn:\t": "", b"\nSigCgt:\t": "",
}
_LIMITS = {number: f"the limit {name}" for name, number in vars(resource).items() if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"}
_TIMERS = {getattr(signal, name): f"the timer {name}" for name in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")}

Limits = tuple[tuple[int, int], ...]
"""Soft and hard, in the order of ``_LIMITS``."""


def process_limits() -> Limits:
    """The limits of this process."""
    return tuple(map(resource.getrlimit, _LIMITS))


def process_state(limits: Limits) -> frozenset[tuple[str, str]]:
    """Name and value of each: all that one process hands on to the next test, less what pytest itself writes.

    Most are the same as after the test before: their words and hashes, which take a guest longer than the values, are made once.

    :param limits: what :func:`process_limits` said, before more files were allowed to be open than a test allows
    """
    status = _status()
    handlers = [(_handling(number), _handler(number)) for number in _of_mask(status[-1])]
    return frozenset(_single()).union(_limited(limits), _said(status), handlers)


def _single() -> Iterator[tuple[str, str]]:
    yield from ((f"the environment variable {name}", value) for name, value in os.environ.items() if not name.startswith("PYTEST_"))
    yield "the working directory", _directory()
    yield "Python's recursion limit", str(sys.getrecursionlimit())
    yield "the nice value", str(os.getpriority(os.PRIO_PROCESS, 0))
    yield "the scheduling policy", f"{os.sched_getscheduler(0)}, priority {os.sched_getparam(0).sched_priority}"
    yield from ((name, "running" if any(signal.getitimer(number)) else "off") for number, name in _TIMERS.items())


def _status() -> tuple[bytes, ...]:
    """The values of ``_FIELDS``; empty where the kernel has no such field."""
    descriptor = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)  # three times as fast as open()
    try:
        text = os.read(descriptor, 1 << 14)
    finally:
        os.close(descriptor)
    return tuple([text[start + len(label):text.find(b"\n", start + 1)] if (start := text.find(label)) >= 0 else b"" for label in _FIELDS])


def _directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - a guest is slow
    except OSError:
        return ""


@functools.lru_cache(16)
def _limited(limits: Limits) -> frozenset[tuple[str, str]]:
    return frozenset((name, f"{soft}, at most {hard}") for name, (soft, hard) in zip(_LIMITS.values(), limits, strict=True))


@functools.lru_cache(16)
def _said(status: tuple[bytes, ...]) -> frozenset[tuple[str, str]]:
    """The fields, and the signals that no function handles.

    :param status: values of ``_FIELDS``
    """
    *fields, ignored, caught = status
    handled = {*_of_mask(ignored), *_of_mask(caught)}
    words = ((name, " ".join(value.decode().split())) for name, value in zip(_FIELDS.values(), fields, strict=False))
    return frozenset((*words, *((_handling(number), "ignored") for number in _of_mask(ignored)),
                      *((_handling(number), "default") for number in signal.valid_signals() - handled)))


@functools.lru_cache(16)
def _of_mask(mask: bytes) -> list[int]:
    return [int(number) for number in sorted(signal.valid_signals()) if int(mask, 16) & 1 << (number - 1)]


@functools.cache
def _handling(number: int) -> str:
    names = {one.value: one.name for one in signal.Signals}
    return f"the handling of {names.get(number, f'signal {number}')}"


def _handler(number: int) -> str:
    handler = signal.getsignal(number)
    return getattr(handler, "__qualname__", "") or repr(handler)
