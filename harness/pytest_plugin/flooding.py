"""Many datagrams, one after the other, and how many came."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from harness.guest import traffic
from harness.netfilter import errno_name
from harness.pytest_plugin.networks import Host
from harness.pytest_plugin.walks import Walk

__all__ = ("ROOM", "Flood", "flooded")

#: Bytes of each receive buffer: some ten thousand small datagrams fit.
ROOM = 8 << 20

_BATCH, _POLL_S = 64, 0.005


@dataclass(frozen=True)
class Flood:
    """Datagrams that were sent one after the other, and what became of them.

    :param sent: how many ``sendto()`` took
    :param refused: how many it did not take, by its errno
    :param arrived: how many came, by the host whose sockets of the lab's got them; a datagram that came twice counts twice
    :param walks: of the datagrams, if they were traced
    """

    sent: int
    refused: Mapping[str, int]
    arrived: Mapping[str, int]
    walks: Sequence[Walk] = field(default=(), repr=False)

    @property
    def came(self) -> int:
        """How many came, to whichever host."""
        return sum(self.arrived.values())

    @property
    def lost(self) -> int:
        """How many were sent and did not come."""
        return self.sent - self.came


def flooded(client: Host, address: str, port: int, *, numbers: Sequence[int], size: int, flows: int, sinks: traffic.Sinks,
            hosts: Mapping[str, Host], timeout: float, goes_on: Callable[[], bool]) -> Flood:
    """Send a datagram for each number, and wait for them.

    :param numbers: which the datagrams carry, no two alike
    :param size: bytes of payload
    :param flows: sockets that take turns, each with its own source port
    :param sinks: that take the datagrams
    :param timeout: seconds in which one has to come; then the rest is lost
    :param goes_on: is asked now and then; whether one may still be under way
    """
    refused: Counter[str] = Counter()
    with ExitStack() as stack:
        with client.inside():
            senders = [stack.enter_context(socket.socket(traffic.family_of(address), socket.SOCK_DGRAM | socket.SOCK_CLOEXEC))
                       for _ in range(flows)]
        for at, number in enumerate(numbers):
            try:
                senders[at % flows].sendto(traffic.payload(size, number), (address, port))
            except OSError as error:
                refused[errno_name(error.errno or 0)] += 1
            if at % _BATCH == 0:
                sinks.take()
                goes_on()
        sent = len(numbers) - refused.total()
        _await(sinks, numbers, sent, timeout, goes_on)
    names = {host.namespace.name: host.name for host in hosts.values()}
    known = set(numbers)
    arrived = Counter(names[arrival.netns] for arrival in sinks.wait((), 0) if arrival.cookie in known)
    return Flood(sent, dict(refused), dict(arrived))


def _await(sinks: traffic.Sinks, numbers: Collection[int], sent: int, timeout: float, goes_on: Callable[[], bool]) -> None:
    """Return when all have come, or none has for *timeout* seconds."""
    expected, before, quiet_since = set(numbers), 0, time.monotonic()
    while (come := len(expected.intersection(sinks.cookies))) < sent:
        if come > before or goes_on():
            before, quiet_since = come, time.monotonic()
        if time.monotonic() > quiet_since + timeout:
            return
        time.sleep(_POLL_S)
        sinks.take()
