"""From a recording to its packets."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from errno import ENOBUFS, ESRCH
from ipaddress import IPv4Address, IPv6Address

import pytest

from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.fate import Fate
from harness.outcome.types import HookCall, Outcome, PacketOutcome, Relation, Traversal
from harness.walks.assembly import assembled
from harness.walks.counts import Count, calls_by_hook, compare_calls
from harness.walks.events import Call, Came, Decision, End, Entry, Event, Exit, Gone, How, Loss, Turn
from harness.walks.recording import Recording
from harness.walks.symbol import Symbol

ACCEPT, DROP_EPERM, STOLEN, STOLEN_EPERM, QUEUE_3 = 1, 1 << 16, 2, 1 << 16 | 2, 3 << 16 | 3
UDP, ICMP = 17, 1
OURS = 0xFFFFFFFFC0000000
SYMBOLS = {OURS: Symbol(OURS, "nfharness_hook", "nfharness"), 0x1000: Symbol(0x1000, "apparmor_ip_postroute", None),
           0x2004: Symbol(0x2000, "udp_queue_rcv_one_skb", None)}


def ip(protocol: int = UDP, icmp_type: int = 8, fragment: int = 0) -> bytes:
    transport = struct.pack("!HH", 1000, 9) if protocol == UDP else bytes([icmp_type, 0, 0, 0])
    addresses = IPv4Address("10.0.0.1").packed + IPv4Address("10.0.0.2").packed
    return struct.pack("!BBHHHBBH", 0x45, 0, 60, 0, fragment, 64, protocol, 0) + addresses + transport


def entry(traversal: int, *, skb: int = 0xA, hook: int = 3, netns: int = 7, head: bytes | None = None, cookie: int | None = None,
          pf: int = 2) -> Entry:
    tail = bytes(16) if cookie is None else b"nfharnes" + cookie.to_bytes(8, "big")
    return Entry(traversal, skb, 0, pf, hook, netns, "", "veth0", 0, 1, 0x0800, 60, ip() if head is None else head, tail)


def call(traversal: int, verdict: int = ACCEPT, *, slot: int = 0, function: int = OURS, hook_id: int | None = None) -> Call:
    return Call(traversal, slot, function, 0xB, hook_id, -7, verdict, 1234, 0)


def end(skb: int = 0xA, how: How = How.CONSUMED, reason: int = 0, location: int = 0) -> End:
    return End(skb, how, reason, location, 0)


def walked(*events: Event, symbols: Mapping[int, Symbol] = SYMBOLS, loops: Sequence[str] = ("nf_hook_slow",),
           reasons: Mapping[int, str] | None = None, labels: Mapping[int, str] | None = None) -> Outcome:
    return assembled(Recording(events, symbols.get, loops, reasons or {3: "NO_SOCKET"}, namespaces=[(0, 7, "router")], labels=labels or {}))


def only(*events: Event, labels: Mapping[int, str] | None = None) -> PacketOutcome:
    seen = walked(*events, labels=labels)
    assert seen.doubts == ()
    assert len(seen.packets) == 1
    return seen.packets[0]


def test_a_traversal_has_its_calls_in_order_with_everything_about_them() -> None:
    packet = only(entry(1), call(1, hook_id=5), call(1, slot=1, function=0x1000), Exit(1, 1, 0), labels={5: "first"})
    accept = Verdict(VerdictKind.ACCEPT)
    assert packet.traversals == (Traversal(Family.IPV4, 3, "router", "", "veth0", (
        HookCall(0, "nfharness_hook", "nfharness", -7, accept, 1234, "first"),
        HookCall(1, "apparmor_ip_postroute", None, -7, accept, 1234)), 1),)


def test_a_traversal_says_where_its_loop_began_and_what_is_to_follow() -> None:
    symbols = {0x10: Symbol(0x10, "br_forward_finish.isra.0", "bridge"), 0x20: Symbol(0x18, "nf_hook_slow_list", None)}
    entries = (entry(1)._replace(okfn=0x10, start=2, loop=1), entry(2)._replace(caller=0x20), entry(3)._replace(caller=0x30))
    packet, = walked(*entries, Exit(1, 1, 0), Exit(2, 1, 0), Exit(3, 1, 0), symbols=symbols,
                     loops=("nf_hook_slow", "nf_hook_bridge_pre")).packets
    assert [(one.okfn, one.start, one.loop) for one in packet.traversals] == [
        ("br_forward_finish", 2, "nf_hook_bridge_pre"), (None, 0, "nf_hook_slow_list"), (None, 0, "nf_hook_slow")]


def test_packets_that_were_under_way_while_records_were_lost_are_marked_and_no_others() -> None:
    def crossed(number: int, first: int, last: int | None) -> list[Event]:
        over = [] if last is None else [end(skb=number)._replace(time=last)]
        return [entry(number, skb=number, cookie=number)._replace(time=first), Exit(number, 1, first), *over]

    events = [Loss(90, 105, 7), *crossed(1, 100, 110), *crossed(2, 106, 120), *crossed(3, 121, 129), *crossed(4, 130, None),
              Loss(140, 150, 5), *crossed(5, 160, 170)]
    seen = walked(*events)
    assert [(packet.cookie, packet.lost_events) for packet in seen.packets] == [(1, 7), (2, 0), (3, 0), (4, 5), (5, 0)]
    assert seen.packets[0].traversals[0].time == 0  # the session began with its first packet
    assert seen.doubts == ("records were lost between 0.000 s and 0.000 s, between 0.000 s and 0.000 s; "
                           "packets that were under way then are marked",)


def test_what_has_no_name_keeps_its_number() -> None:
    packet = only(entry(1, netns=4026531840), call(1, function=0x3000, hook_id=5), Exit(1, 1, 0))
    assert packet.traversals[0].netns == "net:[4026531840]"
    assert (packet.traversals[0].calls[0].function, packet.traversals[0].calls[0].label) == ("0x3000", None)


def test_calls_of_nats_own_loop_stand_in_the_call_that_made_them() -> None:
    """Of two traversals under way the hook of the inner one: a veth pair delivers inside sendto()."""
    inner = entry(3, hook=0)._replace(loop=1)
    events = (entry(1), entry(2, hook=0), inner, call(3, function=0x1000)._replace(chain="ip nat pre"), call(3, slot=1), Exit(3, 1, 0),
              call(2, function=0x1000), call(2, slot=1), Exit(2, 1, 0), call(1), Exit(1, 1, 0))
    packet, = walked(*events, loops=("nf_hook_slow", "nf_nat_inet_fn")).packets
    outer, pre = packet.traversals
    assert [len(call.calls) for call in (*outer.calls, *pre.calls)] == [0, 2, 0]
    assert [(call.index, call.function, call.chain) for call in pre.calls[0].calls] == [
        (0, "apparmor_ip_postroute", "ip nat pre"), (1, "nfharness_hook", None)]


def test_a_loop_of_nats_without_a_traversal_around_it_is_one_of_its_own() -> None:
    packet, = walked(entry(3)._replace(loop=1), call(3), Exit(3, 1, 0), loops=("nf_hook_slow", "nf_nat_inet_fn")).packets
    assert [(one.loop, len(one.calls)) for one in packet.traversals] == [("nf_nat_inet_fn", 1)]


def test_a_hook_is_not_called_by_the_name_of_the_function_that_its_address_lies_in_the_middle_of() -> None:
    packet = only(entry(1), call(1, function=0x2004), Exit(1, 1, 0))
    assert packet.traversals[0].calls[0].function == "0x2004"


def test_a_packet_is_all_that_happens_to_its_skb() -> None:
    packet = only(entry(1, hook=3), Exit(1, 1, 0), entry(2, hook=4), Exit(2, 1, 0), end())
    assert [traversal.hook for traversal in packet.traversals] == [3, 4]


def test_a_packet_goes_on_as_the_clone_that_its_stack_made_of_it() -> None:
    packet = only(entry(1), Exit(1, 1, 0), turn(Came.CLONED, other=0xC), entry(2, skb=0xC, hook=1), Exit(2, 1, 0),
                  LOCAL._replace(skb=0xC), end(0xC))
    assert ([traversal.hook for traversal in packet.traversals], packet.fate) == ([3, 1], Fate("delivered"))


def test_what_the_stack_made_of_a_copy_is_the_copy() -> None:
    _, copy = walked(entry(1), turn(Came.DUPLICATED, other=0xB), Exit(1, 1, 0), Turn(0xB, Came.CLONED, 0, 0xC), entry(2, skb=0xC, hook=1),
                     Exit(2, 1, 0)).packets
    assert copy.relation == Relation("copy of", 1)


def test_an_address_that_is_used_again_is_another_packet() -> None:
    packets = walked(entry(1), Exit(1, 1, 0), end(), entry(2), Exit(2, 1, 0)).packets
    assert [len(packet.traversals) for packet in packets] == [1, 1]


def test_nested_traversals_keep_their_own_calls() -> None:
    outer, inner = walked(entry(1, skb=0xA), entry(2, skb=0xB), call(2, slot=0), Exit(2, 1, 0), call(1, slot=0), call(1, slot=1),
                          Exit(1, 1, 0)).packets
    assert (len(outer.traversals[0].calls), len(inner.traversals[0].calls)) == (2, 1)


def test_clones_with_one_cookie_are_one_packet() -> None:
    packet = only(entry(1, skb=0xA, cookie=9), Exit(1, 1, 0), entry(2, skb=0xB, hook=4, cookie=9), Exit(2, 1, 0))
    assert (packet.cookie, len(packet.traversals)) == (9, 2)


@pytest.mark.parametrize(("question", "answer"), [
    (ip(ICMP, 8), ip(ICMP, 0)), (ip(UDP), ip(ICMP, 3)), (ip(UDP), ip(ICMP, 11)),
], ids=["echo reply", "destination unreachable", "time exceeded"])
def test_an_answer_that_quotes_the_cookie_is_a_packet_of_its_own(question: bytes, answer: bytes) -> None:
    packets = walked(entry(1, skb=0xA, cookie=9, head=question), Exit(1, 1, 0), entry(2, skb=0xB, cookie=9, head=answer),
                        Exit(2, 1, 0)).packets
    assert [packet.cookie for packet in packets] == [9, 9]


def test_errors_about_several_fragments_are_packets_of_their_own_and_their_clones_are_not() -> None:
    """They quote the same cookie; what else they quote makes another checksum."""
    first, second = ip(ICMP, 11)[:-2] + b"\1\2", ip(ICMP, 11)[:-2] + b"\3\4"
    events = [(entry(number, skb=number, cookie=9, head=head), Exit(number, 1, 0)) for number, head in enumerate((first, second, first))]
    packets = walked(*(event for pair in events for event in pair)).packets
    assert [(packet.cookie, len(packet.traversals)) for packet in packets] == [(9, 2), (9, 1)]


@pytest.mark.parametrize("there_first", [True, False])
def test_the_fate_of_a_packet_in_fragments_is_told_by_the_last_namespace_whichever_fragment_was_faster(there_first: bool) -> None:
    here = entry(1, cookie=9, head=ip(fragment=0x2000)), call(1), Exit(1, 1, 0)
    there = entry(2, netns=8, cookie=9, head=ip(fragment=0x2000)), call(2, DROP_EPERM), Exit(2, -1, 0)
    later = entry(3, skb=0xB, cookie=9, head=ip(fragment=1)), call(3, 113 << 16), Exit(3, -113, 0)
    packet = only(*here, *((*there, *later) if there_first else (*later, *there)))
    assert ([one.returned for one in packet.traversals], packet.fate) == ([1, -113, -1], Fate("dropped", 1))


FREED, RELEASED = How.FREED, How.RELEASED
NF_TABLES, ETH1 = 0x3800, 0xE1
SYMBOLS |= {NF_TABLES: Symbol(NF_TABLES, "nft_do_chain_ipv4", "nf_tables"), 0x3904: Symbol(0x3900, "nft_do_chain", "nf_tables"),
            0x4004: Symbol(0x4000, "ip_forward", None), 0x5004: Symbol(0x5000, "icmpv6_rcv", None),
            0x8004: Symbol(0x8000, "ip_protocol_deliver_rcu", None), 0x9004: Symbol(0x9000, "tcp_disconnect", None),
            0xA004: Symbol(0xA000, "tcp_validate_incoming", None), 0xB004: Symbol(0xB000, "tcp_rcv_state_process", None),
            0xC004: Symbol(0xC000, "tcp_v4_do_rcv", None), 0xD004: Symbol(0xD000, "tcp_rcv_established", None),
            0xE000: Symbol(0xE000, "nft_reject_bridge_eval", "nft_reject_bridge"),
            0x6004: Symbol(0x6000, "nf_queue", None), 0x7004: Symbol(0x7000, "nfqnl_enqueue_packet", "nfnetlink_queue")}


def turn(what: Came, skb: int = 0xA, *, other: int = 0, device: str = "") -> Turn:
    return Turn(skb, what, 0, other, device)


XMIT, LOCAL, ANSWERED = turn(Came.XMIT, other=ETH1, device="eth1"), turn(Came.LOCAL), turn(Came.ANSWERED, other=0xF)
NO_SOCKET = end(how=FREED, reason=3, location=0x2004)
LOOPBACK = turn(Came.XMIT, other=ETH1, device="lo")


@pytest.mark.parametrize(("said", "inside", "behind", "fate", "reason"), [
    ((ACCEPT, 1), [], [end()], Fate("consumed"), None),
    ((ACCEPT, 1), [], [], Fate("unknown"), None),
    ((ACCEPT, 1), [], [LOCAL, end()], Fate("delivered"), None),
    ((ACCEPT, 1), [], [LOCAL, end(how=RELEASED)], Fate("delivered"), None),
    ((ACCEPT, 1), [], [LOCAL], Fate("delivered"), None),
    ((ACCEPT, 1), [], [LOCAL, NO_SOCKET], Fate("dropped by the stack"), "NO_SOCKET in udp_queue_rcv_one_skb"),
    ((ACCEPT, 1), [], [LOCAL, end(how=FREED, location=0x2004)], Fate("dropped by the stack"), "udp_queue_rcv_one_skb"),
    ((ACCEPT, 1), [], [LOCAL, end(how=FREED, location=0x5004)], Fate("delivered"), "icmpv6_rcv"),
    ((ACCEPT, 1), [], [LOCAL, end(how=FREED, reason=3, location=0x5004)], Fate("dropped by the stack"), "NO_SOCKET in icmpv6_rcv"),
    ((ACCEPT, 1), [], [LOCAL, turn(Came.TAKEN, other=0xB), NO_SOCKET], Fate("delivered"), "udp_queue_rcv_one_skb"),
    ((ACCEPT, 1), [], [LOCAL, turn(Came.TAKEN, other=0xA), end(how=FREED, location=0x2004)], Fate("dropped by the stack"),
     "udp_queue_rcv_one_skb"),
    ((ACCEPT, 1), [], [LOCAL, turn(Came.SEGMENTED), end(location=0x2004)], Fate("dropped by the stack"),
     "no socket took a segment of it, udp_queue_rcv_one_skb"),
    ((ACCEPT, 1), [], [LOCAL, turn(Came.SEGMENTED), turn(Came.TAKEN, other=0xB), turn(Came.TAKEN, other=0xC), end(location=0x2004)],
     Fate("delivered"), "2 of its segments, udp_queue_rcv_one_skb"),
    ((ACCEPT, 1), [], [LOCAL, end(location=0x8004)], Fate("dropped by the stack"), "no socket took it, ip_protocol_deliver_rcu"),
    ((ACCEPT, 1), [], [LOCAL, turn(Came.TAKEN, other=0xB), end(location=0x8004)], Fate("delivered"), "ip_protocol_deliver_rcu"),
    ((ACCEPT, 1), [], [LOCAL, turn(Came.LINGERED), end(how=FREED, location=0x4004)], Fate("consumed"), "ip_forward"),
    ((ACCEPT, 1), [], [LOCAL, end(how=RELEASED, location=0xA004)], Fate("dropped by the stack"), "tcp_validate_incoming"),
    ((ACCEPT, 1), [], [LOCAL, end(how=FREED, location=0x9004)], Fate("delivered"), "unread when its socket closed, in tcp_disconnect"),
    ((ACCEPT, 1), [], [turn(Came.TAKEN, other=0xA), end()], Fate("delivered"), None),
    ((ACCEPT, 1), [], [XMIT, turn(Came.TAKEN, other=0xA)], Fate("delivered"), None),
    ((ACCEPT, 1), [], [end(how=FREED, reason=2, location=0x4004)], Fate("dropped by the stack"), "ip_forward"),
    ((ACCEPT, 1), [], [XMIT, end(how=FREED, location=0x4004)], Fate("dropped by the stack"), "ip_forward"),
    ((ACCEPT, 1), [], [XMIT, end()._replace(dev=ETH1)], Fate("sent"), "by eth1"),
    ((ACCEPT, 1), [], [XMIT], Fate("sent"), "by eth1"),
    ((ACCEPT, 1), [], [XMIT, end()._replace(dev=0xE2)], Fate("consumed"), None),
    ((ACCEPT, 1), [], [LOOPBACK, end()._replace(dev=ETH1)], Fate("consumed"), None),
    ((ACCEPT, 1), [], [turn(Came.SEGMENTED), end()], Fate("segmented"), None),
    ((DROP_EPERM, -1), [], [], Fate("dropped", 1), None),
    ((113 << 16, -113), [], [], Fate("dropped", 113), None),
    ((DROP_EPERM, -1), [ANSWERED], [], Fate("rejected", 1), None),
    ((STOLEN_EPERM, -1), [end(how=FREED, location=0x3904)], [], Fate("dropped", 1), "nft_do_chain"),
    ((STOLEN_EPERM, -1), [ANSWERED, end(how=FREED, location=0x3904)], [], Fate("rejected", 1), "nft_do_chain"),
    ((STOLEN_EPERM, -1), [end()], [], Fate("stolen", 1), None),
    ((STOLEN_EPERM, 0), [end()], [], Fate("stolen", 0), None),
    ((STOLEN_EPERM, -1), [], [], Fate("stolen", 1), None),
    ((STOLEN, 0), [end(how=FREED, location=0x3904)], [], Fate("dropped"), "nft_do_chain"),
    ((STOLEN, 0), [end(how=FREED, location=0x4004)], [], Fate("dropped by the stack"), "ip_forward"),
    ((STOLEN, 0), [], [], Fate("stolen"), None),
    ((STOLEN, 0), [], [end(how=FREED, location=0x3904)], Fate("stolen"), "nft_do_chain"),
    ((STOLEN, 0), [XMIT], [end()._replace(dev=ETH1)], Fate("sent"), "by eth1"),
    ((STOLEN, 0), [XMIT], [LOCAL], Fate("delivered"), None),
    ((STOLEN, 0), [LOCAL, NO_SOCKET], [], Fate("dropped by the stack"), "NO_SOCKET in udp_queue_rcv_one_skb"),
    ((QUEUE_3, 0), [], [], Fate("queued"), None),
    ((QUEUE_3, 0), [turn(Came.REFUSED, other=ESRCH), end(how=FREED, location=0x6004)], [], Fate("dropped"),
     "its queue has no listener, in nf_queue"),
    ((QUEUE_3, 0), [turn(Came.SEGMENTED), turn(Came.REFUSED, other=ENOBUFS), end(how=FREED, location=0x6004)], [], Fate("dropped"),
     "its queue is full, or its listener's socket is, in nf_queue"),
    ((QUEUE_3, 0), [turn(Came.SEGMENTED), end(how=FREED, location=0x7004)], [], Fate("segmented"), "nfqnl_enqueue_packet"),
], ids=["consumed", "still alive", "read by a socket", "eaten by TCP", "in a socket", "no socket", "no socket, older kernels",
        "icmpv6_rcv frees what it took", "icmpv6_rcv with a reason", "a clone to a raw socket", "a bad checksum that a reader found",
        "segments that no socket took", "segments of which two were taken", "no raw socket took it", "a raw socket took it",
        "TIME-WAIT has seen a segment", "TCP of 5.10 had no use for it", "unread in a listener's queue",
        "a router alert", "a router alert behind a device", "no reason specified",
        "dropped behind a device",
        "sent by a device", "in a device", "consumed behind a device", "consumed behind lo", "taken apart", "drop", "drop with errno",
        "reject", "nft's drop, newer kernels", "nft's reject, newer kernels", "a thief with an errno",
        "a thief with an errno, older kernels", "a thief that keeps it, with an errno", "a thief that frees it",
        "the stack frees it in the hook", "a thief that keeps it", "a thief that frees it later", "fast path, sent", "fast path, delivered",
        "freed by the stack in the hook", "queued", "no listener", "segments that no queue took", "segments queued"])
def test_the_end_follows_from_the_last_verdict_and_what_became_of_the_skb(
    said: tuple[int, int], inside: list[Event], behind: list[Event], fate: Fate, reason: str | None
) -> None:
    verdict, returned = said
    hook = call(1, verdict, function=NF_TABLES)
    packet = walked(entry(1), *inside, hook, Exit(1, returned, 0), *behind, reasons={2: "NOT_SPECIFIED", 3: "NO_SOCKET"}).packets[0]
    assert (packet.fate, packet.fate.reason) == (fate, reason)


@pytest.mark.parametrize(("place", "flags", "kind"), [
    (0xB004, "", "dropped by the stack"), (0xB004, "F", "dropped by the stack"), (0xB004, "FPU", "dropped by the stack"),
    (0xB004, "FS", "dropped by the stack"), (0xB004, "R", "dropped by the stack"), (0xB004, "A", "delivered"),
    (0xB004, "RA", "delivered"), (0xB004, "S", "delivered"), (0xC004, "A", "dropped by the stack"), (0xC004, "", "dropped by the stack"),
    (0xD004, "A", "delivered"), (0xA004, "RA", "consumed"), (0xA004, "R", "consumed"),
])
def test_a_kernel_without_reasons_of_tcp_drops_a_segment_where_it_frees_what_is_of_no_use(place: int, flags: str, kind: str) -> None:
    bits = sum(1 << "FSRPAU".index(flag) for flag in flags)
    segment = ip(6)[:-4] + struct.pack("!HHIIBB6x", 1000, 9, 1, 1, 0x50, bits)
    packet = only(entry(1, head=segment)._replace(length=40), call(1), Exit(1, 1, 0), LOCAL, end(how=RELEASED, location=place))
    assert packet.fate.kind == kind


@pytest.mark.parametrize(("expression", "identification", "fate", "relation"), [
    (0xE000, 0, Fate("rejected", 1), Relation("answer to", 1)), (0, 0, Fate("dropped", 1), Relation("answer to", 1)),
    (0xE000, 7, Fate("dropped", 1), None),
], ids=["a reject", "a drop, and another's error", "an error about another packet"])
def test_a_bridge_s_reject_is_told_by_its_expression_and_an_error_that_quotes_the_packet(
    expression: int, identification: int, fate: Fate, relation: Relation | None
) -> None:
    question = ip() + bytes(4)
    quoted = question[:4] + identification.to_bytes(2, "big") + question[6:]
    refused = call(1, DROP_EPERM)._replace(decision=Decision(expression, 4, 0, table=9))
    error = entry(2, skb=0xB, hook=1, head=ip(ICMP, 3)[:-4] + bytes([3, 3]) + bytes(6) + quoted)._replace(indev="eth0")
    packets = walked(entry(1, head=question), refused, Exit(1, -1, 0), end(how=FREED), error, Exit(2, 1, 0)).packets
    assert (packets[0].fate, packets[1].relation) == (fate, relation)


def test_what_goes_on_while_it_is_being_queued_has_not_waited() -> None:
    waits = {}
    for name, began, left in (("fails open", 50, 90), ("a listener", 120, 90)):
        back = entry(2)._replace(loop=1, answer=ACCEPT, time=began, caller=0x2004)
        queued, exited = call(1, QUEUE_3), Exit(1, 0, left)
        events = (queued, back, Exit(2, 1, 60), exited) if began < left else (queued, exited, back, Exit(2, 1, 130))
        packet, = walked(entry(1), *events, loops=("nf_hook_slow", "nf_reinject")).packets
        waits[name] = packet.traversals[-1].waited, packet.traversals[-1].answered_by
    assert waits == {"fails open": (None, "udp_queue_rcv_one_skb"), "a listener": (30, "udp_queue_rcv_one_skb")}


def test_a_fragment_that_waits_behind_input_is_not_delivered() -> None:
    head = ip(fragment=0x2000)
    assert only(entry(1, head=head), call(1), Exit(1, 1, 0), LOCAL).fate.kind == "unknown"
    assert only(entry(1, head=head), call(1), Exit(1, 1, 0), LOCAL, turn(Came.REASSEMBLED), LOCAL).fate == Fate("delivered")


def test_a_datagram_is_one_story_from_the_fragment_that_completes_it_on() -> None:
    first, last, whole = ip(fragment=0x2000), ip(fragment=1), ip()
    packets = walked(
        entry(1, skb=0xA, head=first), call(1, STOLEN), Exit(1, 0, 0),
        entry(2, skb=0xB, head=last), turn(Came.REASSEMBLED, 0xB), end(0xA), call(2), Exit(2, 1, 0),
        entry(3, skb=0xB, head=whole, hook=4), call(3), Exit(3, 1, 0), turn(Came.LOCAL, 0xB), end(0xB)).packets
    assert [(one.fate, one.fate.reason, len(one.traversals)) for one in packets] == [
        (Fate("absorbed"), "in packet 2", 1), (Fate("delivered"), None, 2)]


def test_a_datagram_goes_on_as_a_fragment_that_no_hook_has_seen() -> None:
    packet = only(entry(1), call(1), Exit(1, 1, 0), turn(Came.MERGED, other=0xC), end(), LOCAL._replace(skb=0xC), end(0xC))
    assert packet.fate == Fate("delivered")


def test_fragments_of_another_datagram_are_not_absorbed() -> None:
    other = bytearray(ip(fragment=0x2000))
    other[5] = 9
    packets = walked(entry(1, skb=0xA, head=bytes(other)), call(1, STOLEN), Exit(1, 0, 0),
                        entry(2, skb=0xB, head=ip(fragment=1)), turn(Came.REASSEMBLED, 0xB), call(2), Exit(2, 1, 0)).packets
    assert packets[0].fate == Fate("stolen")


def test_the_answer_of_a_reject_says_what_it_answers() -> None:
    reset = ip(6)[:-4] + struct.pack("!HHIIBB", 9, 1000, 0, 1, 0x50, 0x14)
    packets = walked(entry(1), ANSWERED, entry(2, skb=0xF, head=reset), Exit(2, 1, 0), call(1, DROP_EPERM), Exit(1, -1, 0)).packets
    assert [one.relation for one in packets] == [None, Relation("answer to", 1)]


def test_segments_that_come_out_of_a_queue_belong_to_the_packet_that_went_in() -> None:
    def segment(sequence: int) -> bytes:
        return ip(6)[:-4] + struct.pack("!HHIIBB", 1000, 9, sequence, 1, 0x50, 0x10)

    def out(number: int, sequence: int) -> Entry:
        return entry(number, skb=number, head=segment(sequence))._replace(loop=1, length=1040, answer=1)

    went_in = entry(1, head=segment(500))._replace(length=2040)
    events = (went_in, turn(Came.SEGMENTED), end(how=FREED, location=0x7004), call(1, QUEUE_3), Exit(1, 0, 0),
              out(2, 500), Exit(2, 1, 0), out(3, 1500), Exit(3, 1, 0), out(4, 2500), Exit(4, 1, 0), out(5, 500), Exit(5, 1, 0),
              out(6, 2500)._replace(length=40), Exit(6, 1, 0))
    packets = walked(*events, loops=("nf_hook_slow", "nf_reinject")).packets
    assert packets[0].fate == Fate("segmented")
    assert [one.relation for one in packets] == [None, Relation("segment of", 1), Relation("segment of", 1), None, None, None]


def segment(asked: bool, sequence: int, acknowledged: int, flags: int) -> bytes:
    """From 10.0.0.1:1000 to 10.0.0.2:9, or back."""
    ends = [(IPv4Address("10.0.0.1").packed, 1000), (IPv4Address("10.0.0.2").packed, 9)]
    (source, port), (target, other) = ends if asked else reversed(ends)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0) + source + target
    return header + struct.pack("!HHIIBB", port, other, sequence, acknowledged, 0x50, flags) + bytes(6)


SYN, RST_ACK, PUSH, PUSH_ACK, RST = 0x02, 0x14, 0x08, 0x18, 0x04


@pytest.mark.parametrize(("asked", "length", "reset", "answers"), [
    ((100, 0, SYN), 40, (0, 101, RST_ACK), True), ((100, 0, SYN), 40, (0, 102, RST_ACK), False),
    ((100, 7, PUSH_ACK), 45, (7, 0, RST), True), ((100, 7, PUSH_ACK), 45, (8, 0, RST), False),
    ((100, 0, PUSH), 45, (0, 105, RST_ACK), True), ((100, 0, RST), 40, (0, 100, RST_ACK), False),
    ((100, 7, PUSH_ACK), 45, (7, 105, RST_ACK), False), ((100, 0, SYN), 40, (7, 101, RST_ACK), False),
], ids=["a SYN", "another SYN", "a segment with an ACK", "another ACK", "data without an ACK", "a reset is not reset",
        "a program resets what it has received", "a program resets before it has received"])
def test_a_reset_of_the_stack_answers_the_segment_that_it_acknowledges(
    asked: tuple[int, int, int], length: int, reset: tuple[int, int, int], answers: bool,
) -> None:
    there, back = segment(True, *asked), segment(False, *reset)
    seen = walked(entry(1, head=there)._replace(length=length), Exit(1, 1, 0), entry(2, skb=0xB, head=back), Exit(2, 1, 0))
    assert seen.packets[1].relation == (Relation("answer to", 1) if answers else None)


def answered(*before: Event, reset: Entry) -> Relation | None:
    return walked(*before, reset, Exit(reset.traversal, 1, 0)).packets[-1].relation


@pytest.mark.parametrize(("hook", "indev", "relation"), [
    (3, "", None), (4, "", None), (4, "veth0", Relation("answer to", 1)), (2, "veth0", Relation("answer to", 1)),
], ids=["OUTPUT", "POSTROUTING", "POSTROUTING of a router", "FORWARD"])
def test_a_reset_that_is_being_made_answers_a_segment_that_still_lives(hook: int, indev: str, relation: Relation | None) -> None:
    asked, reset = segment(True, 100, 7, PUSH_ACK), entry(2, skb=0xB, hook=hook, head=segment(False, 7, 0, RST))._replace(indev=indev)
    here = entry(1, head=asked), Exit(1, 1, 0), LOCAL
    assert answered(*here, reset=reset) == Relation("answer to", 1)
    assert answered(*here, end(), reset=reset) == relation


def test_a_reset_answers_the_segment_that_is_being_received_of_several() -> None:
    asked = segment(True, 100, 7, PUSH_ACK)
    two = entry(1, skb=0xA, head=asked), Exit(1, 1, 0), entry(2, skb=0xB, head=asked), Exit(2, 1, 0)
    reset = entry(3, skb=0xC, head=segment(False, 7, 0, RST))
    assert answered(*two, turn(Came.LOCAL, 0xA), reset=reset) == Relation("answer to", 1)
    assert answered(*two, turn(Came.LOCAL, 0xA), end(0xA), turn(Came.LOCAL, 0xB), reset=reset) == Relation("answer to", 2)


@pytest.mark.parametrize("kind", [3, 5, 11, 12], ids=["unreachable", "redirect", "time exceeded", "parameter problem"])
def test_an_error_of_icmp_is_an_answer(kind: int) -> None:
    assert answered(entry(1), ANSWERED, reset=entry(2, skb=0xF, head=ip(ICMP, kind))) == Relation("answer to", 1)


def six(following: int, payload: bytes, hops: int = 64) -> Entry:
    source, target = IPv6Address("fd00::1").packed, IPv6Address("fd00::2").packed
    packet = struct.pack("!IHBB", 6 << 28, len(payload), following, hops) + source + target + payload
    return entry(1, pf=10, hook=1)._replace(protocol=0x86DD, length=len(packet), head=packet[:64], tail=packet[-16:])


def fragment_header(following: int, rest: int) -> bytes:
    return struct.pack("!BBHI", following, 0, rest, 7)


HOP_BY_HOP_FRAGMENT = bytes([44, 0, 1, 4, 0, 0, 0, 0])


def test_an_atomic_fragment_is_delivered_as_it_is() -> None:
    packet = only(six(44, fragment_header(17, 0) + bytes(30)), call(1), Exit(1, 1, 0), LOCAL)
    assert packet.fate == Fate("delivered")


def test_fragments_behind_a_hop_by_hop_header_become_one_datagram() -> None:
    first, last = (six(0, HOP_BY_HOP_FRAGMENT + fragment_header(17, rest) + bytes(40)) for rest in (1, 40))
    packets = walked(first, call(1), Exit(1, 1, 0), LOCAL, last._replace(traversal=2, skb=0xB), call(2), Exit(2, 1, 0),
                     turn(Came.LOCAL, 0xB), turn(Came.REASSEMBLED, 0xB), end(0xA), turn(Came.LOCAL, 0xB), end(0xB)).packets
    assert [(one.fate.kind, one.fate.reason) for one in packets] == [("absorbed", "in packet 2"), ("delivered", None)]


def test_a_chain_of_headers_that_is_longer_than_what_was_recorded_is_no_protocol_without_a_socket() -> None:
    packet = only(six(60, bytes([60, 0, 1, 4, 0, 0, 0, 0]) * 8), call(1), Exit(1, 1, 0), LOCAL, end())
    assert packet.fate == Fate("delivered")


def icmpv6(kind: int, rest: bytes, code: int = 0, wrong: int = 0, *, hops: int = 64) -> Entry:
    header = bytes([kind, code, 0, 0]) + rest
    pseudo = six(58, header).head[8:40] + struct.pack("!II", len(header), 58)
    words = struct.unpack(f"!{len(pseudo + header) // 2}H", pseudo + header)
    checksum = 0xFFFF - (sum(words) % 0xFFFF)
    return six(58, header[:2] + struct.pack("!H", checksum ^ wrong) + rest, hops)


@pytest.mark.parametrize(("packet", "why"), [
    (icmpv6(128, bytes(20)), None),
    (icmpv6(128, bytes(20), wrong=1), "its checksum is wrong"),
    (icmpv6(128, bytes(36), wrong=1), "its checksum is wrong"),
    (icmpv6(128, bytes(38), wrong=1), None),
    (icmpv6(4, bytes(48)), "it quotes too little"),
    (icmpv6(4, bytes(52)), None),
    (icmpv6(135, bytes(20), hops=255), None),
    (icmpv6(135, bytes(20), hops=63), "its hop limit is not 255"),
    (icmpv6(135, bytes(20), code=1, hops=255), "its code is not 0"),
], ids=["an echo request", "a wrong checksum", "a wrong checksum, head and tail", "a wrong checksum, too long to be seen",
        "a quotation that is too short", "one that is not", "a neighbour solicitation", "one that a router has forwarded",
        "one with a code"])
def test_a_kernel_that_frees_all_packets_of_icmpv6_delivers_those_that_it_has_a_use_for(packet: Entry, why: str | None) -> None:
    heeded = turn(Came.REPLIED), turn(Came.HEEDED)
    found = only(packet, call(1), Exit(1, 1, 0), LOCAL, *heeded, end(how=FREED, location=0x5004))
    assert (found.fate.kind, found.fate.reason) == (
        ("dropped by the stack", f"{why}, icmpv6_rcv") if why else ("delivered", "icmpv6_rcv"))


def test_a_traversal_that_was_not_seen_to_return_has_an_unknown_end() -> None:
    packet = only(entry(1), call(1))
    assert (packet.fate.kind, packet.traversals[0].returned) == ("unknown", None)


def test_calls_whose_entry_was_lost_belong_nowhere() -> None:
    assert walked(call(1), Exit(1, 1, 0), end()) == Outcome()


def test_a_number_that_is_no_verdict_is_shown_as_a_number() -> None:
    packet = only(entry(1), call(1, 0x99), Exit(1, 1, 0))
    assert (str(packet.traversals[0].calls[0].verdict), packet.fate.kind) == ("VERDICT153", "unknown")


def test_an_unknown_family_raises_doubt() -> None:
    seen = walked(entry(1, pf=12), Exit(1, 1, 0))
    assert (seen.packets[0].traversals, seen.doubts) == ((), ("a hook point of unknown family 12",))


def test_calls_are_counted_by_the_id_of_the_hook() -> None:
    events = (entry(1), call(1, hook_id=5), call(1, slot=1, hook_id=6), call(1, slot=2), entry(2), call(2, hook_id=5))
    assert calls_by_hook(events) == {5: 2, 6: 1}
    assert compare_calls(events, {5: Count(2, 9, 9), 6: Count(1, 9, 9)}) == ()
    assert compare_calls(events, {5: Count(3, 9, 9), 8: Count(1, 9, 9)}) == (
        "hook 5 counted 3 calls, the probes saw 2", "hook 8 counted 1 calls, the probes saw 0")


def test_a_call_while_the_counter_was_read_may_be_in_it_or_not() -> None:
    events = (entry(1), call(1, hook_id=5)._replace(time=10), entry(2), call(2, hook_id=5)._replace(time=20))
    assert compare_calls(events, {5: Count(1, 15, 25)}) == ()
    assert compare_calls(events, {5: Count(2, 15, 25)}) == ()
    assert compare_calls(events, {5: Count(1, 25, 30)}) == ("hook 5 counted 1 calls, the probes saw 2",)
    assert compare_calls(events, {5: Count(3, 15, 25)}) == ("hook 5 counted 3 calls, the probes saw 1 to 2",)


def test_a_copy_says_of_which_packet_and_what_came_to_nothing_is_no_copy() -> None:
    copied = (entry(1), Turn(0xA, Came.DUPLICATED, 0, 0xB), Exit(1, 1, 0))
    first, second = walked(*copied, entry(2, skb=0xB, hook=4), Exit(2, 1, 0)).packets
    assert (first.relation, second.relation) == (None, Relation("copy of", 1))
    _, other = walked(*copied, end(0xB), entry(2, skb=0xB, hook=4), Exit(2, 1, 0)).packets
    assert other.relation is None


def test_a_copy_of_a_packet_with_a_cookie_is_another_skb_of_it() -> None:
    packet = only(entry(1, cookie=5), Turn(0xA, Came.DUPLICATED, 0, 0xB), Exit(1, 1, 0), entry(2, skb=0xB, cookie=5), Exit(2, 1, 0))
    assert (len(packet.traversals), packet.relation) == (2, None)


def test_a_namespace_without_a_name_does_not_go_by_the_name_of_the_one_before_it() -> None:
    events = (entry(1)._replace(time=10), Exit(1, 1, 11), end(), Gone(7, 25), entry(2)._replace(time=30), Exit(2, 1, 31))
    seen = assembled(Recording(events, SYMBOLS.get, namespaces=[(0, 7, "router"), (20, 7, "")]))
    assert [packet.traversals[0].netns for packet in seen.packets] == ["router", "net:[7]"]
