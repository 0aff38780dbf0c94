"""What a packet became, told from the headers, marks and connections that were seen."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

import pytest

from harness.netfilter import Verdict, VerdictKind
from harness.outcome import describe
from harness.outcome.types import Change, Connection, HookCall, PacketOutcome
from harness.walks import events
from harness.walks.assembly import assembled
from harness.walks.changes import Shape, differences, tracked
from harness.walks.events import Event, Exit
from harness.walks.recording import Recording
from harness.walks.symbol import Symbol
from tests.unit.test_walks_assembly import ACCEPT, STOLEN, call, entry

TCP, UDP, ESP = 6, 17, 50
IPV4, IPV6 = 0x0800, 0x86DD


def ipv4(source: str = "10.0.0.1", destination: str = "10.0.0.2", ports: tuple[int, int] = (1000, 9), *, ttl: int = 64, tos: int = 0,
         protocol: int = UDP, fragment: int = 0, rest: bytes = b"") -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, tos, 60, 0, fragment, ttl, protocol, 0)
    return header + IPv4Address(source).packed + IPv4Address(destination).packed + struct.pack("!HH", *ports) + rest


def ipv6(destination: str, *, limit: int = 64) -> bytes:
    header = struct.pack("!IHBB", 6 << 28, 20, UDP, limit)
    return header + IPv6Address("fd00::1").packed + IPv6Address(destination).packed + struct.pack("!HH", 1000, 9)


def syn(size: int) -> bytes:
    return ipv4(protocol=TCP, rest=struct.pack("!IIBBHHHBBH", 1, 0, 0x60, 2, 1024, 0, 0, 2, 4, size))


def shape(head: bytes, *, protocol: int = IPV4, mark: int = 0, ct: int = 0) -> Shape:
    return Shape(protocol, head, 60, mark, ct)


@pytest.mark.parametrize(("before", "after", "words"), [
    (shape(ipv4()), shape(ipv4()), ""),
    (shape(ipv4()), shape(ipv4(destination="10.0.1.1", ports=(1000, 80))), "destination 10.0.0.2:9 → 10.0.1.1:80"),
    (shape(ipv4()), shape(ipv4(ports=(1001, 9))), "source 10.0.0.1:1000 → 10.0.0.1:1001"),
    (shape(ipv4()), shape(ipv4(ttl=63, tos=0x10)), "TTL 64 → 63, TOS 0x00 → 0x10"),
    (shape(ipv4(protocol=1, ports=(0x800, 1))), shape(ipv4("10.9.9.9", protocol=1, ports=(0x801, 1))), "source 10.0.0.1 → 10.9.9.9"),
    (shape(ipv4()), shape(ipv4(fragment=5, ports=(7, 7))), ""),
    (shape(ipv4()), shape(ipv4(protocol=ESP)), "packet UDP 10.0.0.1:1000 > 10.0.0.2:9, 60 bytes → ESP 10.0.0.1 > 10.0.0.2, 60 bytes"),
    (shape(ipv6("fd00::2"), protocol=IPV6), shape(ipv6("fd00::3", limit=63), protocol=IPV6),
     "destination [fd00::2]:9 → [fd00::3]:9, hop limit 64 → 63"),
    (shape(syn(1460)), shape(syn(1400)), "MSS 1460 → 1400"),
    (shape(ipv4()), shape(ipv4(), mark=0x20, ct=10), "mark 0x0 → 0x20, connection none → new"),
    (shape(ipv4(), ct=10), shape(ipv4(), ct=11), "connection new → established, reply"),
    (shape(ipv4()), shape(ipv4(), ct=10)._replace(ct_id=4_000_000_000, zone=5),
     "connection none → new, connection id none → 4000000000, zone 0 → 5"),
    (shape(ipv4(), ct=10), shape(ipv4(), ct=10)._replace(status=1 << 3 | 1 << 20), "status +CONFIRMED +BIT20"),
    (shape(ipv4(), ct=8)._replace(status=0b1010), shape(ipv4(), ct=8)._replace(status=0b1100), "status +ASSURED -SEEN_REPLY"),
    (shape(b""), shape(ipv4()), ""),
])
def test_a_change_is_told_in_words(before: Shape, after: Shape, words: str) -> None:
    assert describe.changed(differences(before, after)) == words


NAT = Symbol(0x40, "nf_nat_ipv4_pre_routing", "nf_nat")


def story(*found: Event, loops: Sequence[str] = ("nf_hook_slow", "nf_nat_inet_fn")) -> PacketOutcome:
    packet, = assembled(Recording(found, {0x40: NAT}.get, loops, namespaces=[(0, 7, "router"), (0, 8, "host")])).packets
    return packet


def made(traversal: int, head: bytes, *, mark: int = 0, ct: int = 0) -> events.Change:
    return events.Change(traversal, 0, IPV4, 60, head, mark, ct)


def test_a_change_belongs_to_the_call_before_it_and_a_later_point_does_not_tell_it_again() -> None:
    packet = story(entry(1, head=ipv4()), call(1), made(1, ipv4(), mark=1), call(1, slot=1), Exit(1, 1, 0),
                   entry(2, head=ipv4(ttl=63))._replace(mark=1), call(2), Exit(2, 1, 0))
    made_by = [describe.changed(call.changed) for call in packet.traversals[0].calls]
    assert [*made_by, *(describe.changed(one.changed) for one in packet.traversals)] == ["mark 0x0 → 0x1", "", "", "TTL 64 → 63"]
    assert [(one.mark, one.packet) for one in packet.traversals] == [(0, packet.packet), (1, packet.packet)]


def test_what_a_hook_did_while_it_stole_the_packet_is_nobodys() -> None:
    packet = story(entry(1, head=ipv4()), call(1, STOLEN), Exit(1, 0, 0))
    assert [one.changed for one in packet.traversals[0].calls] == [()]


def test_a_packet_leaves_its_connection_behind_but_not_its_mark() -> None:
    packet = story(entry(1, head=ipv4())._replace(mark=1, ct=10), Exit(1, 1, 0), entry(2, netns=8, head=ipv4()), Exit(2, 1, 0))
    assert [describe.changed(one.changed) for one in packet.traversals] == ["", "mark 0x1 → 0x0"]


def test_nat_says_what_it_translated_and_which_chain_bound_the_connection() -> None:
    translated = made(1, ipv4(destination="10.0.1.1"), ct=10)
    packet = story(entry(1, head=ipv4())._replace(ct=10), entry(3, head=b"")._replace(loop=1), call(3)._replace(chain="ip nat pre"),
                   Exit(3, 0, 0), call(1, ACCEPT, function=0x40), translated, Exit(1, 1, 0))
    assert describe.changed_by(packet.traversals[0].calls[0]) == "DNAT 10.0.0.2:9 → 10.0.1.1:9 by ip nat pre"


@pytest.mark.parametrize(("change", "words"), [
    (Change("source", "10.0.0.1:7", "10.0.0.1:8"), "SNAT 10.0.0.1:7 → 10.0.0.1:8"),
    (Change("source", "[fd00::1]:7", "[fd00::2]:7"), "SNAT [fd00::1]:7 → [fd00::2]:7 by ip nat post"),
    (Change("source", "fd00::1", "fd00::2"), "SNAT fd00::1 → fd00::2 by ip nat post"),
    (Change("mark", "0x0", "0x1"), "mark 0x0 → 0x1"),
])
def test_a_chain_is_named_only_where_no_other_reason_is_possible(change: Change, words: str) -> None:
    accept = Verdict(VerdictKind.ACCEPT)
    inner = HookCall(0, "nft_nat_do_chain", "nf_tables", 100, accept, chain="ip nat post")
    assert describe.changed_by(HookCall(0, "nf_nat_ipv4_out", "nf_nat", 100, accept, calls=(inner,), changed=(change,))) == words


@pytest.mark.parametrize(("ct", "connection"), [
    (0, None), (7, None), (10, Connection(9, 5, ("SEEN_REPLY", "CONFIRMED"), "original")),
    (11, Connection(9, 5, ("SEEN_REPLY", "CONFIRMED"), "reply"))])
def test_a_packet_s_connection_has_its_id_its_zone_its_status_and_the_direction(ct: int, connection: Connection | None) -> None:
    assert tracked(shape(ipv4(), ct=ct)._replace(ct_id=9, zone=5, status=0b1010)) == connection


def test_an_id_whose_key_the_kernel_has_not_made_yet_is_none() -> None:
    found = tracked(shape(ipv4(), ct=10))
    assert (found, describe.tracked(found)) == (Connection(None, 0, (), "original"), "original")


def test_between_namespaces_a_connection_is_left_behind_without_a_word() -> None:
    seen = (entry(1)._replace(ct=10, ct_id=9, zone=5, status=8), Exit(1, 1, 0), entry(2, netns=8), Exit(2, 1, 0))
    packet, = assembled(Recording(seen, lambda _: None)).packets
    assert [traversal.changed for traversal in packet.traversals] == [(), ()]
