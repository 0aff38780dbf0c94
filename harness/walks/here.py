"""A packet as one hook saw it, and what an expression of a rule's reads of it. What was not recorded is never made up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

from harness.netfilter import Family
from harness.outcome.types import Change, HookCall, Traversal
from harness.walks.changes import STATUS
from harness.walks.summary import transport_of

__all__ = ("Here", "NotSeen", "NotThere", "Value", "here", "read", "words")

Value = int | str | IPv4Address | IPv6Address
"""What an expression reads: a number, a device's name (empty for no device), an address."""

_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_ETHERTYPES = {4: _IPV4, 6: _IPV6}
#: Protocol of nft's → the number that IP carries.
_TRANSPORTS = {"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58, "sctp": 132,
               "udplite": 136}
_PORTS = {"sport": (0, 16), "dport": (16, 16)}
_ICMP = {"type": (0, 8), "code": (8, 8), "id": (32, 16), "sequence": (48, 16)}
#: Protocol → field → the bit that it begins with, and bits.
_FIELDS: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "ip": {"version": (0, 4), "hdrlength": (4, 4), "dscp": (8, 6), "ecn": (14, 2), "length": (16, 16), "id": (32, 16), "frag-off": (48, 16),
           "ttl": (64, 8), "protocol": (72, 8), "saddr": (96, 32), "daddr": (128, 32)},
    "ip6": {"version": (0, 4), "dscp": (4, 6), "ecn": (10, 2), "flowlabel": (12, 20), "length": (32, 16), "nexthdr": (48, 8),
            "hoplimit": (56, 8), "saddr": (64, 128), "daddr": (192, 128)},
    "tcp": {**_PORTS, "sequence": (32, 32), "ackseq": (64, 32), "doff": (96, 4), "flags": (104, 8), "window": (112, 16)},
    "udp": {**_PORTS, "length": (32, 16)}, "udplite": _PORTS, "dccp": _PORTS, "sctp": _PORTS, "th": _PORTS,
    "icmp": _ICMP, "icmpv6": _ICMP, "esp": {"spi": (0, 32), "sequence": (32, 32)}, "ah": {"spi": (32, 32)},
}
_NAMED = {"ip": "IPv4", "ip6": "IPv6", "icmpv6": "ICMPv6", "udplite": "UDP-Lite"}
#: ``ct state``: NF_CT_STATE_BIT(), NF_CT_STATE_INVALID_BIT, NF_CT_STATE_UNTRACKED_BIT (uapi/linux/netfilter/nf_conntrack_common.h).
_STATES = {"none": 1, "established": 2, "related": 4, "new": 8, "untracked": 64}
_NAT = {"SRC_NAT": "snat", "DST_NAT": "dnat"}
#: Name of an expression → number or bit → nft's word for that.
_BITS: Mapping[str, Mapping[int, str]] = {
    "ct state": {1: "invalid", 2: "established", 4: "related", 8: "new", 64: "untracked"},
    "ct status": {1 << bit: _NAT.get(name, name.lower().replace("_", "-")) for bit, name in enumerate(STATUS)},
    "tcp flags": {1 << bit: flag for bit, flag in enumerate(("fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"))},
}
_PROTOCOLS = {number: name for name, number in _TRANSPORTS.items()}
_WORDS: Mapping[str, Mapping[int, str]] = {
    "ct direction": {0: "original", 1: "reply"},
    "meta nfproto": {2: "ipv4", 3: "arp", 5: "netdev", 7: "bridge", 10: "ipv6"},
    "meta protocol": {0x0008: "ip", 0x0608: "arp", 0xDD86: "ip6"},
    "meta l4proto": _PROTOCOLS, "ip protocol": _PROTOCOLS, "ip6 nexthdr": _PROTOCOLS,
    "icmp type": {0: "echo-reply", 3: "destination-unreachable", 5: "redirect", 8: "echo-request", 11: "time-exceeded",
                  12: "parameter-problem"},
    "icmpv6 type": {1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded", 4: "parameter-problem", 128: "echo-request",
                    129: "echo-reply", 133: "nd-router-solicit", 134: "nd-router-advert", 135: "nd-neighbor-solicit",
                    136: "nd-neighbor-advert", 137: "nd-redirect"},
}


