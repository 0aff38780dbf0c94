"""Sockets that a scenario's packets are sent from, and the packets' bytes: made once, used for many.

scapy makes a packet in ten milliseconds in an emulated guest; two packets that differ in their cookies only differ in ten bytes,
those that differ in their TTLs in one.
"""

from __future__ import annotations

import socket
import struct
from contextlib import ExitStack
from functools import lru_cache

from harness.guest.netns import Namespace
from harness.guest.traffic import COOKIE_BYTES, let_in, payload, udp_packet

__all__ = ("Senders", "datagram", "echo_request", "ethernet")

_UDP_CHECKSUM, _ICMP_CHECKSUM = 6, 2
_TTL, _HOP_LIMIT = 8, 7


class Senders:
    """Raw sockets by namespace; they take in nothing. A context."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._sockets: dict[tuple[str, int, int], socket.socket] = {}

    def __enter__(self) -> Senders:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def close_netns(self, netns: Namespace) -> None:
        """Close those of a namespace, which they would keep alive."""
        for key in [key for key in self._sockets if key[0] == netns.name]:
            self._sockets.pop(key).close()

    def send_ip(self, netns: Namespace, packet: bytes, to: str) -> int:
        """A whole IP or IPv6 packet, routed like a local one.

        :returns: positive errno of ``sendto()``, 0 if it was taken
        """
        return _sendto(self._socket(netns, _family(to), socket.IPPROTO_RAW), packet, to)

    def send_echo(self, netns: Namespace, request: bytes, to: str, ttl: int) -> int:
        """An echo request without IP header.

        :returns: as :meth:`send_ip`
        """
        family = _family(to)
        protocol = socket.IPPROTO_ICMPV6 if family is socket.AF_INET6 else socket.IPPROTO_ICMP
        sender = self._socket(netns, family, protocol)
        if family is socket.AF_INET6:
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
        else:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        return _sendto(sender, request, to)

    def send_frame(self, netns: Namespace, device: str, frame: bytes) -> int:
        """A frame out of a device.

        :returns: as :meth:`send_ip`
        """
        # Kept like the others: to close a packet socket takes a grace period.
        return _sendto(self._socket(netns, socket.AF_PACKET, 0), frame, device)

    def _socket(self, netns: Namespace, family: socket.AddressFamily, protocol: int) -> socket.socket:
        key = netns.name, int(family), protocol
        if key not in self._sockets:
            with netns.inside():
                self._sockets[key] = self._stack.enter_context(_raw_socket(family, protocol))
        return self._sockets[key]


def _sendto(sender: socket.socket, data: bytes, to: str) -> int:
    try:
        sender.sendto(data, (to, 0))
    except OSError as error:
        return error.errno or 0
    return 0


def _raw_socket(family: socket.AddressFamily, protocol: int) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    if protocol in (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6):
        let_in(opened, ())
    return opened


def datagram(source: str, to: str, ports: tuple[int, int], *, size: int, cookie: int, ttl: int) -> bytes:
    """A UDP datagram with its IP header, whose checksum the kernel fills in (``raw_send_hdrinc``).

    :param ports: source and destination
    :param size: bytes of payload, of which the last carry the cookie
    """
    packet, transport = _datagram(source, to, ports, size)
    at = _HOP_LIMIT if _family(to) is socket.AF_INET6 else _TTL
    return _stamped(packet[:at] + bytes([ttl]) + packet[at + 1:], payload(size, cookie), transport, _UDP_CHECKSUM)


@lru_cache(maxsize=64)
def ethernet(source: str, to: str, kind: int, vlan: int | None) -> bytes:
    """The header of a frame.

    :param source: hardware address, as is *to*
    :param kind: EtherType
    :param vlan: a tag's
    """
    from scapy.layers.l2 import Dot1Q, Ether  # noqa: PLC0415 - seconds in an emulated guest

    tagged = Ether(src=source, dst=to) / Dot1Q(vlan=vlan, type=kind) if vlan is not None else Ether(src=source, dst=to, type=kind)
    return bytes(tagged)


def echo_request(pf: socket.AddressFamily, size: int, cookie: int) -> bytes:
    """An echo request; the kernel fills in the checksum of an ICMPv6 one.

    :param size: as of :func:`datagram`
    """
    request = _echo_request(pf, size)
    return _stamped(request, payload(size, cookie), 0, None if pf is socket.AF_INET6 else _ICMP_CHECKSUM)


@lru_cache(maxsize=512)
def _datagram(source: str, to: str, ports: tuple[int, int], size: int) -> tuple[bytes, int]:
    """A UDP datagram, its IP header included.

    :returns: also where its UDP header begins
    """
    packet = udp_packet(source, to, *ports, payload(size, 0))
    if packet.version == 4:
        packet.chksum = 0
    whole = bytes(packet)
    return whole, len(whole) - size - 8


@lru_cache(maxsize=64)
def _echo_request(pf: socket.AddressFamily, size: int) -> bytes:
    from scapy.layers.inet import ICMP  # noqa: PLC0415 - seconds in an emulated guest
    from scapy.layers.inet6 import ICMPv6EchoRequest  # noqa: PLC0415

    data = payload(size, 0)
    return bytes(ICMPv6EchoRequest(id=1, seq=1, cksum=0, data=data) if pf is socket.AF_INET6 else ICMP(id=1, seq=1) / data)


def _stamped(packet: bytes, data: bytes, transport: int, checksum: int | None) -> bytes:
    """The packet with another payload in the place of one of the same size with cookies that are 0, and its checksum to match (RFC 1624).

    :param transport: where the header with the checksum begins
    :param checksum: its place there
    """
    stamped = packet[:-len(data)] + data
    if checksum is None:
        return stamped
    number, at = data[-8:], transport + checksum
    aligned = b"\0" + number + b"\0" if (len(packet) - transport) % 2 else number
    added = sum(struct.unpack(f"!{len(aligned) // 2}H", aligned)) * (len(data) // COOKIE_BYTES)
    total = (~int.from_bytes(packet[at:at + 2], "big") & 0xFFFF) + added
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return stamped[:at] + struct.pack("!H", ~total & 0xFFFF or 0xFFFF) + stamped[at + 2:]


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
