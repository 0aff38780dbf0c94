"""Kprobes through tracefs (``Documentation/trace/kprobetrace.rst``).

BCC's own ``attach_kprobe`` makes anonymous probes, of which none tells how often it was
missed. Several places can share one event of tracefs, which makes arming quick, and ``kprobe_profile`` counts hits and misses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from harness.errors import GuestError

__all__ = ("KprobeEvents", "Profile")

_PREFIX = "nfharness_"
TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))


class Profile(NamedTuple):
    """What the kernel says of one event since it was defined."""

    hits: int
    missed: int


class KprobeEvents:
    """This process's group of kprobe events. A defined event costs nothing; a perf event on it arms its probes.

    :raises GuestError: the kernel has no kprobe events or refuses one
    """

    def __init__(self) -> None:
        self.group = f"{_PREFIX}{os.getpid()}"
        self._root = next((root for root in TRACEFS if (root / "kprobe_events").exists()), None)
        self._names: list[str] = []
        if self._root is None:
            raise GuestError("this kernel has no kprobe events",
                             hint="mount -t tracefs tracefs /sys/kernel/tracing, on a kernel with CONFIG_KPROBE_EVENTS=y")

    def define(self, events: Mapping[str, Iterable[tuple[str, int]]]) -> None:
        """Define events.

        :param events: name → the places that trigger it, as (symbol, offset)
        """
        self._remove_orphans()
        for name, places in events.items():
            self._names.append(name)
            # By symbol, not by address: trace_kprobe_has_same_kprobe() takes all places without a symbol for the same one.
            for symbol, offset in places:
                self._write(f"p:{self.group}/{name} {symbol}+{offset}")

    def remove(self) -> None:
        """Forget the events. None may be in use."""
        while self._names:
            self._write(f"-:{self.group}/{self._names.pop()}")

    def _remove_orphans(self) -> None:
        """Forget what processes defined that died without :meth:`remove`."""
        defined = re.findall(rf"^p\S*:({_PREFIX}(\d+)/\S+)", self._path("kprobe_events").read_text(), re.MULTILINE)
        for event in {event for event, pid in defined if not Path("/proc", pid).exists() or int(pid) == os.getpid()}:
            self._write(f"-:{event}")

    def profile(self) -> dict[str, Profile]:
        """Event → its counts, summed over its places."""
        found = dict.fromkeys(self._names, Profile(0, 0))
        for line in self._path("kprobe_profile").read_text().splitlines():
            name, hits, missed = line.split()
            group, _, name = name.rpartition("/")
            if group in ("", self.group) and name in found:
                found[name] = Profile(found[name].hits + int(hits), found[name].missed + int(missed))
        return found

    def _path(self, name: str) -> Path:
        assert self._root is not None  # noqa: S101
        return self._root / name

    def _write(self, line: str) -> None:
        try:
            # Not open("a"): Python seeks to the end, which this file refuses; and without O_APPEND opening it removes all events.
            fd = os.open(self._path("kprobe_events"), os.O_WRONLY | os.O_APPEND)
            try:
                os.write(fd, f"{line}\n".encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise GuestError(f"the kernel refuses the probe `{line}`: {error.strerror}",
                             hint=f"see {self._path('error_log')} and whether /sys/kernel/debug/kprobes/enabled says 1") from error
