"""The observer: a task beside a command that the host runs. It keeps the tracer armed and sends what it sees, raw, while it happens.

Records go to standard output as the kernel laid them out; what there is to say of them goes to standard error, a JSON object a line:
``armed``; then, once the host has said ``ended`` on standard input, ``records`` (bytes sent in all), ``lost_events``, ``doubts``,
``namespaces``, ``reasons``, ``loops`` and ``blind``; then ``symbols`` for the ``addresses`` that the host asks for. Telling records
apart and putting them together is the host's work: it is many times faster than an emulated guest, where a flood would overrun the ring
meanwhile.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

from harness.guest.netns import DIRECTORY, current_inum
from harness.guest.prepare import tracer
from harness.trace.capture import Capture

__all__ = ("Namespaces", "main", "set_up")

_TICK_MS, _HURRY_MS = 10, 1
_QUIET_SECONDS, _SETTLE_SECONDS = 0.02, 1.0
_CHUNK = 1 << 16
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_IN_CREATE, _IN_MOVED_TO = 0x100, 0x80


def main(hold: bool = False) -> None:
    """Observe until the host says on standard input that the command has ended.

    :param hold: send no records before that: where they leave as packets of this kernel, they would be observed as well
    :raises GuestError: the tracer does not work on this kernel
    """
    set_up("lo")
    _be_first()
    os.set_blocking(1, False)
    pending, sent = bytearray(), 0
    with Namespaces() as namespaces, Capture(tracer()) as capture:
        _say(armed=True, connection=os.environ.get("SSH_CONNECTION", ""))
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(namespaces.fd, select.POLLIN)
        while not any(fd == 0 for fd, _ in poll.poll(_HURRY_MS if namespaces.unresolved else _TICK_MS)):
            namespaces.look()
            capture.drain()
            pending += capture.hand_over()
            if not hold:
                sent += _write(pending)
        namespaces.look()
        deadline = time.monotonic() + _SETTLE_SECONDS
        while capture.drain(_QUIET_SECONDS) and time.monotonic() < deadline:
            continue
    pending += capture.hand_over()
    os.set_blocking(1, True)
    while pending:
        sent += _write(pending)
    if not sys.stdin.readline():
        return
    reasons = tracer().layout.drop_reasons
    _say(records=sent, lost_events=capture.lost_events, doubts=capture.doubts, namespaces=namespaces.seen, reasons=list(reasons.items()),
         loops=tracer().loops, blind=tracer().blind)
    addresses = json.loads(sys.stdin.readline() or '{"addresses": []}')["addresses"]
    symbols = {address: tracer().symbols.function(address) for address in addresses}
    _say(symbols=[(address, symbol.name, symbol.module) for address, symbol in symbols.items() if symbol])


def set_up(device: str) -> None:
    """``ip link set DEVICE up``."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        request = struct.pack("16sH22x", device.encode(), 0)
        flags = struct.unpack_from("16sH", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", device.encode(), flags | _IFF_UP))


def _be_first() -> None:
    """Whoever empties the ring must not wait for those that fill it."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def _say(**message: Any) -> None:
    print(json.dumps(message), file=sys.stderr, flush=True)


def _write(pending: bytearray) -> int:
    """Write what standard output takes now; how much that was."""
    written = 0
    try:
        while pending:
            count = os.write(1, pending[:_CHUNK])
            del pending[:count]
            written += count
    except BlockingIOError:
        pass
    return written


class Namespaces:
    """Names of network namespaces, those included that are gone before the end.

    :ivar seen: (``CLOCK_MONOTONIC`` in ns, ``net->ns.inum``, name) of each name, in the order they came; an inum is used again
        once its namespace is gone
    :ivar fd: readable when a name has come
    :ivar unresolved: names whose namespace is not mounted on them yet
    """

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, str]] = [(0, current_inum(), "init")]
        self.unresolved: set[str] = set()
        self._nsfs = Path("/proc/self/ns/net").stat().st_dev
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0 or libc.inotify_add_watch(self.fd, os.fsencode(DIRECTORY), _IN_CREATE | _IN_MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        self._resolve({path.name for path in DIRECTORY.iterdir()})

    def __enter__(self) -> Namespaces:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def look(self) -> None:
        """Take notice of new names."""
        found = set(self.unresolved)
        try:
            events = os.read(self.fd, 1 << 16)
            while events:
                length, = struct.unpack_from("I", events, 12)
                found.add(os.fsdecode(events[16:16 + length].rstrip(b"\0")))
                events = events[16 + length:]
        except BlockingIOError:
            pass
        self._resolve(found)

    def _resolve(self, names: set[str]) -> None:
        """``ip netns`` makes a file and then mounts the namespace on it."""
        self.unresolved = set()
        for name in sorted(names):
            try:
                status = (DIRECTORY / name).stat()
            except OSError:
                continue
            if status.st_dev == self._nsfs:
                self.seen.append((time.monotonic_ns(), status.st_ino, name))
            else:
                self.unresolved.add(name)
