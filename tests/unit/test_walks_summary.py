"""Packets in one line."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest

from harness.guest.traffic import payload
from harness.scenario.steps.link import arp_cookie
from harness.walks.summary import cookie_of, datagram_of, is_fragment, kind_of, number_of, summary

IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD


def ipv4(protocol: int, transport: bytes, fragment: int = 0) -> bytes:
    addresses = IPv4Address("10.0.0.1").packed + IPv4Address("10.0.0.2").packed
    return struct.pack("!BBHHHBBH", 0x45, 0, 100, 0, fragment, 64, protocol, 0) + addresses + transport


def ipv6(following: int, transport: bytes) -> bytes:
    return struct.pack("!IHBB", 6 << 28, 60, following, 64) + IPv6Address("fd00::1").packed + IPv6Address("fd00::2").packed + transport


PORTS = struct.pack("!HH", 1000, 53)
SYN_ACK = PORTS + bytes(8) + bytes([0x50, 0x12])


@pytest.mark.parametrize(("protocol", "head", "text", "kind"), [
    (IPV4, ipv4(17, PORTS), "UDP 10.0.0.1:1000 > 10.0.0.2:53, 100 bytes", "udp"),
    (IPV4, ipv4(6, SYN_ACK), "TCP [SA] 10.0.0.1:1000 > 10.0.0.2:53, 100 bytes", "tcp"),
    (IPV4, ipv4(1, b"\x08\0\0\0"), "ICMP echo request 10.0.0.1 > 10.0.0.2, 100 bytes", "echo request"),
    (IPV4, ipv4(17, b"xxxxxxxx", fragment=185), "UDP 10.0.0.1 > 10.0.0.2, fragment at 1480, 100 bytes", "udp"),
    (IPV4, ipv4(89, b""), "protocol 89 10.0.0.1 > 10.0.0.2, 100 bytes", "protocol 89"),
    (IPV6, ipv6(17, PORTS), "UDP [fd00::1]:1000 > [fd00::2]:53, 100 bytes", "udp"),
    (IPV6, ipv6(58, b"\x87\0\0\0"), "ICMPv6 neighbour solicitation fd00::1 > fd00::2, 100 bytes", "neighbour solicitation"),
    (IPV6, ipv6(0, b"\x3a\0\x05\x02\0\0\0\0\x8f"), "ICMPv6 multicast listener report fd00::1 > fd00::2, 100 bytes",
     "multicast listener report"),
    (IPV4, ipv4(1, b"\x0c\0\0\0"), "ICMP parameter problem 10.0.0.1 > 10.0.0.2, 100 bytes", "parameter problem"),
    (IPV6, ipv6(58, b"\x04\0\0\0"), "ICMPv6 parameter problem fd00::1 > fd00::2, 100 bytes", "parameter problem"),
    (IPV6, ipv6(58, b"\x89\0\0\0"), "ICMPv6 redirect fd00::1 > fd00::2, 100 bytes", "redirect"),
    (IPV6, ipv6(60, b"\x11\0" + bytes(6) + PORTS), "UDP [fd00::1]:1000 > [fd00::2]:53, 100 bytes", "udp"),
    (IPV6, ipv6(43, b"\x3c\0" + bytes(6) + b"\x06\0" + bytes(6) + SYN_ACK), "TCP [SA] [fd00::1]:1000 > [fd00::2]:53, 100 bytes", "tcp"),
    (IPV6, ipv6(44, b"\x3c\0\0\1" + bytes(4) + b"\x11\0" + bytes(6) + PORTS), "UDP [fd00::1]:1000 > [fd00::2]:53, 100 bytes", "udp"),
    (IPV6, ipv6(0, b"\x2c\0" + bytes(6) + b"\x11\0\0\x28" + bytes(4) + PORTS), "UDP fd00::1 > fd00::2, fragment at 40, 100 bytes",
     "udp"),
    (IPV6, ipv6(60, b"\x2b\0" + bytes(6) + b"\x11"), "protocol 43 fd00::1 > fd00::2, 100 bytes", "protocol 43"),
    (IPV4, ipv4(17, b"")[:12], "truncated packet of type 0x0800, 100 bytes", "protocol 0"),
    (0, ipv4(17, PORTS), "UDP 10.0.0.1:1000 > 10.0.0.2:53, 100 bytes", "udp"),
    (0x88CC, b"", "packet of type 0x88cc, 100 bytes", "frame"),
])
def test_a_packet_in_one_line(protocol: int, head: bytes, text: str, kind: str) -> None:
    assert summary(protocol, head, 100) == text
    assert kind_of(protocol, head) == kind


@pytest.mark.parametrize(("operation", "text"), [
    (1, "ARP who has 10.0.0.2? tell 10.0.0.1"), (2, "ARP 10.0.0.1 is at 02:00:00:00:00:01"), (9, "ARP operation 9"),
])
def test_arp_in_one_line(operation: int, text: str) -> None:
    mac = bytes.fromhex("020000000001")
    head = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation) + mac + bytes([10, 0, 0, 1]) + bytes(6) + bytes([10, 0, 0, 2])
    assert summary(ARP, head, 28) == text


@pytest.mark.parametrize(("head", "fragment"), [
    (ipv6(44, b"\x11\0\0\0" + bytes(4)), False), (ipv6(44, b"\x11\0\0\6" + bytes(4)), False), (ipv6(44, b"\x11\0\0\1" + bytes(4)), True),
    (ipv6(0, b"\x2c\0" + bytes(6) + b"\x11\0\0\x28" + bytes(4)), True), (ipv6(17, PORTS), False),
    (ipv6(17, b"\x2c\0" + bytes(6)), False), (ipv6(44, b"\x11\0\0"), False),
], ids=["atomic", "reserved bits", "first", "behind a hop-by-hop header", "whole", "data", "truncated"])
def test_what_is_a_fragment_of_ipv6(head: bytes, *, fragment: bool) -> None:
    assert is_fragment(IPV6, head) is fragment


def test_fragments_of_one_datagram_share_its_identification_wherever_their_headers_are() -> None:
    plain, behind = (b"\x11\0\0" + bytes([rest, 0, 0, 0, 7]) for rest in (1, 0x28))
    options = b"\x2c\0" + bytes(6)
    assert datagram_of(IPV6, ipv6(44, plain)) == datagram_of(IPV6, ipv6(0, options + behind)) == ipv6(44, b"")[8:] + b"\x11\0\0\0\7"


def test_a_cookie_is_the_last_eight_bytes_behind_the_magic() -> None:
    assert cookie_of(b"nfharnes" + (2**64 - 2).to_bytes(8, "big")) == 2**64 - 2
    assert cookie_of(b"nfharnex" + bytes(8)) is None
    assert cookie_of(b"") is None


@pytest.mark.parametrize("tail", [b"nfharnes" + (7).to_bytes(8, "big"), (7).to_bytes(8, "big") + b"nfharnes"], ids=["end", "cut"])
def test_a_cookie_is_read_in_either_order(tail: bytes) -> None:
    assert cookie_of(tail) == 7


@pytest.mark.parametrize("size", [16, 32, 4000])
def test_every_piece_of_a_payload_that_is_cut_at_a_multiple_of_eight_ends_with_the_cookie(size: int) -> None:
    data = payload(size, 7)
    assert {cookie_of(data[:end][-16:]) for end in range(16 + size % 8, size + 1, 8)} == {7}


def arp(operation: int, sender: str, target: str) -> bytes:
    return (struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + b"\x02" * 6 + IPv4Address(sender).packed + b"\0" * 6
            + IPv4Address(target).packed + b"\0" * 18)


def test_arp_is_told_apart_by_the_addresses_that_it_is_about() -> None:
    request, reply = (number_of(0x0806, arp(*packet), b"") for packet in ((1, "10.0.0.2", "10.0.0.1"), (2, "10.0.0.1", "10.0.0.2")))
    assert request == reply == arp_cookie("10.0.0.1", "10.0.0.2")
    assert kind_of(0x0806, arp(1, "10.0.0.2", "10.0.0.1")) == "arp request"
    assert kind_of(0x0806, arp(2, "10.0.0.1", "10.0.0.2")) == "arp reply"
