"""Steps that send packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.netfilter import Family
from harness.scenario.addresses import Address, ip_address
from harness.scenario.routing import first_address, owner, source_address
from harness.scenario.topology import Topology

__all__ = ("COOKIE_BYTES", "SIZE_MAX", "WHOLE_MAX", "PacketKind", "Send", "destination", "last_piece", "packet_summary")

PacketKind = Literal["udp", "echo"]

COOKIE_BYTES = 16
"""A payload ends with eight bytes of magic and the cookie; it is never smaller."""
SIZE_MAX = 16384
"""Largest payload."""
WHOLE_MAX = 1400
"""Largest payload that is below a veth's MTU with any headers, so that it is not fragmented."""


_ROOM = {Family.IPV4: 1480, Family.IPV6: 1448}
"""IP payload of a fragment that the kernel makes for a device whose MTU is 1500."""


@dataclass(frozen=True, slots=True)
class Send:
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

    def __post_init__(self) -> None:
        if self.kind == "echo":
            object.__setattr__(self, "source_port", 0)
            object.__setattr__(self, "port", 0)


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
