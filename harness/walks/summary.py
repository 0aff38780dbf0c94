"""A packet in one line, from the first bytes of its network header; and the cookie it carries."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

__all__ = ("COOKIE_MAGIC", "concerns", "cookie_of", "datagram_of", "error_checksum", "fields_of", "flow_of", "is_answer",
           "is_bare", "is_discarded", "is_fin", "is_fragment", "is_syn", "kind_of", "number_of", "protocol_of", "quotes",
           "resets", "summary", "transport_of", "useless_to_icmpv6")

COOKIE_MAGIC = b"nfharnes"

_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_HOP_BY_HOP, _ICMP, _TCP, _UDP, _ROUTING, _FRAGMENT, _ICMPV6, _DESTINATION = 0, 1, 6, 17, 43, 44, 58, 60
_EXTENSIONS = (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION)
_PROTOCOLS = {_ICMP: "ICMP", _TCP: "TCP", _UDP: "UDP", _ICMPV6: "ICMPv6", 47: "GRE", 50: "ESP", 132: "SCTP"}
_ICMP_TYPES = {
    (_ICMP, 0): "echo reply", (_ICMP, 3): "destination unreachable", (_ICMP, 5): "redirect", (_ICMP, 8): "echo request",
    (_ICMP, 11): "time exceeded", (_ICMP, 12): "parameter problem", (_ICMPV6, 1): "destination unreachable", (_ICMPV6, 2): "packet too big",
    (_ICMPV6, 3): "time exceeded", (_ICMPV6, 4): "parameter problem", (_ICMPV6, 128): "echo request", (_ICMPV6, 129): "echo reply",
    (_ICMPV6, 133): "router solicitation", (_ICMPV6, 134): "router advertisement", (_ICMPV6, 135): "neighbour solicitation",
    (_ICMPV6, 136): "neighbour advertisement", (_ICMPV6, 137): "redirect", (_ICMPV6, 143): "multicast listener report",
}
#: Those that quote the packet that they are about behind eight bytes; an ICMPv6 redirect has it in an option (RFC 4861, 4.6.3).
_ERRORS = {*((_ICMP, kind) for kind in (3, 5, 11, 12)), *((_ICMPV6, kind) for kind in (1, 2, 3, 4))}
#: Those that the stack itself has a use for: fragmentation needed, redirect, packet too big.
_FOR_THE_STACK = (_ICMP, 3, 4), (_ICMP, 5), (_ICMPV6, 2)
#: What ``icmp_pointers`` of net/ipv4/icmp.c has ``icmp_discard`` for, which calls that a success; up to 18, unknown types are freed.
_DISCARDED = (1, 2, 6, 7, 9, 10, 14, 15, 16, 17, 18)
#: What ``icmpv6_rcv`` has a use for of what is no error, or hands to the multicast listeners' code or to neighbour discovery. It knows
#: the extended echo (160, RFC 8335) since 5.13, and its answer (161), which is of use to a socket alone.
_USED = (128, 129, 130, 131, 133, 134, 135, 136, 137, 160)
_DISCOVERY = range(133, 138)
_LISTENER_QUERY = 130
#: A hop-by-hop option that lets routers look at a message of MLD (RFC 2711, 2.1).
_ROUTER_ALERT = bytes((5, 2, 0, 0))
_INFORMATION = 128
_QUOTED_AT_LEAST = 8 + 40 + 8
_ARP_KINDS = {1: "arp request", 2: "arp reply"}
_TCP_FLAGS = "FSRPAUEC"
_FIN, _SYN, _RST, _ACK = (1 << _TCP_FLAGS.index(flag) for flag in "FSRA")


def cookie_of(tail: bytes) -> int | None:
    """The number in the last 16 bytes of a packet, if the magic is there too: before it, or behind it in a fragment.

    A long payload repeats both, and is cut at multiples of eight bytes.
    """
    if len(tail) != 16:
        return None
    halves = tail[:8], tail[8:]
    return next((int.from_bytes(halves[1 - place], "big") for place in (0, 1) if halves[place] == COOKIE_MAGIC), None)


def number_of(protocol: int, head: bytes, tail: bytes) -> int | None:
    """What tells packets apart: the cookie; of ARP, too short for one, the two addresses that it is about, in either order.

    :param protocol: ``skb->protocol``, host order
    :param head: from the network header on
    :param tail: the last 16 bytes
    """
    if protocol == _ARP and len(head) >= 28:
        low, high = sorted((head[14:18], head[24:28]))
        return int.from_bytes(low + high, "big")
    return cookie_of(tail)


def kind_of(protocol: int, head: bytes) -> str:
    """``udp``, ``echo reply``, ``arp request``: an answer that quotes a payload, and so its cookie, differs in it from what it answers.

    :param protocol: ``skb->protocol``, host order
    :param head: from the network header on
    """
    protocol = _protocol(protocol, head)
    if protocol == _ARP:
        return _ARP_KINDS.get(head[7] if len(head) > 7 else 0, "arp")
    if protocol not in (_IPV4, _IPV6):
        return "frame"
    number, transport, _ = _transport(protocol, head)
    if number in (_ICMP, _ICMPV6) and transport:
        return _ICMP_TYPES.get((number, transport[0]), f"icmp type {transport[0]}")
    return _PROTOCOLS.get(number, f"protocol {number}").lower()


def error_checksum(protocol: int, head: bytes) -> int:
    """The checksum of an ICMP error; 0 for any other packet.

    Errors about fragments of one datagram quote the same cookie; their checksums tell them apart.

    :param protocol: ``skb->protocol``, host order
    :param head: from the network header on
    """
    number, transport, _ = _transport(_protocol(protocol, head), head)
    is_error = len(transport) >= 4 and (number, transport[0]) in _ERRORS
    return int.from_bytes(transport[2:4], "big") if is_error else 0


def is_fragment(protocol: int, head: bytes) -> bool:
    """Whether it is one, of IPv4 or IPv6. An atomic fragment, which is the whole packet, is not reassembled (RFC 6946).

    :param protocol: as of :func:`kind_of`, as is *head*
    """
    protocol = _protocol(protocol, head)
    if protocol == _IPV4:
        return len(head) >= 8 and bool((head[6] << 8 | head[7]) & 0x3FFF)
    at = _fragment_header(head) if protocol == _IPV6 else None
    return at is not None and bool((head[at + 2] << 8 | head[at + 3]) & 0xFFF9)


def datagram_of(protocol: int, head: bytes) -> bytes:
    """What the fragments of one datagram share: addresses, protocol and identification. Parameters as of :func:`kind_of`."""
    if _protocol(protocol, head) == _IPV4:
        return head[4:6] + head[9:10] + head[12:20]
    at = _fragment_header(head)
    return head[8:40] + (b"" if at is None else head[at:at + 1] + head[at + 4:at + 8])


def flow_of(protocol: int, head: bytes) -> tuple[bytes, int, int] | None:
    """The flow of a TCP segment or a datagram of UDP, the segment's sequence number (else 0) and bytes of headers; ``None`` of others.

    :param protocol: as of :func:`kind_of`, as is *head*
    """
    protocol = _protocol(protocol, head)
    number, transport, _ = _transport(protocol, head)
    if number not in (_TCP, _UDP) or len(transport) < 8:
        return None
    flow = bytes([number]) + (head[12:20] if protocol == _IPV4 else head[8:40]) + transport[:4]
    before = len(head) - len(transport)
    if number == _UDP:
        return flow, 0, before + 8
    return flow, int.from_bytes(transport[4:8], "big"), before + (transport[12] >> 4 << 2 if len(transport) > 12 else 20)


def is_answer(protocol: int, head: bytes) -> bool:
    """Whether it is an ICMP error or a reset.

    :param protocol: as of :func:`kind_of`, as is *head*
    """
    number, transport, _ = _transport(_protocol(protocol, head), head)
    if number == _TCP:
        return len(transport) > 13 and bool(transport[13] & _RST)
    return bool(transport) and (number, transport[0]) in _ERRORS


def is_discarded(protocol: int, head: bytes) -> bool:
    """Whether ICMP has no use for a packet of its type, and discards it as it consumes what it has acted upon.

    Those of ICMPv6 are informational: types that it names and leaves alone, and unknown ones.

    :param protocol: as of :func:`kind_of`, as is *head*
    """
    number, transport, _ = _transport(_protocol(protocol, head), head)
    if number == _ICMP:
        return transport[:1] != b"" and transport[0] in _DISCARDED
    return number == _ICMPV6 and transport[:1] != b"" and transport[0] >= _INFORMATION and transport[0] not in _USED


def is_fin(protocol: int, head: bytes) -> bool:
    """Whether it is a TCP segment with FIN.

    :param protocol: as of :func:`kind_of`, as is *head*
    """
    number, transport, _ = _transport(_protocol(protocol, head), head)
    return number == _TCP and len(transport) > 13 and bool(transport[13] & _FIN)


def is_syn(protocol: int, head: bytes) -> bool:
    """Whether it is a TCP segment that asks for a connection: SYN, and no ACK.

    :param protocol: as of :func:`kind_of`, as is *head*
    """
    number, transport, _ = _transport(_protocol(protocol, head), head)
    return number == _TCP and len(transport) > 13 and transport[13] & (_SYN | _ACK) == _SYN


def is_bare(protocol: int, head: bytes) -> bool:
    """Whether it is a TCP segment without ACK that asks for no connection, as a SYN with FIN or RST does not: a listener throws it away.

    :param protocol: as of :func:`kind_of`, as is *head*
    """
    number, transport, _ = _transport(_protocol(protocol, head), head)
    return number == _TCP and len(transport) > 13 and not transport[13] & _ACK and transport[13] & (_SYN | _FIN | _RST) != _SYN


def quotes(protocol: int, head: bytes, other: bytes) -> bool:
    """Whether an ICMP error is about a packet of IPv4: it quotes its identification, protocol, addresses and first eight bytes.

    :param protocol: as of :func:`kind_of`, of both; *head* is the error's, *other* the packet's
    """
    if _protocol(protocol, head) != _IPV4 or not is_answer(protocol, head) or _protocol(protocol, other) != _IPV4 or len(other) < 28:
        return False
    number, error, _ = _transport(_IPV4, head)
    quoted = error[8:]
    if number != _ICMP or len(quoted) < 28 or quoted[0] != other[0]:
        return False
    at = (quoted[0] & 0xF) * 4
    same = (slice(2, 6), slice(9, 10), slice(12, 20), slice(at, at + 8))
    return len(quoted) >= at + 8 and all(quoted[part] == other[part] for part in same)


def concerns(protocol: int, head: bytes) -> int | None:
    """The protocol of the packet that an ICMP error is about; ``None`` of any other packet, and of an error that the stack itself heeds.

    :param protocol: as of :func:`kind_of`, as is *head*
    """
    number, error, _ = _transport(_protocol(protocol, head), head)
    if (number, *error[:1]) in _FOR_THE_STACK or (number, *error[:2]) in _FOR_THE_STACK or (number, *error[:1]) not in _ERRORS:
        return None
    at = 8 + (6 if number == _ICMPV6 else 9)
    return error[at] if len(error) > at else None


def protocol_of(protocol: int, head: bytes) -> int:
    """The protocol that IP carries; 0 where it is not IP.

    :param protocol: as of :func:`kind_of`, as is *head*
    """
    return _transport(_protocol(protocol, head), head)[0]


def transport_of(protocol: int, head: bytes) -> tuple[int | None, bytes, int]:
    """(IP protocol, bytes from the transport header on, fragment offset in bytes), as far as the bytes reach; no bytes in a later fragment.

    The protocol is ``None`` where headers before it are longer than the bytes. Parameters as of :func:`kind_of`.
    """
    number, transport, fragment = _transport(_protocol(protocol, head), head)
    return None if number in _EXTENSIONS and _protocol(protocol, head) == _IPV6 else number, transport, fragment


def resets(protocol: int, head: bytes, other: bytes, length: int) -> bool:
    """Whether it is the reset that a TCP stack answers another segment with (RFC 9293, 3.5.2).

    That takes its sequence number from the segment's ACK, has an ACK itself, and sequence number 0, only where the segment has
    none. A reset that an application causes always has one (``tcp_send_active_reset``).

    :param protocol: as of :func:`kind_of`, of both; *head* is the reset's, *other* the segment's
    :param length: of the segment from the network header on, bytes
    """
    here, there = flow_of(protocol, head), flow_of(protocol, other)
    if here is None or there is None or here[0] != _reversed(there[0]):
        return False
    own, its = (_transport(_protocol(protocol, one), one)[1] for one in (head, other))
    if len(own) < 14 or len(its) < 14 or not own[13] & _RST or its[13] & _RST:
        return False
    if bool(own[13] & _ACK) == bool(its[13] & _ACK):
        return False
    if its[13] & _ACK:
        return own[4:8] == its[8:12]
    taken = length - there[2] + bool(its[13] & _SYN) + bool(its[13] & _FIN)
    return here[1] == 0 and int.from_bytes(own[8:12], "big") == (there[1] + taken) % 2**32


def useless_to_icmpv6(protocol: int, head: bytes, tail: bytes, length: int) -> str | None:
    """Why ``icmpv6_rcv``, or who gets it from there, has no use for a packet, as far as the recorded bytes tell; ``None`` if they do not.

    A checksum is computed where head and tail are the whole packet.

    :param protocol: as of :func:`kind_of`, as is *head*
    :param tail: the last 16 bytes, or none
    :param length: from the network header on, bytes
    """
    if _protocol(protocol, head) != _IPV6 or len(head) < 40 or length != 40 + int.from_bytes(head[4:6], "big"):
        return None
    number, at = _headers(head)[-1]
    if number != _ICMPV6 or is_fragment(protocol, head):
        return None
    size, kind, code = length - at, *(*head[at:at + 2], None, None)[:2]
    reasons = {
        "its checksum is wrong": _is_corrupt(head, tail, length),
        "it is too short": size < 8,
        "it quotes too little": kind is not None and kind < _INFORMATION and size < _QUOTED_AT_LEAST,
        "its hop limit is not 255": kind in _DISCOVERY and head[7] != 255,
        "its code is not 0": kind in _DISCOVERY and code not in (0, None),
    }
    if kind == _LISTENER_QUERY:  # RFC 3810, 6.2
        reasons |= {
            "its source is no link-local address": head[8] != 0xFE or head[9] & 0xC0 != 0x80,
            "its hop limit is not 1": head[7] != 1,
            "it has no router alert": head[6] != _HOP_BY_HOP or _ROUTER_ALERT not in head[42:42 + 6 + 8 * head[41]],
        }
    return next((reason for reason, is_so in reasons.items() if is_so), None)


def _is_corrupt(head: bytes, tail: bytes, length: int) -> bool:
    """Whether the checksum of a packet of ICMPv6 is wrong; false where head and tail are not all of it.

    With a routing header the checksum is about the last address, which may not be the header's.
    """
    missing = max(0, length - len(head))
    packet = head[:length] + (tail[-missing:] if missing else b"")
    headers = _headers(head)
    if len(packet) != length or any(protocol == _ROUTING for protocol, _ in headers):
        return False
    message = packet[headers[-1][1]:]
    return _sum(head[8:40] + struct.pack("!II", len(message), _ICMPV6) + message) != 0xFFFF


def _sum(data: bytes) -> int:
    """The ones' complement sum of 16-bit words (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _reversed(flow: bytes) -> bytes:
    """The flow of what comes back, as :func:`flow_of` has it."""
    number, addresses, ports = flow[:1], flow[1:-4], flow[-4:]
    half = len(addresses) // 2
    return number + addresses[half:] + addresses[:half] + ports[2:] + ports[:2]


