"""The observer: a task beside a command that the host runs. It keeps the tracer armed and sends what it sees, raw, while it happens.

Records go to standard output as the kernel laid them out; what there is to say of them goes to standard error, a JSON object a line:
``armed``, with all that the host needs to tell walks even of a kernel that dies; ``namespaces`` as names come; ``symbols`` for the
``addresses`` that the host asks for, numbered as by :func:`harness.walks.sightings.numbered`, and ``frees``: when modules went; the
``rules`` of nftables' that it asks for, with chain and text, and the whole ``ruleset`` of their namespace if that is asked for; and once
the host has said ``ended`` on standard input, ``records`` (bytes sent in all), ``lost_events``, ``doubts``, and what the kernel complained
of meanwhile (``splats``, ``taint``, ``log``). Telling records apart and putting them together is the host's work: it is many times faster
than an emulated guest, where a flood would overrun the ring meanwhile.
"""

from __future__ import annotations

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

from harness.guest import inotify
from harness.guest.health import KernelLog, splats, taint, taint_names
from harness.guest.inotify import Inotify
from harness.guest.listing import Listings
from harness.guest.netns import DIRECTORY, current_inum
from harness.guest.tracing import tracer
from harness.trace.capture import Capture
from harness.walks.sightings import netns_of

__all__ = ("Namespaces", "main", "set_up")

_TICK_MS, _HURRY_MS = 10, 1
_QUIET_SECONDS, _SETTLE_SECONDS = 0.02, 1.0
_CHUNK = 1 << 16
#: Bytes that may wait for the host. While there are more, none are taken: what the rings have no room for then is counted as lost.
_WAITING_MOST = 8 << 20
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def main(hold: bool = False, registrations: bool = False) -> None:
    """Observe until the host says on standard input that the command has ended.

    :param hold: send no records before that: where they leave as packets of this kernel, they would be observed as well
    :param registrations: see hooks that are registered and unregistered, too
    :raises GuestError: the tracer does not work on this kernel
    """
    set_up("lo")
    _be_first()
    os.set_blocking(1, False)
    with KernelLog() as log, Namespaces() as namespaces, Capture(tracer(), registrations=registrations) as capture:
        before, host = taint(), _Host(namespaces)
        _say(armed=True, connection=os.environ.get("SSH_CONNECTION", ""), reasons=list(tracer().layout.drop_reasons.items()),
             loops=tracer().loops, blind=tracer().blind, unnamed=tracer().unnamed, undecided=tracer().undecided,
             uncounted=tracer().tables.uncounted,
             tells=tracer().tells, unregistered=tracer().unregistered if registrations else None,
             sees_registrations=registrations and tracer().unregistered is None,
             clock=time.time_ns() - time.monotonic_ns(), namespaces=namespaces.seen)
        sent, pending = _follow(host, namespaces, capture, hold=hold)
        deadline = time.monotonic() + _SETTLE_SECONDS
        while capture.drain(_QUIET_SECONDS) and time.monotonic() < deadline:
            continue
        lines, tainted = log.lines(), taint() & ~before
    pending += capture.hand_over()
    os.set_blocking(1, True)
    while pending:
        sent += _write(pending)
    if host.gone:
        return
    complaints = [splat.summary for splat in splats(lines)]
    _say(records=sent, lost_events=capture.lost_events, doubts=capture.doubts, namespaces=namespaces.seen, frees=tracer().modules.frees,
         splats=complaints, taint=taint_names(tainted), log=[line.text for line in lines] if complaints else [])
    while not host.gone:
        host.tell_rules(wait=True)  # of listings that were under way when the command ended, too: the host waits for them
        host.heed()


def _follow(host: _Host, namespaces: Namespaces, capture: Capture, *, hold: bool) -> tuple[int, bytearray]:
    """Drain what comes until the host says that it is over.

    :returns: bytes that were sent, and those that were not yet
    """
    pending, sent, told, idle, first = bytearray(), 0, len(namespaces.seen), True, False
    busy, waiting = select.poll(), select.poll()
    for each in (busy, waiting):
        for descriptor in (0, namespaces.fd, capture.module_descriptor):
            each.register(descriptor, select.POLLIN)
    for descriptor in capture.ring_descriptors:
        waiting.register(descriptor, select.POLLIN)
    while True:
        # The first record after a pause is taken at once, and its packet's others soon: the kernel may die of that packet. In a flood
        # waking up for each would cost more than the tracer does.
        tick = _HURRY_MS if namespaces.unresolved or first else _TICK_MS
        ready = {descriptor for descriptor, _ in (waiting if idle else busy).poll(tick)}
        namespaces.look()
        host.tell_rules()
        full = not hold and len(pending) > _WAITING_MOST
        drained = not full and capture.drain()
        first, idle = idle and drained, not drained and not full
        pending += capture.hand_over()
        if not hold:
            sent += _write(pending)
            if told < len(namespaces.seen):
                _say(namespaces=namespaces.seen[told:])
                told = len(namespaces.seen)
        if 0 in ready and host.heed():
            return sent, pending


