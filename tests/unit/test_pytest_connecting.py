"""Which of a block's packets are a connection's own, and what became of it."""

from __future__ import annotations

import struct
from errno import ECONNREFUSED, ETIMEDOUT
from ipaddress import ip_address

import pytest

from harness.netfilter import Family
from harness.outcome.fate import Delivered, Dropped, Fate
from harness.outcome.types import PacketOutcome, Traversal
from harness.pytest_plugin.connecting import Exchange, TcpConnection, connection_of
from harness.pytest_plugin.walks import Walk

CLIENT, SERVER, ROUTER, SIX = "10.0.1.2", "10.0.2.2", "10.0.2.1", "fd00::2"
PORT, BEGIN, SYN, ACK = 40000, 2**32 - 1, 0x02, 0x10


def head(source: str, sport: int, to: str, dport: int, *, sequence: int = 0, acknowledges: int = 0, flags: int = ACK) -> bytes:
    """A TCP segment without data."""
    ends = ip_address(source).packed + ip_address(to).packed
    segment = struct.pack("!HHIIBBHHH", sport, dport, sequence, acknowledges, 0x50, flags, 0, 0, 0)
    if ":" in source:
        return struct.pack("!IHBB", 6 << 28, len(segment), 6, 64) + ends + segment
    return struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0) + ends + segment


def walk(number: int, *heads: bytes, fate: Fate | None = None, answers: tuple[Walk, ...] = ()) -> Walk:
    traversals = tuple(Traversal(Family.IPV4, 2, "router", "a", "b", (), 1, head=one) for one in heads)
    return Walk(PacketOutcome(f"packet {number}", None, fate or Delivered(), traversals, kind="tcp", number=number), answers)


def seen(error: int = 0, client: str = CLIENT) -> Exchange:
    return Exchange(b"four", errno=error, client=(client, PORT), is_complete=not error)


def numbers(walks: tuple[Walk, ...] | list[Walk]) -> list[int]:
    return [one.outcome.number for one in walks]


def asked(client: str = CLIENT, server: str = SERVER) -> Walk:
    return walk(1, head(client, PORT, server, 80, sequence=BEGIN, flags=SYN))


def connection(*walks: Walk, error: int = 0) -> TcpConnection:
    return connection_of(seen(error), walks)


def test_packets_are_the_clients_or_come_back_to_it_and_others_are_unrelated() -> None:
    others = walk(3, head(CLIENT, PORT + 1, SERVER, 80, acknowledges=900)), walk(4, head(SERVER, 80, CLIENT, PORT + 1, acknowledges=900))
    found = connection(asked(), walk(2, head(SERVER, 80, CLIENT, PORT, flags=SYN | ACK)), *others)
    assert (numbers(found.there), numbers(found.back), numbers(found.walks)) == ([1], [2], [1, 2])


@pytest.mark.parametrize(("acknowledges", "flags", "back"), [
    (0, ACK, True), (5, ACK, True), (6, ACK, False), (BEGIN - 1, ACK, False), (5, 0, False),
])
def test_behind_nat_a_packet_comes_back_that_acknowledges_what_the_client_sent(acknowledges: int, flags: int, back: bool) -> None:
    """The SYN has number 2^32 - 1, the four bytes 0 to 3, the FIN 4: what is expected after it is 5."""
    found = connection(asked(), walk(2, head(SERVER, 80, ROUTER, 1024, acknowledges=acknowledges, flags=flags)))
    assert numbers(found.back) == [2] * back


def test_a_packet_that_nat_changes_on_its_way_is_the_clients_where_it_still_has_its_address() -> None:
    found = connection(walk(1, head(CLIENT, PORT, SERVER, 80), head(ROUTER, 1024, SERVER, 80)),
                       walk(2, head(SERVER, 80, ROUTER, 1024, acknowledges=77), head(SERVER, 80, CLIENT, PORT, acknowledges=77)))
    assert (numbers(found.there), numbers(found.back)) == ([1], [2])


def test_a_connection_over_ipv6() -> None:
    found = connection_of(seen(client=SIX), [asked(SIX, "fd00::1"), walk(2, head("fd00::1", 80, SIX, PORT))])
    assert (numbers(found.there), numbers(found.back)) == ([1], [2])


def test_the_fate_is_that_of_the_first_packet_that_was_not_delivered() -> None:
    dropped = walk(3, head(CLIENT, PORT, SERVER, 80), fate=Dropped("EHOSTUNREACH"))
    found = connection(asked(), walk(2, head(SERVER, 80, CLIENT, PORT)), dropped, walk(4, head(CLIENT, PORT, SERVER, 80), fate=Dropped()),
                       error=ETIMEDOUT)
    assert found.fate is dropped.fate


def test_a_connection_whose_bytes_came_is_delivered_though_a_packet_of_it_was_not() -> None:
    first = asked()
    assert connection(walk(0, head(CLIENT, PORT, SERVER, 80), fate=Dropped()), first).fate is first.fate
    assert connection().fate == Delivered()


@pytest.mark.parametrize(("walks", "why"), [
    ((), "ECONNREFUSED, and no packet of it was seen"), ((asked(),), "ECONNREFUSED, and every packet of it that was seen was delivered"),
])
def test_where_no_packet_tells_why_it_failed_the_fate_is_unknown(walks: tuple[Walk, ...], why: str) -> None:
    fate = connection(*walks, error=ECONNREFUSED).fate
    assert (fate.kind, fate.reason) == ("unknown", why)


def test_a_reset_is_an_answer_and_comes_back() -> None:
    reset = walk(2, head(SERVER, 80, CLIENT, PORT, flags=0x14))
    refused = walk(1, head(CLIENT, PORT, SERVER, 80, flags=SYN), answers=(Walk(reset.outcome),))
    found = connection(refused, reset, error=ECONNREFUSED)
    assert found.answers == found.back == (reset,)
