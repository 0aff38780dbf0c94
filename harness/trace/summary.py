"""A packet in one line, from the first bytes of its network header; and the cookie it carries."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

__all__ = ("COOKIE_MAGIC", "Headers", "cookie_of", "headers")

COOKIE_MAGIC = b"nfharnes"

_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58
_PROTOCOLS = {_ICMP: "ICMP", _TCP: "TCP", _UDP: "UDP", _ICMPV6: "ICMPv6", 47: "GRE", 50: "ESP", 132: "SCTP"}
_ICMP_TYPES = {
    (_ICMP, 0): "echo reply", (_ICMP, 3): "destination unreachable", (_ICMP, 5): "redirect", (_ICMP, 8): "echo request",
    (_ICMP, 11): "time exceeded", (_ICMPV6, 1): "destination unreachable", (_ICMPV6, 2): "packet too big",
    (_ICMPV6, 3): "time exceeded", (_ICMPV6, 128): "echo request", (_ICMPV6, 129): "echo reply",
    (_ICMPV6, 133): "router solicitation", (_ICMPV6, 134): "router advertisement", (_ICMPV6, 135): "neighbour solicitation",
    (_ICMPV6, 136): "neighbour advertisement", (_ICMPV6, 143): "multicast listener report",
}
_TCP_FLAGS = "FSRPAUEC"


class Headers(NamedTuple):
    """What a walk needs of a packet's headers.

    :param text: the packet in one line
    :param kind: (protocol, ICMP type): an answer that quotes a payload differs in it from what it answers
    """

    text: str
    kind: tuple[int, int | None]


def cookie_of(tail: bytes) -> int | None:
    """The number in the last 16 bytes of a packet, if they begin with the magic."""
    return int.from_bytes(tail[8:16], "big") if len(tail) == 16 and tail.startswith(COOKIE_MAGIC) else None


def headers(protocol: int, head: bytes, length: int) -> Headers:
    """Read a packet's headers as far as they are there.

    :param protocol: ``skb->protocol``, host order; :param head: from the network header on; :param length: ``skb->len``, bytes
    """
    try:
        if protocol == _IPV4:
            return _ipv4(head)
        if protocol == _IPV6:
            return _ipv6(head)
        if protocol == _ARP:
            return _arp(head)
    except (struct.error, IndexError):
        return Headers(f"truncated packet of type {protocol:#06x}, {length} bytes", (0, None))
    return Headers(f"packet of type {protocol:#06x}, {length} bytes", (0, None))


def _ipv4(head: bytes) -> Headers:
    total, _ident, fragment, _ttl, protocol = struct.unpack_from("!HHHBB", head, 2)
    source, destination = str(IPv4Address(head[12:16])), str(IPv4Address(head[16:20]))
    inner = head[(head[0] & 0xF) * 4:]
    if fragment & 0x1FFF:
        at = (fragment & 0x1FFF) * 8
        return Headers(f"{_name(protocol)} {source} > {destination}, fragment at {at}, {total} bytes", (protocol, None))
    return _transport(protocol, inner, source, destination, total)


def _ipv6(head: bytes) -> Headers:
    length, protocol = struct.unpack_from("!HB", head, 4)
    source, destination = str(IPv6Address(head[8:24])), str(IPv6Address(head[24:40]))
    if protocol == 0:  # hop-by-hop options, which multicast listener reports have
        protocol, words = head[40], head[41]
        return _transport(protocol, head[48 + 8 * words:], source, destination, 40 + length)
    return _transport(protocol, head[40:], source, destination, 40 + length)


def _transport(protocol: int, inner: bytes, source: str, destination: str, total: int) -> Headers:
    name = _name(protocol)
    if protocol in (_UDP, _TCP) and len(inner) >= 4:
        source_port, destination_port = struct.unpack_from("!HH", inner)
        if protocol == _TCP and len(inner) > 13:
            name += f" [{''.join(letter for bit, letter in enumerate(_TCP_FLAGS) if inner[13] >> bit & 1)}]"
        source, destination = (f"[{address}]" if ":" in address else address for address in (source, destination))
        return Headers(f"{name} {source}:{source_port} > {destination}:{destination_port}, {total} bytes", (protocol, None))
    if protocol in (_ICMP, _ICMPV6) and inner:
        kind = _ICMP_TYPES.get((protocol, inner[0]), f"type {inner[0]}")
        return Headers(f"{name} {kind} {source} > {destination}, {total} bytes", (protocol, inner[0]))
    return Headers(f"{name} {source} > {destination}, {total} bytes", (protocol, None))


def _arp(head: bytes) -> Headers:
    operation, = struct.unpack_from("!H", head, 6)
    sender, target = IPv4Address(head[14:18]), IPv4Address(head[24:28])
    text = {1: f"ARP who has {target}? tell {sender}", 2: f"ARP {sender} is at {head[8:14].hex(':')}"}
    return Headers(text.get(operation, f"ARP operation {operation}"), (0, None))


def _name(protocol: int) -> str:
    return _PROTOCOLS.get(protocol, f"protocol {protocol}")
