"""Steps that send packets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from harness.netfilter import Family
from harness.scenario.addresses import Address, ip_address, ip_interface
from harness.scenario.keys import COOKIE_MAX
from harness.scenario.reader import Value, fail, quote, suggest
from harness.scenario.routing import family_of, first_address, lookup, owner, source_address
from harness.scenario.scope import Scope
from harness.scenario.step import DRAWN, Facts, Sink, Step, Traffic, flushed, no_rules, none_wait, nothing, nowhere, same_topology
from harness.scenario.topology import Topology

__all__ = ("COOKIE_BYTES", "SIZE_MAX", "WHOLE_MAX", "PacketKind", "Send", "destination", "has_socket", "last_piece",
           "neighbour", "packet_summary")

PacketKind = Literal["udp", "echo"]
Group = Literal["broadcast", "multicast"]
_GROUPS: dict[str, Group] = {"broadcast": "broadcast", "multicast": "multicast"}

COOKIE_BYTES = 16
"""A payload ends with eight bytes of magic and the cookie; it is never smaller."""
SIZE_MAX = 16384
"""Largest payload."""
WHOLE_MAX = 1400
"""Largest payload that is below a veth's MTU with any headers, so that it is not fragmented."""

_PIECE_MIN = 64
_ROOM = {Family.IPV4: 1480, Family.IPV6: 1448}
"""IP payload of a fragment that the kernel makes for a device whose MTU is 1500."""


def _traffic(step: Send) -> Traffic:
    return Traffic(step.cookie, frozenset({6 if step.pf is Family.IPV6 else 4}))


def _ends(step: Send, topology: Topology) -> Iterator[Sink]:
    """A datagram's at its destination; an echo request's there and, for the reply, at its source."""
    netns, address = destination(topology, step)
    for name in {netns} if step.kind == "udp" else {netns, step.source}:
        yield Sink(name, step.kind, 6 if address.version == 6 else 4, step.port)


@dataclass(frozen=True, slots=True)
class Send(Step):
    """One packet; a sink waits at the other end.

    It is made with scapy and sent with ``sendto()`` on a raw socket. A datagram that is too large for that is left to a UDP socket, and so
    to the kernel's own fragmentation.

    :param source: the sending namespace (``from`` in JSON)
    :param to: a namespace, whose first address of the family is meant, or an address
    :param cookie: carried in the last 8 bytes of the payload; no two packets of a scenario share one
    :param size: bytes of payload (of UDP, of the echo request)
    :param source_port: of UDP; 0 for echo, as is ``port``
    :param fragment: it is sent in fragments of so many bytes of IP payload, one ``sendto()`` each
    :param segment: it is sent as segments of so many bytes of payload, which the kernel keeps together (``UDP_SEGMENT``)
    :param group: its frame is for a group, as if that were the neighbour's hardware address; the other end of a link has the address *to*
    """

    source: str
    to: str
    cookie: int
    pf: Family = Family.IPV4
    kind: PacketKind = "udp"
    size: int = 32
    ttl: int = 64
    source_port: int = 40000
    port: int = 9
    fragment: int | None = None
    segment: int | None = None
    group: Group | None = None

    do = "send"
    facts = Facts(flushed=flushed, touches=nowhere, allocates=nothing, sends=_traffic, sinks=_ends, queues=none_wait, redirects=False,
                  needs=(), rules=no_rules, modules=False, baseline=False, leaves=same_topology, not_drawn=DRAWN)

    def __post_init__(self) -> None:
        if self.kind == "echo":
            object.__setattr__(self, "source_port", 0)
            object.__setattr__(self, "port", 0)

    @classmethod
    def read(cls, value: Value) -> Send:
        value.keys(("do", "from", "to", "cookie"), ("pf", "kind", "size", "ttl", "source_port", "port", "fragment", "segment", "group"))
        to = value["to"].string()
        echo = "kind" in value and value["kind"].choice(("udp", "echo")) == "echo"
        if echo:
            for key, what in (("source_port", "ports"), ("port", "ports"), ("fragment", "fragments"), ("segment", "segments")):
                if key in value:
                    value[key].fail(f"an echo request has no {what}", "remove it")
        return cls(
            source=value["from"].string(),
            to=to,
            cookie=value["cookie"].integer(1, COOKIE_MAX),
            pf=Family[value["pf"].choice(("IPV4", "IPV6"))] if "pf" in value else _implied_family(to),
            kind="echo" if echo else "udp",
            size=value["size"].integer(COOKIE_BYTES, SIZE_MAX) if "size" in value else 32,
            ttl=value["ttl"].integer(1, 255) if "ttl" in value else 64,
            source_port=0 if echo else value["source_port"].integer(1, 65535) if "source_port" in value else 40000,
            port=0 if echo else value["port"].integer(1, 65535) if "port" in value else 9,
            fragment=value["fragment"].integer(_PIECE_MIN, WHOLE_MAX) if "fragment" in value else None,
            segment=value["segment"].integer(_PIECE_MIN, WHOLE_MAX) if "segment" in value else None,
            group=_GROUPS[value["group"].choice(tuple(_GROUPS))] if "group" in value else None,
        )

    def write(self) -> dict[str, Any]:
        return {"from": self.source, "to": self.to, "pf": self.pf.name, "kind": self.kind, "cookie": self.cookie, "size": self.size,
                "ttl": self.ttl, "source_port": self.source_port or None, "port": self.port or None, "fragment": self.fragment,
                "segment": self.segment, "group": self.group}

    def check(self, scope: Scope, path: str) -> None:
        topology = scope.topology
        scope.netns(self.source, f"{path}.from")
        if self.to not in topology.namespaces:
            try:
                address = ip_address(self.to)
            except ValueError:
                fail(f"{path}.to", f"{quote(self.to)} is neither a namespace of the topology nor an address",
                     suggest(self.to, topology.namespaces, what="namespaces"))
            if family_of(address) is not self.pf:
                fail(f"{path}.pf", f"{self.to} is no {self.pf.name} address", f'write "{family_of(address).name}", or leave pf away')
        try:
            destination(topology, self)
        except ValueError as error:
            known = sorted({str(ip_interface(own).ip) for one in topology.interfaces() for own in one.addresses})
            fail(f"{path}.to", str(error), f"addresses: {', '.join(known) or 'none but those of lo'}")
        scope.new_cookie(self.cookie, f"{path}.cookie")
        _check_pieces(self, path)
        if self.group and neighbour(topology, self) is None:
            fail(f"{path}.group", f"{self.to} is not at the other end of a link of {self.source}", "choose a namespace that is")


