"""Sending a packet under the tracer's eyes, and putting its walk together."""

from __future__ import annotations

import errno
import itertools
import socket
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from harness.errors import Inconclusive
from harness.guest import traffic
from harness.guest.listing import with_rules
from harness.guest.settle import PacketWatch
from harness.guest.softirq import softirqs_first
from harness.outcome import Outcome, describe
from harness.outcome.fate import Fate
from harness.outcome.types import PacketOutcome
from harness.outcome.unseen import unseen
from harness.pytest_plugin.listening import QueueListener, settle_queues
from harness.pytest_plugin.mistakes import Mistake, chosen, of_kind
from harness.pytest_plugin.networks import Host
from harness.pytest_plugin.walks import Walk
from harness.trace.capture import Capture
from harness.walks.assembly import assembled

if TYPE_CHECKING:
    from scapy.packet import Packet

__all__ = ("Sender", "check_packet", "close_sinks", "cookies", "open_sinks", "traced")

#: Numbers for packets, no two alike.
cookies = itertools.count(1)


@contextmanager
def traced(capture: Capture, hosts: Mapping[str, Host], labels: Mapping[int, str], walks: list[Walk], kept: list[Outcome] | None = None,
           ) -> Iterator[None]:
    """Append the walks of a block's packets.

    :param capture: armed; arming it for each packet would take a hundred times as long
    :param hosts: by the name of the namespace
    :param labels: by the number of the hook
    :param kept: gets all that was seen, with the time of day
    :raises Inconclusive: something was lost
    """
    capture.begin()
    try:
        yield
    finally:
        capture.end()
        names = [(0, host.namespace.inum, host.name) for host in hosts.values()]
        paths = {host.name: host.namespace.path for host in hosts.values()}
        recording = replace(capture.recording(namespaces=names, labels=labels), clock=time.time_ns() - time.monotonic_ns())
        seen = assembled(with_rules(recording, paths, accepted=False))
        if kept is not None:
            kept.append(seen)
        walks += _with_answers(seen.packets)
    if doubts := (*seen.doubts, *unseen(seen.packets, seen.blind)):
        raise Inconclusive(f"inconclusive: {'; '.join(doubts)}")


class Sender:
    """Packets with cookies, and the sockets that take them.

    :param capture: armed
    :param sinks: may be open where a packet waits for a listener
    """

    def __init__(self, capture: Capture, sinks: traffic.Sinks) -> None:
        self._capture = capture
        self._sinks = sinks

    def send(self, host: Host, packet: Packet, hosts: Mapping[str, Host], labels: Mapping[int, str], *, device: str | None,
             cookie: int | None, ports: Mapping[int, bool], listeners: Collection[QueueListener] = (), kept: list[Outcome] | None = None,
             ) -> Walk:
        """See :meth:`harness.pytest_plugin.lab.Lab.send`.

        :param ports: to which a rule may lead a datagram, each with whether it is tproxy's
        :param listeners: what they are sent they answer before this returns
        :param kept: as :func:`traced` has it
        """
        cookie = next(cookies) if cookie is None else cookie
        packet = _addressed(host, packet)
        target = self._open_sinks(host, packet, hosts, ports)
        walks: list[Walk] = []
        with softirqs_first(), traced(self._capture, hosts, labels, walks, kept):
            watch = PacketWatch(self._capture, self._sinks)
            if device is not None:
                sent = traffic.send_frame(host.namespace, device, packet, cookie)
            else:
                sent = traffic.send_ip(host.namespace, packet, cookie)
            settle_queues(listeners, partial(watch.settle, cookie))
        arrived = Counter(arrival.netns for arrival in self._sinks.wait((), 0) if arrival.cookie == cookie)
        copies = arrived[target.namespace.name] if target else 0
        own, *answers = [walk for walk in walks if walk.outcome.cookie == cookie] or [
            Walk(PacketOutcome(packet.summary(), cookie, Fate("delivered" if copies else "unknown"), ()))]
        answers += [answer for answer in own.answers if answer.outcome.cookie != cookie]  # a reset quotes no payload
        if own.outcome.fate.kind != "queued":  # the ports are free for a server of the test's
            close_sinks(self._sinks, hosts)
        return Walk(replace(own.outcome, fate=_fate(own.outcome, copies), sent_errno=sent), answers)

    def _open_sinks(self, host: Host, packet: Packet, hosts: Mapping[str, Host], ports: Mapping[int, bool]) -> Host | None:
        """Sockets where the packet may end, on each of the lab's hosts as NAT may lead it there; without them the kernel answers with an
        error. A server of the test's that has the port takes the packet itself.

        :returns: the host that has the packet's destination, if one has
        """
        from scapy.layers.inet import IP, UDP  # noqa: PLC0415 - seconds in an emulated guest
        from scapy.layers.inet6 import IPv6  # noqa: PLC0415

        layer = next((packet[kind] for kind in (IP, IPv6) if kind in packet), None)
        if layer is None:
            return None
        target = next((one for one in hosts.values() if any(text.partition("/")[0] == layer.dst for text in one.addresses)), None)
        family = socket.AF_INET6 if layer.version == 6 else socket.AF_INET
        if UDP in packet:
            open_sinks(self._sinks, hosts, family, {packet[UDP].dport: False, **ports})
        elif target:
            for end in (target, host):
                self._sinks.add_echo(end.namespace, family)
        return target