class NotSeen(Exception):
    """What an expression reads was not recorded: its message says what."""


class NotThere(Exception):
    """The packet has nothing for an expression to read, and the kernel goes on to the next rule (NFT_BREAK)."""


class Here(NamedTuple):
    """A packet as a hook saw it.

    :param length: ``skb->len``, bytes; ``None`` where a hook before may have changed it
    :param mark: ``None`` where a rule has set it to what was not recorded
    :param connection: as of a :class:`harness.outcome.types.Traversal`
    :param zone: of its connection
    :param status: names of the bits of its connection's status
    :param rewritten: protocol and field that rules of the chain have written
    """

    pf: Family
    indev: str
    outdev: str
    packet: str
    head: bytes
    length: int | None
    mark: int | None
    connection: str
    zone: int = 0
    status: tuple[str, ...] = ()
    rewritten: frozenset[tuple[str, str]] = frozenset()


def here(traversal: Traversal, place: tuple[int, ...]) -> Here:
    """The packet before a call.

    :param place: number of the call in its traversal; of a call that NAT's hook made, the hook's number and then the call's
    """
    tracked = traversal.tracked
    found = Here(traversal.pf, traversal.indev, traversal.outdev, traversal.packet, traversal.head, traversal.length, traversal.mark,
                 traversal.connection, tracked.zone if tracked else 0, tracked.status if tracked else ())
    for call in _before(traversal.calls, place):
        if call.head:
            found = found._replace(head=call.head, length=None)
        for change in call.changed:
            found = _with(found, change)
    return found


def _before(calls: tuple[HookCall, ...], place: tuple[int, ...]) -> Iterator[HookCall]:
    """The calls that had returned, each behind those that it made itself."""
    for call in calls[:place[0]]:
        yield from call.calls
        yield call
    if len(place) > 1:
        yield from _before(calls[place[0]].calls, place[1:])


def _with(packet: Here, change: Change) -> Here:
    if change.what == "mark":
        return packet._replace(mark=int(change.after, 16))
    if change.what == "connection":
        return packet._replace(connection=change.after)
    if change.what == "zone":
        return packet._replace(zone=int(change.after))
    if change.what == "status":
        return packet._replace(status=tuple(bit for bit in change.after.split() if bit != "none"))
    return packet


def read(packet: Here, kind: str, what: Mapping[str, Any]) -> Value:
    """What ``meta``, ``ct`` and payload expressions read.

    :param kind: of the expression, as ``nft --json`` has it
    :param what: its parts
    :raises NotSeen: it was not recorded
    :raises NotThere: the packet has no such thing
    """
    if kind == "meta":
        return _meta(packet, what["key"])
    if kind == "ct":
        return _connection(packet, what)
    if kind == "payload" and "field" in what:
        return _payload(packet, what["protocol"], what["field"])
    raise NotSeen(f"{kind} is not recorded")


def _meta(packet: Here, key: str) -> Value:
    """``nft_meta_get_eval``."""
    devices = {"iif": packet.indev, "iifname": packet.indev, "oif": packet.outdev, "oifname": packet.outdev}
    if key in devices:
        return devices[key]
    if key == "nfproto" and packet.pf is not Family.NETDEV:  # a chain of inet at ingress has the packet's own (nft_do_chain_inet_ingress)
        return int(packet.pf)
    if key == "mark" and packet.mark is not None:
        return packet.mark
    if key == "mark":
        raise NotSeen("a rule before set the mark to what is not recorded")
    if key == "length" and packet.length is not None:
        return packet.length
    if key == "protocol":
        return int.from_bytes(_ethertype(packet).to_bytes(2, "big"), "little")  # nft prints it as this host's bytes
    if key == "l4proto":
        if _ethertype(packet) not in (_IPV4, _IPV6):
            raise NotThere("it is no IP packet")
        return _transport(packet)[0]
    raise NotSeen(f"meta {key} is not recorded")


