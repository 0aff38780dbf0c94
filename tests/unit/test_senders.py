"""A packet that gets its cookie late is the packet that scapy makes with it."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP

from harness.guest.senders import datagram, echo_request
from harness.guest.traffic import cookie_of, payload, udp_packet

cookies = st.integers(0, 2**64 - 1)
sizes = st.integers(16, 64)


@pytest.mark.parametrize(("source", "to"), [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")])
@given(sizes, cookies, st.integers(1, 255))
def test_a_datagram(source: str, to: str, size: int, cookie: int, ttl: int) -> None:
    stamped = datagram(source, to, (40000, 9), size=size, cookie=cookie, ttl=ttl)
    packet = udp_packet(source, to, 40000, 9, payload(size, cookie), ttl=ttl)
    if packet.version == 4:
        packet.chksum = 0  # the kernel's to fill in
    assert stamped == bytes(packet)


@given(sizes, cookies)
def test_an_echo_request(size: int, cookie: int) -> None:
    assert echo_request(socket.AF_INET, size, cookie) == bytes(ICMP(id=1, seq=1) / payload(size, cookie))


@given(sizes, cookies)
def test_an_icmpv6_echo_request_leaves_its_checksum_to_the_kernel(size: int, cookie: int) -> None:
    request = echo_request(socket.AF_INET6, size, cookie)
    assert (request[:4], cookie_of(request), len(request)) == (b"\x80\0\0\0", cookie, 8 + size)
