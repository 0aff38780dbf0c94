"""A trace for Perfetto: what the Trace Event Format wants of each event, and where a packet's traversals stand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.fate import Fate
from harness.outcome.types import Change, HookCall, Outcome, PacketOutcome, Registration, Relation, RulesetRule, Slot, Traversal
from harness.walks.perfetto import written

ACCEPT, DROP = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.DROP, errno=1)
#: Phase → what such an event has besides ``ph`` and ``name`` (and what it may have).
FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "X": ({"cat", "ts", "dur", "pid", "tid", "args"}, set()), "i": ({"cat", "ts", "pid", "tid", "s"}, {"args"}),
    "M": ({"pid", "args"}, {"tid"}), **dict.fromkeys("st", ({"cat", "ts", "pid", "tid", "id"}, set())),
    "f": ({"cat", "ts", "pid", "tid", "id", "bp"}, set()),
}


def called(slot: int, ns: int | None, verdict: Verdict = ACCEPT, *inner: HookCall, **more: Any) -> HookCall:
    return HookCall(slot, "nft_do_chain_inet", "nf_tables", -5, verdict, ns, chain="inet fw f", calls=inner, **more)


def crossed(netns: str, hook: int, time: int | None, *calls: HookCall, **more: Any) -> Traversal:
    return Traversal(Family.IPV4, hook, netns, "in", "out", calls, 1, time=time, **more)


def packet(number: int, *traversals: Traversal, fate: Fate | None = None, relation: Relation | None = None) -> PacketOutcome:
    return PacketOutcome(f"UDP {number}", None, fate or Fate("delivered"), traversals, number=number, relation=relation)


#: Through three namespaces; the second one's hook at FORWARD drops another.
WALK = packet(1, crossed("client", 4, 1_000, called(0, 500)),
              crossed("router", 0, 2_001, called(0, 1_000), called(3, 2_500, ACCEPT, called(0, 700), called(1, 900))),
              crossed("server", 1, 9_000), fate=Fate("delivered", reason="udp_recvmsg"))
MARKED = (Change("mark", "0x0", "0x1"),)
DROPPED = packet(2, crossed("router", 2, 3_000, called(1, 4_000, DROP, rule=RulesetRule(7, "f", "drop"), changed=MARKED)),
                 fate=Fate("dropped", 1, "NETFILTER_DROP in nft_do_chain"), relation=Relation("answer to", 1))


def events(*packets: PacketOutcome, doubts: Sequence[str] = ()) -> list[dict[str, Any]]:
    document = json.loads(written(Outcome(packets=tuple(packets)), {"session": "traced"}, doubts))
    assert (document["displayTimeUnit"], document["otherData"]) == ("ns", {"session": "traced"})
    found: list[dict[str, Any]] = document["traceEvents"]
    return found


def of(found: list[dict[str, Any]], phase: str, category: str | None = None) -> list[dict[str, Any]]:
    return [event for event in found if event["ph"] == phase and (category is None or event["cat"] == category)]


def test_a_registration_is_an_event_of_its_namespace_or_of_the_whole_trace() -> None:
    hook = Slot(0, "nft_do_chain_inet", "nf_tables", 0, chain="inet fw out")
    made = Registration(1, "registered", 1_500, Family.IPV4, 2, "router", "", hook, 0, "nft", 41, (), 3, 1, (), (hook,), 0, 1)
    outcome = Outcome(packets=(WALK,), registrations=(made, replace(made, number=2, netns="elsewhere")))
    inside, outside = of(json.loads(written(outcome, {}, ()))["traceEvents"], "i", "registration")
    assert (inside["name"], inside["ts"], inside["s"]) == ("registered inet fw out at router FORWARD, priority 0", 1.5, "p")
    assert inside["args"] == {"by": "by nft, process 41", "before": "empty", "after": "inet fw out (0)",
                              "array": "generation 0 → 1, slots 0 → 1, nf_hooks_needed 3"}
    assert outside["s"] == "g"


def test_every_event_has_the_fields_of_its_phase() -> None:
    found = events(WALK, DROPPED, doubts=["1 event lost"])
    assert {event["ph"] for event in found} == {*"XiMstf"}
    for event in found:
        wanted, allowed = FIELDS[event["ph"]]
        assert wanted <= event.keys() - {"ph", "name"} <= wanted | allowed, event
        assert isinstance(event["name"], str)
        assert all(isinstance(event[key], int) for key in ("pid", "tid", "id") if key in event)
        assert all(isinstance(event[key], float | int) and event[key] >= 0 for key in ("ts", "dur") if key in event)
        assert event.get("s") in (None, "t", "g")


def test_namespaces_are_processes_in_the_order_in_which_they_are_seen() -> None:
    names = [event for event in of(events(WALK, DROPPED), "M") if event["name"] == "process_name"]
    assert [(event["pid"], event["args"]["name"]) for event in names] == [(1, "netns client"), (2, "netns router"), (3, "netns server")]


def test_a_traversal_lasts_from_its_entry_to_the_end_of_its_last_call() -> None:
    slices = of(events(WALK), "X", "traversal")
    assert [(one["name"], one["pid"], one["ts"], one["dur"]) for one in slices] == [
        ("POSTROUTING packet 1", 1, 1.0, 0.5), ("PREROUTING packet 1", 2, 2.001, 3.5), ("INPUT packet 1", 3, 9.0, 0.0)]
    assert slices[0]["args"]["devices"] == "in in, out out"
    assert slices[0]["args"]["end of the packet"] == "delivered, udp_recvmsg"


def test_calls_stand_behind_each_other_and_those_of_nat_in_theirs() -> None:
    calls = [one for one in of(events(WALK), "X", "call") if one["pid"] == 2]
    assert [(one["args"]["slot"], one["ts"], one["dur"]) for one in calls] == [
        ("0", 2.001, 1.0), ("3", 3.001, 2.5), ("3.0", 3.001, 0.7), ("3.1", 3.701, 0.9)]


def test_a_call_says_who_decided_what() -> None:
    call, = of(events(DROPPED), "X", "call")
    assert (call["name"], call["args"]) == ("inet fw f", {
        "verdict": "DROP(EPERM)", "function": "nft_do_chain_inet", "module": "nf_tables", "chain": "inet fw f", "slot": "1",
        "priority": "-5", "rule": "rule 7: drop", "made of the packet": "mark 0x0 → 0x1"})


def test_an_end_stands_behind_the_last_traversal() -> None:
    end, = of(events(DROPPED), "i", "end")
    assert (end["name"], end["ts"], end["args"]) == ("dropped (EPERM)", 7.0, {
        "packet": "packet 2: UDP 2", "end": "dropped (EPERM), NETFILTER_DROP in nft_do_chain"})


def test_a_flow_joins_the_traversals_of_a_packet_in_the_order_of_time() -> None:
    found = events(WALK, DROPPED)
    assert [(one["ph"], one["id"], one["pid"], one["ts"]) for one in found if one["ph"] in "stf"] == [
        ("s", 1, 1, 1.0), ("t", 1, 2, 2.001), ("f", 1, 3, 9.0)]
    assert all(before["ph"] == "X" and before["cat"] == "traversal" and before["ts"] == one["ts"]
               for before, one in pairwise(found) if one["ph"] in "stf")


def test_traversals_at_the_same_time_have_tracks_of_their_own() -> None:
    walks = [packet(number, crossed("router", 0, time, called(0, 100))) for number, time in ((1, 1_000), (2, 1_050), (3, 1_100))]
    found = events(*walks)
    assert [one["tid"] for one in of(found, "X", "traversal")] == [2, 3, 2]
    assert [one["args"]["name"] for one in found if one["name"] == "thread_name"] == ["traversals", "at the same time, 2"]


def test_no_track_has_the_number_of_a_namespace() -> None:
    found = events(WALK, DROPPED)
    assert not {one["pid"] for one in of(found, "X")} & {one["tid"] for one in of(found, "X")}


def test_a_reader_that_cuts_nanoseconds_off_sees_slices_that_nest() -> None:
    numbers = (1_001, 8_003, 123_456_789, 4_000_000_007)
    found = events(*(packet(place, crossed("router", 0, time, called(0, 1_001), called(1, 1_003))) for place, time in enumerate(numbers)))
    for traversal, first, second in zip(of(found, "X", "traversal"), *[iter(of(found, "X", "call"))] * 2, strict=True):
        begin, end = int(traversal["ts"] * 1000), int(traversal["ts"] * 1000) + int(traversal["dur"] * 1000)
        assert begin == int(first["ts"] * 1000)
        assert int(first["ts"] * 1000) + int(first["dur"] * 1000) == int(second["ts"] * 1000)
        assert int(second["ts"] * 1000) + int(second["dur"] * 1000) == end


def test_a_call_whose_time_is_not_known_says_so() -> None:
    call, = of(events(packet(1, crossed("router", 0, 0, called(0, None)))), "X", "call")
    assert (call["dur"], call["args"]["time"]) == (0, "not known")


def test_what_has_no_time_is_left_out() -> None:
    assert events(packet(1, crossed("router", 0, None, called(0, 5)))) == []


def test_a_session_without_packets_is_a_trace_without_events() -> None:
    assert events() == []


def test_doubts_are_events_of_the_whole_trace() -> None:
    doubt, = of(events(doubts=["1 event lost"]), "i")
    assert (doubt["name"], doubt["s"]) == ("doubtful: 1 event lost", "g")


def test_text_of_any_origin_is_a_string() -> None:
    nasty = 'a"b\\c\n</script>\ud800'
    call, = of(events(packet(1, crossed(nasty, 0, 0, called(0, 5, rule=RulesetRule(1, "f", nasty))))), "X", "call")
    assert call["args"]["rule"] == f"rule 1: {nasty}"