def _connection(packet: Here, what: Mapping[str, Any]) -> Value:
    """``nft_ct_get_eval``: without a connection there is a state all the same, and nothing else."""
    key, state = what["key"], packet.connection.partition(",")[0]
    if "TEMPLATE" in packet.status:
        raise NotSeen("the packet has a template of a connection")
    if key == "state" and state in _STATES:
        return _STATES[state]
    if state in ("none", "untracked"):
        raise NotThere(f"it has no connection{' (untracked)' * (state == 'untracked')}")
    if key == "direction":
        return int(packet.connection.endswith("reply"))
    if key == "status":
        return sum(1 << STATUS.index(bit) for bit in packet.status if bit in STATUS)
    if key == "zone" and "dir" not in what:
        return packet.zone
    raise NotSeen(f"ct {key} is not recorded")


def _ethertype(packet: Here) -> int:
    if packet.pf is Family.ARP:
        return _ARP
    known = _ETHERTYPES.get(packet.head[0] >> 4) if packet.head else None
    if packet.pf not in (Family.IPV4, Family.IPV6) and packet.packet.startswith(("packet of type", "ARP")):
        known = None
    if known is None:
        raise NotSeen("which protocol it is of is not recorded")
    return known


def _transport(packet: Here) -> tuple[int, bytes, int]:
    number, transport, fragment = transport_of(_ethertype(packet), packet.head)
    if number is None:
        raise NotSeen(f"headers behind the first {len(packet.head)} bytes are not recorded")
    return number, transport, fragment


def _payload(packet: Here, protocol: str, field: str) -> Value:
    """``nft_payload_eval``, and what nft makes a rule look for before: the protocol that the header is of."""
    place = _FIELDS.get(protocol, {}).get(field)
    if place is None:
        raise NotSeen(f"{protocol} {field} is not recorded")
    if protocol in ("ip", "ip6"):
        header = packet.head
        if _ethertype(packet) != (_IPV4 if protocol == "ip" else _IPV6):
            raise NotThere(f"it is no {_NAMED[protocol]} packet")
    else:
        number, header, fragment = _transport(packet)
        if protocol != "th" and number != _TRANSPORTS[protocol]:
            raise NotThere(f"it is no {_NAMED.get(protocol, protocol.upper())} packet")
        if fragment:
            raise NotSeen("it is a fragment behind the first, without that header")
    if (protocol, field) in packet.rewritten:
        raise NotSeen(f"a rule before set {protocol} {field}")
    begin, size = place
    if len(header) * 8 < begin + size:
        raise NotSeen(f"{protocol} {field} is not recorded: the header is cut")
    number = int.from_bytes(header[:(begin + size + 7) // 8], "big") >> -(begin + size) % 8 & (1 << size) - 1
    if field in ("saddr", "daddr"):
        return IPv4Address(number) if protocol == "ip" else IPv6Address(number)
    return number


def words(name: str, value: Value) -> str:
    """A value in the words that nft has for it.

    :param name: of what it was read of: ``ct state``, ``tcp flags``
    """
    if isinstance(value, str):
        return value or "none"
    if not isinstance(value, int):
        return str(value)
    if name in ("mark", "ct mark"):
        return f"{value:#x}"
    return _bits(value, _BITS[name]) if name in _BITS else _WORDS.get(name, {}).get(value, str(value))


def _bits(value: int, names: Mapping[int, str]) -> str:
    """Names of the bits that are set, or the number where one has no name."""
    found = [name for bit, name in names.items() if value & bit]
    return ",".join(found) if found and not value & ~sum(names) else f"{value:#x}"
