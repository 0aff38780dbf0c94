"""Ends that are told by what the kernel was seen to do, or not to do, with a packet; and what is said where that cannot be seen."""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from errno import EINVAL

import pytest

from harness.outcome.fate import Fate
from harness.outcome.types import Relation
from harness.walks.assembly import assembled
from harness.walks.events import Came, Event, Exit, How, Turn
from harness.walks.recording import Recording
from harness.walks.symbol import Symbol
from tests.unit.test_walks_assembly import (
    DROP_EPERM,
    ETH1,
    FREED,
    ICMP,
    LOCAL,
    QUEUE_3,
    RELEASED,
    SYMBOLS,
    call,
    end,
    entry,
    fragment_header,
    ip,
    only,
    six,
    turn,
)

GENEVE, DUMMY, VXLAN = 0x20, 0x30, 0x40
DRIVERS = {**SYMBOLS, GENEVE: Symbol(GENEVE, "geneve_xmit", "geneve"), DUMMY: Symbol(DUMMY, "dummy_xmit", "dummy"),
           VXLAN: Symbol(VXLAN, "vxlan_xmit", "vxlan")}
ARP = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + bytes(20)
TOLD = frozenset(Came)
CONSUMED = How.CONSUMED


def error(kind: int, code: int, about: int) -> bytes:
    """An ICMP error about a packet of that protocol."""
    return ip(ICMP)[:-4] + bytes([kind, code]) + bytes(6) + ip(about)


def segment(flags: int) -> bytes:
    """One of TCP without data, 40 bytes."""
    return ip(6)[:-4] + struct.pack("!HHIIBB", 1000, 9, 1, 1, 0x50, flags) + bytes(6)


def told(*events: Event, tells: Collection[Came] = TOLD, reasons: Sequence[str] = ()) -> Fate:
    packet, = assembled(Recording(events, DRIVERS.get, reasons=dict(enumerate(reasons, 1)), tells=tells)).packets
    return packet.fate


@pytest.mark.parametrize(("head", "came", "kind"), [
    (ip(ICMP, 8), (), "dropped by the stack"), (ip(ICMP, 8), (Came.REPLIED,), "delivered"), (ip(ICMP, 8), (Came.TAKEN,), "delivered"),
    (ip(ICMP, 13), (), "dropped by the stack"), (ip(ICMP, 13), (Came.REPLIED,), "delivered"),
    (error(3, 3, 17), (), "dropped by the stack"), (error(3, 3, 17), (Came.HEEDED,), "delivered"),
    (error(11, 0, 6), (), "dropped by the stack"), (error(11, 0, 6), (Came.TAKEN,), "delivered"),
    (error(3, 3, ICMP), (), "consumed"), (error(3, 3, ICMP), (Came.TAKEN,), "delivered"), (error(3, 3, 136), (Came.HEEDED,), "delivered"),
    (error(3, 4, 17), (), "delivered"), (error(5, 1, 17), (), "delivered"), (ip(ICMP, 14), (), "dropped by the stack"),
    (ip(ICMP, 18), (), "dropped by the stack"), (ip(ICMP, 9), (Came.TAKEN,), "delivered"), (ip(ICMP, 4), (), "delivered"),
])
def test_what_icmp_consumes_was_of_use_if_it_answered_or_a_socket_was_found(head: bytes, came: Sequence[Came], kind: str) -> None:
    events: list[Event] = [entry(1, head=head), call(1), Exit(1, 1, 0), LOCAL, *map(turn, came), end()]
    assert told(*events).kind == kind
    assert told(*events, tells=()).kind in {"delivered", "consumed"}


@pytest.mark.parametrize(("flags", "length", "came", "kind"), [
    (0x10, 40, (), "delivered"), (0x10, 40, (Came.USELESS,), "dropped by the stack"), (0x10, 90, (Came.USELESS,), "delivered"),
    (0x02, 40, (), "dropped by the stack"), (0x02, 40, (Came.SYNACKED,), "delivered"),
])
def test_tcp_frees_alike_what_is_of_use_to_it_and_what_is_not(flags: int, length: int, came: Sequence[Came], kind: str) -> None:
    freed = end(how=FREED if flags == 0x02 else RELEASED, location=0x2004)
    seen = entry(1, head=segment(flags))._replace(length=length)
    assert told(seen, call(1), Exit(1, 1, 0), LOCAL, *map(turn, came), freed, reasons=["TCP_CLOSE"]).kind == kind


@pytest.mark.parametrize(("reason", "length", "came", "kind"), [
    (0, 40, (), "delivered"), (0, 90, (), "dropped by the stack"), (1, 40, (), "dropped by the stack"),
    (0, 40, (Came.USELESS,), "dropped by the stack"),
])
def test_an_ack_that_is_freed_for_no_reason_while_its_connection_closes_was_of_use(
        reason: int, length: int, came: Sequence[Came], kind: str) -> None:
    seen = entry(1, head=segment(0x10))._replace(length=length)
    events: list[Event] = [seen, call(1), Exit(1, 1, 0), LOCAL, *map(turn, came), end(how=FREED, reason=reason, location=0xB004)]
    assert told(*events, reasons=["TCP_CLOSE"]).kind == kind
    assert told(*events, reasons=["TCP_FLAGS"]).kind == "dropped by the stack"