def _implied_family(to: str) -> Family:
    try:
        return family_of(ip_address(to))
    except ValueError:
        return Family.IPV4


def _check_pieces(step: Send, path: str) -> None:
    """Every piece of a packet must end with the cookie, of which it is full."""
    if step.kind == "echo" and step.size > WHOLE_MAX:
        fail(f"{path}.size", f"an echo request is sent whole, not in {step.size} bytes", f"write {WHOLE_MAX} or less, or send udp")
    if step.fragment and step.segment:
        fail(f"{path}.segment", "a packet goes in fragments or in segments", "remove one of the two")
    for key, value in (("size", step.size), ("fragment", step.fragment or 0), ("segment", step.segment or 0)):
        if (step.fragment or step.segment or step.size > WHOLE_MAX) and value % 8:
            fail(f"{path}.{key}", f"{value} is no multiple of 8, at which a packet is cut", f"write {value // 8 * 8}")
    if step.segment and not step.segment < step.size <= 64 * step.segment:
        fail(f"{path}.segment", f"{step.size} bytes are not 2 to 64 segments of {step.segment}", "change one of the two")
    last = last_piece(step)
    if last < COOKIE_BYTES:
        fail(f"{path}.size", f"the last piece of {step.size} bytes would have {last}, too few for the cookie", f"write {step.size - 8}")
    if step.fragment and step.fragment >= step.size + 8:
        fail(f"{path}.fragment", f"{step.size} bytes and the header of UDP fit into one", "make it smaller")


def destination(topology: Topology, send: Send) -> tuple[str, Address]:
    """The namespace and the address that a packet is meant for.

    :raises ValueError: nobody has the address, or the namespace has none of the family
    """
    if send.to in topology.namespaces:
        address = first_address(topology, send.to, send.pf)
        if address is None or (address.is_loopback and send.to != send.source):
            raise ValueError(f"{send.to} has no {send.pf.name} address")
        return send.to, address
    address = ip_address(send.to)
    holder = send.source if address.is_loopback else owner(topology, address)
    if holder is None:
        raise ValueError(f"no namespace has the address {address}")
    return holder, address


def neighbour(topology: Topology, send: Send) -> tuple[str, Address] | None:
    """The device out of which a packet is sent, and the address that the other end of its link has; ``None`` if others are there."""
    _, address = destination(topology, send)
    hop = lookup(topology, send.source, address)
    if hop is None or hop.via != address or len(topology.segment(send.source, hop.device)) != 1:
        return None
    return hop.device, address


def has_socket(send: Send) -> bool:
    """Whether a UDP socket sends it, and has the source port meanwhile: what the kernel cuts up, or keeps together."""
    return not send.fragment and (send.segment is not None or send.size > WHOLE_MAX)


def last_piece(send: Send) -> int:
    """Bytes behind the IP header of the last fragment, or the payload of the last segment; the payload of what is sent whole."""
    if send.segment:
        return send.size % send.segment or send.segment
    room = send.fragment or _ROOM[send.pf]
    return (8 + send.size) % room or room if send.fragment or send.size > WHOLE_MAX else send.size


def packet_summary(topology: Topology, send: Send) -> str:
    """One line on a packet's headers: ``udp 10.0.1.2:40000 > 10.0.2.2:9, 32 bytes, ttl 64``."""
    _, to = destination(topology, send)
    source = source_address(topology, send.source, to)
    if send.kind == "udp":
        ends = f"udp {_endpoint(source, send.source_port)} > {_endpoint(to, send.port)}"
    else:
        ends = f"icmp{'v6' if to.version == 6 else ''} echo request {source or '?'} > {to}"
    cut = f", in fragments of {send.fragment}" if send.fragment else f", in segments of {send.segment}" if send.segment else ""
    return f"{ends}, {send.size} bytes{cut}, ttl {send.ttl}"


def _endpoint(address: Address | None, port: int) -> str:
    if address is None:
        return f"?:{port}"
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
