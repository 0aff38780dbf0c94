"""libpcap reads the terms of filters, and says what it does not understand."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP

from harness.walks.pcap import matching

PACKETS = [
    (0x0800, 60, bytes(IP(src="10.0.0.1", dst="10.0.0.2") / TCP(dport=80, flags="S"))),
    (0x0800, 1500, bytes(IP(src="10.0.0.2", dst="10.0.0.1") / UDP(dport=53))),
    (0x86DD, 80, bytes(IPv6(src="fd00::1", dst="fd00::2") / TCP(dport=443, flags="A"))),
    (0x0806, 28, bytes(ARP(pdst="10.0.0.1"))),
]


@pytest.mark.parametrize(("term", "numbers"), [
    ("tcp", [0, 2]), ("tcp port 80 or 443", [0, 2]), ("src host 10.0.0.1", [0]), ("ip6", [2]), ("arp", [3]), ("greater 1000", [1]),
    ("tcp[tcpflags] & tcp-syn != 0", [0]), ("net 10.0.0.0/24", [0, 1, 3]), ("host 10.0.0.9", []),
])
def test_a_term_matches_what_tcpdump_would_print(term: str, numbers: list[int]) -> None:
    assert matching(term, PACKETS) == numbers


@pytest.mark.parametrize("term", ["prot 80", "host", "tcp portt 80", "port 99999999"])
def test_a_term_that_does_not_compile_has_libpcap_s_words(term: str) -> None:
    with pytest.raises(ValueError, match=r"\w{4}"):
        matching(term, PACKETS)