@pytest.mark.parametrize(("driver", "fate", "reason"), [
    (GENEVE, Fate("dropped by the stack"), "eth1 found no way for it, in geneve_xmit"), (DUMMY, Fate("sent"), "by eth1"),
])
def test_a_tunnel_that_consumes_what_it_is_to_carry_has_dropped_it(driver: int, fate: Fate, reason: str) -> None:
    at_device = Turn(0xA, Came.XMIT, 0, ETH1, "eth1", driver)
    found = told(entry(1), call(1), Exit(1, 1, 0), at_device, end()._replace(dev=ETH1))
    assert (found, found.reason) == (fate, reason)
    assert told(entry(1), call(1), Exit(1, 1, 0), at_device) == Fate("sent")


@pytest.mark.parametrize(("driver", "how", "kind"), [
    (VXLAN, CONSUMED, "consumed"), (VXLAN, FREED, "dropped by the stack"), (GENEVE, CONSUMED, "dropped by the stack"),
])
def test_a_vxlan_may_have_answered_the_question_for_a_neighbour_that_it_consumes(driver: int, how: How, kind: str) -> None:
    asks = entry(1, pf=3, head=ARP)._replace(protocol=0x0806)
    at_device = Turn(0xA, Came.XMIT, 0, ETH1, "eth1", driver)
    assert told(asks, call(1), Exit(1, 1, 0), at_device, end(how=how)._replace(dev=ETH1)).kind == kind


@pytest.mark.parametrize("last_first", [False, True])
@pytest.mark.parametrize(("came", "kind"), [((), "dropped by the stack"), ((Came.REPLIED,), "delivered"), ((Came.TAKEN,), "delivered")])
def test_of_fragments_the_first_says_what_their_datagram_asks(came: Sequence[Came], kind: str, *, last_first: bool) -> None:
    first, last = six(44, fragment_header(58, 1) + bytes([128]) + bytes(39)), six(44, fragment_header(58, 40) + bytes(40))
    before, after = (last, first) if last_first else (first, last)
    events: Sequence[Event] = (
        before, call(1), Exit(1, 1, 0), LOCAL, after._replace(traversal=2, skb=0xB), call(2), Exit(2, 1, 0),
        *(turn(what, 0xB) for what in (Came.LOCAL, Came.REASSEMBLED, Came.LOCAL, *came)), end(), end(0xB))
    packets = assembled(Recording(events, SYMBOLS.get)).packets
    assert [one.fate.kind for one in packets] == ["absorbed", kind]


@pytest.mark.parametrize(("came", "tells", "why"), [
    ((turn(Came.REFUSED, other=EINVAL),), TOLD, "refused it (EINVAL)"),
    ((), TOLD, "was not asked"), ((), (), "has no listener, or is full"),
])
def test_why_a_queue_took_no_packet_is_said_as_far_as_it_was_seen(came: Sequence[Turn], tells: Collection[Came], why: str) -> None:
    found = told(entry(1), *came, end(how=FREED, location=0x6004), call(1, QUEUE_3), Exit(1, 0, 0), tells=tells)
    assert (found, found.reason) == (Fate("dropped"), f"its queue {why}, in nf_queue")


@pytest.mark.parametrize(("pf", "kind"), [(7, "rejected"), (5, "rejected"), (2, "dropped")])
def test_an_answer_that_a_reject_has_begun_is_sent_below_ip_alone(pf: int, kind: str) -> None:
    begun = turn(Came.REJECTED, other=0xF)
    assert only(entry(1, pf=pf), begun, call(1, DROP_EPERM), Exit(1, -1, 0), end(how=FREED)).fate == Fate(kind, 1)  # type: ignore[arg-type]


def test_the_answer_of_a_reject_on_a_bridge_says_what_it_answers() -> None:
    answer = entry(2, skb=0xF, head=error(3, 3, 17))._replace(indev="eth0")
    events = (entry(1, pf=7), turn(Came.REJECTED, other=0xF), call(1, DROP_EPERM), Exit(1, -1, 0), end(how=FREED),
              answer, call(2), Exit(2, 1, 0))
    packets = assembled(Recording(events, SYMBOLS.get)).packets
    assert [one.relation for one in packets] == [None, Relation("answer to", 1)]


def test_what_only_a_packet_socket_gets_was_of_no_use_to_the_stack() -> None:
    crossed = (entry(1), call(1), Exit(1, 1, 0))
    assert told(*crossed, turn(Came.TAPPED)) == Fate("dropped by the stack")
    assert told(*crossed, turn(Came.TAPPED), end(how=CONSUMED, location=0x2004)).reason == \
        "only a packet socket got it, udp_queue_rcv_one_skb"
    assert told(*crossed, turn(Came.TAPPED), LOCAL, end(how=CONSUMED)) == Fate("delivered")