def summary(protocol: int, head: bytes, length: int) -> str:
    """A packet in one line, as far as its headers are there.

    :param length: ``skb->len``, bytes; otherwise as :func:`kind_of`
    """
    protocol = _protocol(protocol, head)
    try:
        if protocol == _IPV4:
            return _ip(protocol, head, str(IPv4Address(head[12:16])), str(IPv4Address(head[16:20])))
        if protocol == _IPV6:
            return _ip(protocol, head, str(IPv6Address(head[8:24])), str(IPv6Address(head[24:40])))
        if protocol == _ARP:
            return _arp(head)
    except (ValueError, struct.error):
        return f"truncated packet of type {protocol:#06x}, {length} bytes"
    return f"packet of type {protocol:#06x}, {length} bytes"


def fields_of(protocol: int, head: bytes) -> dict[str, str]:
    """What the headers of a packet say, by its name, as far as they are there. An IPv6 address is in brackets if a port follows.

    Parameters as of :func:`kind_of`.
    """
    protocol = _protocol(protocol, head)
    number, transport, _ = _transport(protocol, head)
    found = {"protocol": f"{protocol:#06x}/{number}"}
    ported = number in (_TCP, _UDP) and len(transport) >= 4
    if protocol == _IPV4 and len(head) >= 20:
        found |= {"source": str(IPv4Address(head[12:16])), "destination": str(IPv4Address(head[16:20])), "TTL": str(head[8]),
                  "TOS": f"{head[1]:#04x}"}
    elif protocol == _IPV6 and len(head) >= 40:
        ends = (str(IPv6Address(head[8:24])), str(IPv6Address(head[24:40])))
        first, second = (f"[{end}]" if ported else end for end in ends)
        found |= {"source": first, "destination": second, "hop limit": str(head[7]), "TOS": f"{(head[0] & 0xF) << 4 | head[1] >> 4:#04x}"}
    if ported and "source" in found:
        ports = struct.unpack_from("!HH", transport)
        found |= {f"{end} port": f":{port}" for end, port in zip(("source", "destination"), ports, strict=True)}
    if number == _TCP and (size := _segment_size(transport)):
        found["MSS"] = str(size)
    return found


