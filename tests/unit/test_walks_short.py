"""Many packets in few lines: one a packet, what dropped them, what is left out."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import pytest

from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome import describe
from harness.outcome.fate import Fate
from harness.outcome.types import HookCall, PacketOutcome, Relation, RulesetRule, Traversal
from harness.walks.short import dropped, drops, folded, group_of, is_noise, one_line

ACCEPT, DROP = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.DROP)
QUEUED = Traversal(Family.IPV4, 2, "router", "a", "b",
                   (HookCall(0, "nft_do_chain_inet", "nf_tables", 0, Verdict(VerdictKind.QUEUE, queue=4), chain="inet x i"),), 0)


UDP, SOLICITS = "UDP 10.0.1.2:40000 > 10.0.2.2:9, 60 bytes", "ICMPv6 neighbour solicitation fe80::1 > ff02::1, 72 bytes"


def packet(number: int = 1, summary: str = UDP, fate: Fate | None = None, *, verdict: Verdict = DROP, rule: RulesetRule | None = None,
           chain: str | None = "inet admin forward", kind: str = "udp") -> PacketOutcome:
    call = HookCall(0, "nft_do_chain_inet", "nf_tables", 0, verdict, chain=chain, rule=rule)
    walk = (Traversal(Family.IPV4, 0, "router", "a", "", (), 1), Traversal(Family.IPV4, 2, "router", "a", "b", (call,), -1))
    return PacketOutcome(summary, None, fate or Fate("dropped", 1), walk, kind=kind, number=number)


RULE = RulesetRule(4, "forward", "udp dport 9 drop")


@pytest.mark.parametrize(("shown", "line"), [
    (packet(rule=RULE), "packet 1  UDP 10.0.1.2:40000 > 10.0.2.2:9, 60 bytes  router PREROUTING, FORWARD  "
                        "dropped (EPERM) by inet admin forward, rule 4: udp dport 9 drop"),
    (packet(chain=None), "packet 1  UDP 10.0.1.2:40000 > 10.0.2.2:9, 60 bytes  router PREROUTING, FORWARD  "
                         "dropped (EPERM) by nft_do_chain_inet [nf_tables]"),
    (packet(fate=Fate("delivered", reason="udp_recvmsg"), verdict=ACCEPT),
     "packet 1  UDP 10.0.1.2:40000 > 10.0.2.2:9, 60 bytes  router PREROUTING, FORWARD  delivered"),
    (packet(fate=Fate("dropped by the stack", reason="NO_SOCKET in udp_rcv"), verdict=ACCEPT),
     "packet 1  UDP 10.0.1.2:40000 > 10.0.2.2:9, 60 bytes  router PREROUTING, FORWARD  dropped by the stack: NO_SOCKET in udp_rcv"),
])
def test_a_packet_in_a_line_ends_with_who_decided(shown: PacketOutcome, line: str) -> None:
    assert one_line(shown).plain == line


def test_an_answer_says_to_what() -> None:
    answer = packet(2, "ICMP time exceeded 10.0.1.1 > 10.0.1.2, 56 bytes", Fate("delivered"), verdict=ACCEPT)
    object.__setattr__(answer, "relation", Relation("answer to", 1))
    assert "56 bytes (answer to packet 1)  router" in one_line(answer).plain


def test_drops_are_grouped_by_flow_and_by_who_did_it_whatever_the_source_port_and_the_length() -> None:
    packets = [packet(1, rule=RULE), packet(2, "UDP 10.0.1.2:40001 > 10.0.2.2:9, 99 bytes", rule=RULE),
               packet(3, "TCP [S] [fd00::1]:5 > [fd00::2]:22, 80 bytes", Fate("dropped by the stack", reason="NO_SOCKET"), verdict=ACCEPT),
               packet(4, fate=Fate("delivered"), verdict=ACCEPT)]
    assert [line.plain for line in drops(Counter(map(group_of, filter(dropped, packets))))] == [
        "    2  UDP 10.0.1.2 > 10.0.2.2:9  router FORWARD  dropped (EPERM) by inet admin forward, rule 4: udp dport 9 drop",
        "    1  TCP [S] [fd00::1] > [fd00::2]:22  router FORWARD  dropped by the stack: NO_SOCKET"]


def test_noise_is_what_discovers_neighbours_unless_something_became_of_it() -> None:
    kind = "neighbour solicitation"
    accepted = packet(1, SOLICITS, Fate("consumed"), verdict=ACCEPT, kind=kind)
    by_the_stack = packet(4, SOLICITS, Fate("dropped by the stack", reason="ip6_mc_input"), verdict=ACCEPT, kind=kind)
    others = (packet(2, SOLICITS, kind=kind), packet(3, verdict=ACCEPT))
    assert [is_noise(one) for one in (accepted, by_the_stack, *others)] == [True, True, False, False]
    assert folded(Counter({kind: 2, "arp reply": 1})) == "2 neighbour solicitations, 1 arp reply"
    assert folded(Counter({"arp reply": 2})) == "2 arp replies"


def test_a_line_says_when_the_packet_was_seen_first() -> None:
    shown = packet(fate=Fate("delivered"), verdict=ACCEPT)
    timed = replace(shown, traversals=tuple(replace(one, time=1_234_000) for one in shown.traversals))
    assert one_line(timed).plain.startswith("packet 1  0.001234 s  UDP 10.0.1.2")


def test_a_line_says_the_time_of_day_in_this_hosts_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    shown = packet(fate=Fate("delivered"), verdict=ACCEPT)
    timed = replace(shown, traversals=tuple(replace(one, time=1_234_567) for one in shown.traversals))
    assert one_line(timed, 1_700_000_000_900_000_000).plain.startswith("packet 1  2023-11-15 00:13:20.901234+02:00  UDP 10.0.1.2")
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(("ns", "words"), [(0, "0 ns"), (999, "999 ns"), (1_250, "1.25 µs"), (12_345, "12.3 µs"), (123_456_789, "123 ms"),
                                           (2_500_000_000, "2.50 s"), (75 * 10**9, "75.0 s")])
def test_a_duration_has_three_digits(ns: int, words: str) -> None:
    assert describe.duration(ns) == words


@pytest.mark.parametrize(("waited", "words"), [(1_250_000, "answered ACCEPT after 1.25 ms"), (None, "answered ACCEPT")])
def test_a_listeners_answer_says_how_long_the_packet_waited(waited: int | None, words: str) -> None:
    assert describe.answer(Traversal(Family.IPV4, 2, "router", "a", "b", (), 1, answer=ACCEPT, waited=waited)) == words
    assert describe.answer(Traversal(Family.IPV4, 2, "router", "a", "b", (), 1)) == ""


@pytest.mark.parametrize(("fate", "returned", "end"), [
    (Fate("dropped by the stack", reason="NO_SOCKET"), 1, ("server INPUT", "dropped by the stack: NO_SOCKET")),
    (Fate("sent"), 1, ("", "sent")), (Fate("unknown"), 1, ("", "unknown")), (Fate("absorbed"), 1, ("", "absorbed")),
])
def test_a_hook_that_let_a_packet_go_on_did_not_bring_it_to_its_end(fate: Fate, returned: int, end: tuple[str, str]) -> None:
    bypassed = HookCall(0, "nft_do_chain_inet", "nf_tables", 0, Verdict(VerdictKind.QUEUE), chain="inet x i")
    walk = (Traversal(Family.IPV4, 2, "router", "a", "b", (bypassed,), returned), Traversal(Family.IPV4, 1, "server", "b", "", (), 1))
    shown = replace(packet(fate=fate), traversals=walk)
    assert one_line(shown).plain.endswith(f"  {end[1]}")
    assert one_line(replace(shown, traversals=walk[:1])).plain.endswith(f"  {end[1]}")
    if dropped(shown):
        assert group_of(shown)[1:] == end


def test_an_end_where_a_hook_kept_the_packet_is_the_hooks() -> None:
    kept = HookCall(0, "ipv4_conntrack_defrag", "nf_defrag_ipv4", -400, Verdict(VerdictKind.STOLEN))
    shown = replace(packet(fate=Fate("absorbed")), traversals=(Traversal(Family.IPV4, 0, "router", "a", "", (kept,), 0),))
    assert one_line(shown).plain.endswith("  absorbed by ipv4_conntrack_defrag [nf_defrag_ipv4]")


@pytest.mark.parametrize(("by", "who"), [
    ("nfqnl_recv_verdict", " by the listener of queue 4"), ("nfqnl_recv_verdict_batch", " by the listener of queue 4"),
    ("nfqnl_flush", " in queue 4: the kernel emptied its queue, in nfqnl_flush"), (None, " in queue 4: answered DROP"),
])
def test_a_packet_that_was_dropped_in_a_queue_says_who_dropped_it(by: str | None, who: str) -> None:
    back = Traversal(Family.IPV4, 2, "router", "a", "b", (), 0, loop="nf_reinject", answer=DROP, answered_by=by)
    shown = replace(packet(fate=Fate("dropped")), traversals=(QUEUED, back))
    assert one_line(shown).plain.endswith(f"  dropped{who}, given to it by inet x i")


@pytest.mark.parametrize("why", ["has no listener", "is full, or its listener's socket is", "refused it (EINVAL)"])
def test_a_packet_that_no_queue_took_says_so(why: str) -> None:
    shown = replace(packet(fate=Fate("dropped", reason=f"its queue {why}, in nf_queue")), traversals=(QUEUED,))
    assert one_line(shown).plain.endswith(f"  dropped: queue 4 {why}, given to it by inet x i")


@pytest.mark.parametrize(("by", "words"), [
    ("nfqnl_recv_verdict", "answered ACCEPT"), (None, "answered ACCEPT"),
    ("__nfqnl_enqueue_packet", "ACCEPT: its queue was full and fails open"),
    ("nfqnl_flush", "ACCEPT: the kernel emptied its queue, in nfqnl_flush"),
])
def test_what_comes_back_from_a_queue_says_whether_a_listener_answered(by: str | None, words: str) -> None:
    assert describe.answer(Traversal(Family.IPV4, 2, "router", "a", "b", (), 1, answer=ACCEPT, answered_by=by)) == words