class _Host:
    """What the host says on standard input.

    :ivar gone: it says nothing any more
    """

    def __init__(self, namespaces: Namespaces) -> None:
        self.gone = False
        self._heard = b""
        self._namespaces, self._listings = namespaces, Listings()

    def tell_rules(self, *, wait: bool = False) -> None:
        """Answer for the rules whose listings have ended.

        :param wait: for all
        """
        for netns, rules, whole in self._listings.answers(wait=wait):
            _say(rules=[(netns_of(inum, life), *rest) for inum, life, *rest in rules], ruleset=whole and (netns_of(*netns), *whole))

    def heed(self) -> bool:
        """Read what it says, and answer.

        :returns: whether the command has ended
        """
        heard = os.read(0, _CHUNK)
        self.gone = not heard
        *lines, self._heard = (self._heard + heard).split(b"\n")
        ended = self.gone
        for message in map(json.loads, lines):
            ended |= "ended" in message
            if "rules" in message:
                inum, life = message["netns"]
                self._listings.ask((inum, life), [(inum, life, *rule) for rule in message["rules"]], self._namespaces.seen,
                                   whole=message["whole"])
            if "addresses" in message:
                symbols = {number: tracer().modules.function(number) for number in message["addresses"]}
                _say(symbols=[(number, symbol.address, symbol.name, symbol.module) for number, symbol in symbols.items() if symbol],
                     frees=tracer().modules.frees)
        return ended


def set_up(device: str) -> None:
    """``ip link set DEVICE up``."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        request = struct.pack("16sH22x", device.encode(), 0)
        flags = struct.unpack_from("16sH", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", device.encode(), flags | _IFF_UP))


def _be_first() -> None:
    """The reader of the ring must not wait for those that fill it; its children may."""
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))


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

    :ivar seen: (``CLOCK_MONOTONIC`` in ns, ``net->ns.inum``, name) of each name, in the order they came, an empty one when a name has gone;
        an inum is used again once its namespace is gone
    :ivar fd: readable when a name has come
    :ivar unresolved: names whose namespace is not mounted on them yet
    """

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, str]] = [(0, current_inum(), "init")]
        self.unresolved: set[str] = set()
        self._nsfs = Path("/proc/self/ns/net").stat().st_dev
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        self._inotify = Inotify()
        self.fd = self._inotify.fd
        self._inotify.add(DIRECTORY, inotify.CREATE | inotify.MOVED_TO | inotify.DELETE)
        self._resolve({path.name for path in DIRECTORY.iterdir()})

    def __enter__(self) -> Namespaces:
        return self

    def __exit__(self, *_: object) -> None:
        self._inotify.close()

    def look(self) -> None:
        """Take notice of new names."""
        found = set(self.unresolved)
        for event in self._inotify.events():
            if event.mask & inotify.DELETE:
                self._gone(event.name)
            found.add(event.name)
        self._resolve(found)

    def _gone(self, name: str) -> None:
        """Where it was, nothing can be listed any more. The namespace itself may go on, and send what a device sends that goes."""
        inum = next((inum for _, inum, seen in reversed(self.seen) if seen == name), None)
        if inum is not None and next(seen for _, number, seen in reversed(self.seen) if number == inum) == name:
            self.seen.append((time.monotonic_ns(), inum, ""))

    def _resolve(self, names: set[str]) -> None:
        """``ip netns`` makes a file and then mounts the namespace on it."""
        self.unresolved = set()
        for name in sorted(names):
            now = time.monotonic_ns()  # it is there later, so that it goes later
            try:
                status = (DIRECTORY / name).stat()
            except OSError:
                continue
            if status.st_dev == self._nsfs:
                self.seen.append((now, status.st_ino, name))
            else:
                self.unresolved.add(name)