def _segment_size(header: bytes) -> int:
    """The maximum segment size that a SYN offers first among its options (RFC 9293, 3.7.1); 0 for none."""
    offers = len(header) >= 24 and bool(header[13] & _SYN) and header[20:22] == b"\x02\x04"
    return int.from_bytes(header[22:24], "big") if offers else 0


def _protocol(protocol: int, head: bytes) -> int:
    """The protocol of a packet: ``skb->protocol``, or what the IP header says if that is 0.

    Older kernels have not set it yet when a packet of a raw socket crosses OUTPUT.
    """
    if protocol == 0 and head:
        return {4: _IPV4, 6: _IPV6}.get(head[0] >> 4, 0)
    return protocol


def _transport(protocol: int, head: bytes) -> tuple[int, bytes, int]:
    """(IP protocol, bytes from the transport header on, fragment offset in bytes); no bytes in a later fragment."""
    if protocol == _IPV4 and len(head) >= 20:
        fragment = (head[6] << 8 | head[7]) & 0x1FFF
        return head[9], b"" if fragment else head[(head[0] & 0xF) * 4:], fragment * 8
    if protocol == _IPV6 and len(head) >= 40:
        number, at = _headers(head)[-1]
        header = _fragment_header(head)
        fragment = 0 if header is None else (head[header + 2] << 8 | head[header + 3]) & 0xFFF8
        return number, b"" if fragment else head[at:], fragment
    return 0, b"", 0