def open_sinks(sinks: traffic.Sinks, hosts: Mapping[str, Host], family: socket.AddressFamily, ports: Mapping[int, bool], *, room: int = 0,
               ) -> None:
    """Take the datagrams for these ports on each host. A server of the test's that has one takes them itself.

    :param ports: each with whether tproxy leads datagrams there
    :param room: as :meth:`harness.guest.traffic.Sinks.add_udp` has it
    """
    for host in hosts.values():
        for port, transparent in ports.items():
            try:
                sinks.add_udp(host.namespace, family, port, transparent=transparent, room=room)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise


def close_sinks(sinks: traffic.Sinks, hosts: Mapping[str, Host]) -> None:
    """Leave the ports to a server of the test's. What has arrived is kept."""
    for host in hosts.values():
        sinks.close_netns(host.namespace)


def _fate(packet: PacketOutcome, copies: int) -> Fate:
    """The end of a packet of which a host's sockets have got some copies."""
    dropped = next((at for at in packet.traversals if at.calls and at.calls[-1].verdict.is_drop), None)
    if copies and dropped:
        return Fate("doubled", reason=f"dropped by {describe.name(dropped.calls[-1])} at {describe.point(dropped)}, and delivered")
    if copies > 1:
        return Fate("doubled", reason=f"delivered {copies} times")
    return Fate("delivered", reason=packet.fate.reason) if copies else packet.fate


def check_packet(host: Host, packet: object, device: str | None) -> None:
    """Refuse what cannot be sent.

    :raises Mistake: it is no scapy packet, or leaves neither by a route nor by a device
    """
    from scapy.layers.inet import IP  # noqa: PLC0415
    from scapy.layers.inet6 import IPv6  # noqa: PLC0415
    from scapy.packet import Packet  # noqa: PLC0415

    of_kind("the packet", packet, Packet, "IP(dst=…) / UDP(dport=…); Ether(…) / IP(…) with device=")
    with host.inside():
        devices = {name: name for _, name in socket.if_nameindex()}
    if device is not None:
        chosen(f"device of {host}", device, devices)
    elif not isinstance(packet, (IP, IPv6)):
        raise Mistake(f"{type(packet).__name__} is not routed, and no device is named that it leaves by",
                      hint=f"send(…, device=…); devices of {host}: {', '.join(devices)}")
    if isinstance(packet, (IP, IPv6)):
        destination = packet.fields.get("dst", "127.0.0.1")
        if not isinstance(destination, str):
            raise Mistake(f"the packet's destination is {destination!r}", hint='one address: IP(dst="10.0.2.2")')
    try:
        bytes(packet)  # type: ignore[call-overload]
    except Exception as error:
        raise Mistake(f"scapy cannot build the packet: {error}", hint="look at its fields: bytes(packet)") from None


def _with_answers(packets: Sequence[PacketOutcome]) -> Iterator[Walk]:
    """The walks of packets, each with those of its answers."""
    answers: dict[int, list[Walk]] = {}
    for packet in packets:
        if packet.relation and packet.relation.kind == "answer to":
            answers.setdefault(packet.relation.packet, []).append(Walk(packet))
    return (Walk(packet, answers.get(packet.number, ())) for packet in packets)


def _addressed(host: Host, packet: Packet) -> Packet:
    """With the source address that the host would choose, where none is given: checksums are made before the kernel sees the packet."""
    from scapy.layers.inet import IP  # noqa: PLC0415
    from scapy.layers.inet6 import IPv6  # noqa: PLC0415

    made = packet.copy()
    for kind, family in ((IP, socket.AF_INET), (IPv6, socket.AF_INET6)):
        if kind in made and "src" not in made[kind].fields:
            with host.inside(), socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
                try:
                    probe.connect((made[kind].dst, 9))
                except OSError as error:
                    raise Mistake(f"{host} has no way to {made[kind].dst}: {error.strerror}",
                                  hint="add a route or an address (host.routes()), or give the packet its src") from None
                made[kind].src = probe.getsockname()[0]
    return made


