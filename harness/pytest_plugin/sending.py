"""Sending a packet under the tracer's eyes, and putting its walk together."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from harness.guest import traffic
from harness.guest.settle import Watch
from harness.guest.softirq import softirqs_first
from harness.outcome.types import Fate, PacketOutcome
from harness.pytest_plugin.chains import base_chains
from harness.pytest_plugin.networks import Host
from harness.pytest_plugin.walks import Walk
from harness.trace.capture import Capture

if TYPE_CHECKING:
    from scapy.packet import Packet

__all__ = ("Inconclusive", "Sender", "traced")

_cookies = itertools.count(1)


class Inconclusive(AssertionError):
    """The tracer knows that it did not see everything: nothing can be said of a packet."""


@contextmanager
def traced(capture: Capture, hosts: Mapping[str, Host], labels: Mapping[int, str], walks: list[Walk]) -> Iterator[None]:
    """Append the walks of a block's packets. :param capture: armed; arming it for each packet would take a hundred times as long

    :param hosts: by the name of the namespace; :param labels: by the number of the hook
    :raises Inconclusive: something was lost
    """
    chains = dict(pair for host in hosts.values() for pair in base_chains(host.name, host.namespace))
    capture.begin()
    yield
    capture.end()
    seen = capture.walk(netns=[(0, host.namespace.inum, host.name) for host in hosts.values()], labels=labels)
    if doubts := (*capture.doubts, *seen.doubts):
        raise Inconclusive(f"inconclusive: {'; '.join(doubts)}")
    walks += [Walk(packet, chains) for packet in seen.packets]


class Sender:
    """Packets with cookies, and the sockets that take them. :param capture: armed"""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._sinks = traffic.Sinks()

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._sinks.close()

    def send(self, host: Host, packet: Packet, hosts: Mapping[str, Host], labels: Mapping[int, str], *, device: str | None,
             cookie: int | None) -> Walk:
        """See :meth:`harness.pytest_plugin.lab.Lab.send`."""
        cookie = next(_cookies) if cookie is None else cookie
        packet = _addressed(host, packet)
        target = self._open_sink(host, packet, hosts)
        walks: list[Walk] = []
        with softirqs_first(), traced(self._capture, hosts, labels, walks):
            watch = Watch(self._capture, self._sinks)
            if device is not None:
                sent = traffic.send_frame(host.namespace, device, packet, cookie)
            else:
                sent = traffic.send_ip(host.namespace, packet, cookie)
            watch.settle(cookie)
        arrived = {arrival.netns for arrival in self._sinks.wait((), 0) if arrival.cookie == cookie}
        own = [walk.outcome for walk in walks if walk.outcome.cookie == cookie]
        delivered = target is not None and target.namespace.name in arrived
        if not own:
            own = [PacketOutcome(packet.summary(), cookie, Fate("delivered" if delivered else "unknown"), ())]
        fate = Fate("delivered", reason=own[0].fate.reason) if delivered else own[0].fate
        chains = dict(pair for one in hosts.values() for pair in base_chains(one.name, one.namespace))
        return Walk(replace(own[0], fate=fate, sent_errno=sent), chains, [Walk(answer, chains) for answer in own[1:]])

    def _open_sink(self, host: Host, packet: Packet, hosts: Mapping[str, Host]) -> Host | None:
        """A socket where the packet is meant to end, if that is one of the lab's hosts; without it the kernel answers with an error."""
        from scapy.layers.inet import IP, UDP  # noqa: PLC0415 - seconds in an emulated guest
        from scapy.layers.inet6 import IPv6  # noqa: PLC0415

        layer = next((packet[kind] for kind in (IP, IPv6) if kind in packet), None)
        if layer is None:
            return None
        target = next((one for one in hosts.values() if any(text.partition("/")[0] == layer.dst for text in one.addresses)), None)
        family = socket.AF_INET6 if layer.version == 6 else socket.AF_INET
        if target and UDP in packet:
            self._sinks.add_udp(target.namespace, family, packet[UDP].dport)
        elif target:
            for end in (target, host):
                self._sinks.add_echo(end.namespace, family)
        return target


def _addressed(host: Host, packet: Packet) -> Packet:
    """With the source address that the host would choose, where none is given: checksums are made before the kernel sees the packet."""
    from scapy.layers.inet import IP  # noqa: PLC0415
    from scapy.layers.inet6 import IPv6  # noqa: PLC0415

    made = packet.copy()
    for kind, family in ((IP, socket.AF_INET), (IPv6, socket.AF_INET6)):
        if kind in made and "src" not in made[kind].fields:
            with host.inside(), socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
                probe.connect((made[kind].dst, 9))
                made[kind].src = probe.getsockname()[0]
    return made