def _headers(head: bytes) -> list[tuple[int, int]]:
    """Protocol and place of each header behind IPv6's, the transport's last, as far as the bytes reach; none in a later fragment."""
    found = [(head[6], 40)]
    while found[-1][0] in _EXTENSIONS and len(head) >= found[-1][1] + 8:
        protocol, at = found[-1]
        found.append((head[at], at + (8 if protocol == _FRAGMENT else 8 + 8 * head[at + 1])))
        if protocol == _FRAGMENT and (head[at + 2] << 8 | head[at + 3]) & 0xFFF8:
            break
    return found


def _fragment_header(head: bytes) -> int | None:
    """Where an IPv6 packet's fragment header is, if it has one among the bytes."""
    headers = _headers(head) if len(head) >= 40 else ()
    return next((at for protocol, at in headers if protocol == _FRAGMENT and len(head) >= at + 8), None)


def _ip(protocol: int, head: bytes, source: str, destination: str) -> str:
    total, = struct.unpack_from("!H", head, 2 if protocol == _IPV4 else 4)
    total += 0 if protocol == _IPV4 else 40
    number, inner, fragment = _transport(protocol, head)
    name = _PROTOCOLS.get(number, f"protocol {number}")
    if number in (_UDP, _TCP) and len(inner) >= 4:
        ports = struct.unpack_from("!HH", inner)
        if number == _TCP and len(inner) > 13:
            name += f" [{''.join(letter for bit, letter in enumerate(_TCP_FLAGS) if inner[13] >> bit & 1)}]"
        source, destination = (f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
                               for address, port in zip((source, destination), ports, strict=True))
    elif number in (_ICMP, _ICMPV6) and inner:
        name += f" {_ICMP_TYPES.get((number, inner[0]), f'type {inner[0]}')}"
    at = f", fragment at {fragment}" if fragment else ""
    return f"{name} {source} > {destination}{at}, {total} bytes"


def _arp(head: bytes) -> str:
    operation, = struct.unpack_from("!H", head, 6)
    sender, target = IPv4Address(head[14:18]), IPv4Address(head[24:28])
    texts = {1: f"ARP who has {target}? tell {sender}", 2: f"ARP {sender} is at {head[8:14].hex(':')}"}
    return texts.get(operation, f"ARP operation {operation}")
