"""From the events of the probes to the walks of packets."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import IPv4Address

import pytest

from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.types import Fate, HookCall, PacketOutcome, Traversal
from harness.trace.events import Call, End, Entry, Event, Exit, How
from harness.trace.symbols import Symbol
from harness.trace.walk import Count, Walk, calls_by_hook, compare_calls, walk

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


def walked(*events: Event, labels: Mapping[int, str] | None = None) -> Walk:
    return walk(events, SYMBOLS.get, netns={7: "router"}, labels=labels, reasons={3: "NO_SOCKET"})


def only(*events: Event, labels: Mapping[int, str] | None = None) -> PacketOutcome:
    packets, doubts = walked(*events, labels=labels)
    assert doubts == ()
    assert len(packets) == 1
    return packets[0]


def test_a_traversal_has_its_calls_in_order_with_everything_about_them() -> None:
    packet = only(entry(1), call(1, hook_id=5), call(1, slot=1, function=0x1000), Exit(1, 1, 0), labels={5: "first"})
    accept = Verdict(VerdictKind.ACCEPT)
    assert packet.traversals == (Traversal(Family.IPV4, 3, "router", "", "veth0", (
        HookCall(0, "nfharness_hook", "nfharness", -7, accept, 1234, "first"),
        HookCall(1, "apparmor_ip_postroute", None, -7, accept, 1234)), 1),)


def test_a_traversal_says_where_its_loop_began_and_what_is_to_follow() -> None:
    symbols = {0x10: Symbol(0x10, "br_forward_finish.isra.0", "bridge"), 0x20: Symbol(0x18, "nf_hook_slow_list", None)}
    entries = (entry(1)._replace(okfn=0x10, start=2, loop=1), entry(2)._replace(caller=0x20), entry(3)._replace(caller=0x30))
    packet, = walk((*entries, Exit(1, 1, 0), Exit(2, 1, 0), Exit(3, 1, 0)), symbols.get, netns={7: "router"},
                   loops=("nf_hook_slow", "nf_hook_bridge_pre")).packets
    assert [(one.okfn, one.start, one.loop) for one in packet.traversals] == [
        ("br_forward_finish", 2, "nf_hook_bridge_pre"), (None, 0, "nf_hook_slow_list"), (None, 0, "nf_hook_slow")]


def test_what_has_no_name_keeps_its_number() -> None:
    packet = only(entry(1, netns=4026531840), call(1, function=0x3000, hook_id=5), Exit(1, 1, 0))
    assert packet.traversals[0].netns == "net:[4026531840]"
    assert (packet.traversals[0].calls[0].function, packet.traversals[0].calls[0].label) == ("0x3000", None)


def test_a_packet_is_all_that_happens_to_its_skb() -> None:
    packet = only(entry(1, hook=3), Exit(1, 1, 0), entry(2, hook=4), Exit(2, 1, 0), end())
    assert [traversal.hook for traversal in packet.traversals] == [3, 4]


def test_an_address_that_is_used_again_is_another_packet() -> None:
    packets, _ = walked(entry(1), Exit(1, 1, 0), end(), entry(2), Exit(2, 1, 0))
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
    packets, _ = walked(entry(1, skb=0xA, cookie=9, head=question), Exit(1, 1, 0), entry(2, skb=0xB, cookie=9, head=answer),
                        Exit(2, 1, 0))
    assert [packet.cookie for packet in packets] == [9, 9]


def test_errors_about_several_fragments_are_packets_of_their_own_and_their_clones_are_not() -> None:
    """They quote the same cookie; what else they quote makes another checksum."""
    first, second = ip(ICMP, 11)[:-2] + b"\1\2", ip(ICMP, 11)[:-2] + b"\3\4"
    events = [(entry(number, skb=number, cookie=9, head=head), Exit(number, 1, 0)) for number, head in enumerate((first, second, first))]
    packets, _ = walked(*(event for pair in events for event in pair))
    assert [(packet.cookie, len(packet.traversals)) for packet in packets] == [(9, 2), (9, 1)]


@pytest.mark.parametrize("there_first", [True, False])
def test_the_fate_of_a_packet_in_fragments_is_told_by_the_last_namespace_whichever_fragment_was_faster(there_first: bool) -> None:
    here = entry(1, cookie=9, head=ip(fragment=0x2000)), call(1), Exit(1, 1, 0)
    there = entry(2, netns=8, cookie=9, head=ip(fragment=0x2000)), call(2, DROP_EPERM), Exit(2, -1, 0)
    later = entry(3, skb=0xB, cookie=9, head=ip(fragment=1)), call(3, 113 << 16), Exit(3, -113, 0)
    packet = only(*here, *((*there, *later) if there_first else (*later, *there)))
    assert ([one.returned for one in packet.traversals], packet.fate) == ([1, -113, -1], Fate("dropped", 1))


@pytest.mark.parametrize(("verdict", "returned", "before", "after", "fate"), [
    (ACCEPT, 1, None, end(), Fate("consumed")),
    (ACCEPT, 1, None, end(how=How.FREED, reason=3, location=0x2004), Fate("consumed", reason="NO_SOCKET in udp_queue_rcv_one_skb")),
    (ACCEPT, 1, None, end(how=How.FREED, location=0x2004), Fate("consumed", reason="udp_queue_rcv_one_skb")),
    (ACCEPT, 1, None, None, Fate("unknown")),
    (DROP_EPERM, -1, end(), None, Fate("dropped", 1)),
    (113 << 16, -113, end(), None, Fate("dropped", 113)),
    (STOLEN, 0, None, None, Fate("stolen")),
    (STOLEN_EPERM, -1, end(), None, Fate("stolen", 1)),
    (STOLEN_EPERM, 0, end(), None, Fate("stolen", 0)),
    (QUEUE_3, 0, None, None, Fate("queued")),
    (QUEUE_3, 0, end(how=How.FREED), None, Fate("dropped")),
], ids=["consumed", "freed with a reason", "freed without", "still alive", "drop", "drop with errno", "stolen", "stolen with errno",
        "stolen with errno, older kernels", "queued", "nobody to queue to"])
def test_the_fate_follows_from_the_last_verdict_and_the_end_of_the_skb(
    verdict: int, returned: int, before: End | None, after: End | None, fate: Fate
) -> None:
    inside = (before,) if before else ()
    behind = (after,) if after else ()
    assert only(entry(1), *inside, call(1, verdict), Exit(1, returned, 0), *behind).fate == fate


def test_a_traversal_that_was_not_seen_to_return_has_an_unknown_end() -> None:
    packet = only(entry(1), call(1))
    assert (packet.fate.kind, packet.traversals[0].returned) == ("unknown", None)


def test_calls_whose_entry_was_lost_belong_nowhere() -> None:
    assert walked(call(1), Exit(1, 1, 0), end()) == ((), ())


def test_a_number_that_is_no_verdict_is_shown_as_a_number() -> None:
    packet = only(entry(1), call(1, 0x99), Exit(1, 1, 0))
    assert (str(packet.traversals[0].calls[0].verdict), packet.fate.kind) == ("VERDICT153", "unknown")


def test_an_unknown_family_raises_doubt() -> None:
    packets, doubts = walked(entry(1, pf=12), Exit(1, 1, 0))
    assert (packets[0].traversals, doubts) == ((), ("a hook point of unknown family 12",))


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


@pytest.mark.parametrize("module", ["br_netfilter", None], ids=["a module", "built in"])
@pytest.mark.parametrize("function", ["ip_sabotage_in", "br_nf_post_routing"])
def test_what_br_netfilter_steals_goes_on(function: str, module: str | None) -> None:
    symbols = {0x10: Symbol(0x10, function, module)}
    (packet,) = walk((entry(1), call(1, STOLEN, function=0x10), Exit(1, 0, 0), end()), symbols.get).packets
    assert packet.fate.kind == "consumed"
