"""Putting together on the host what a guest's observer sends."""

from __future__ import annotations

import pytest

from harness.backends.observer import Complaints
from harness.cli.sessions import Seen, conclusion, report
from harness.errors import KernelDied
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.fate import Fate
from harness.outcome.types import HookCall, Outcome, PacketOutcome, Traversal
from harness.walks.events import Entry, Event, Exit, Gone
from harness.walks.sightings import told_apart

A, B = 4026531840, 4026532177
NONE = Complaints()

CALL = HookCall(0, "nft_do_chain", "nf_tables", 0, Verdict(VerdictKind.ACCEPT), 100)
PACKET = PacketOutcome("UDP", None, Fate("consumed"), (Traversal(Family.IPV4, 1, "init", "lo", "", (CALL, CALL), 1),))


def entry(netns: int, time: int) -> Entry:
    return Entry(1, 2, time, 2, 1, netns, "", "", 0, 1, 0x0800, 84, b"", b"")


def told(events: list[Event], sightings: list[tuple[int, int, str]]) -> list[str | None]:
    """The name of each event's namespace."""
    apart, names = told_apart(events, sightings)
    return [names.get(event.netns) for event in apart if isinstance(event, Entry)]


def concluded(observed: Outcome, complaints: Complaints = NONE) -> str:
    return conclusion(Seen({}, (), 0, observed, observed, complaints))


def test_a_namespace_has_its_name_whenever_it_was_seen_first() -> None:
    assert told([entry(A, 5), entry(B, 15), entry(B, 30)], [(0, A, "init"), (20, B, "left")]) == ["init", "left", "left"]


def test_a_number_that_is_used_again_is_another_namespace() -> None:
    sightings = [(0, A, "init"), (10, B, "left"), (20, B, "right"), (30, B, "third")]
    assert told([entry(B, 5), entry(B, 10), entry(B, 19), entry(B, 20), entry(B, 99)], sightings) == [
        "left", "left", "left", "right", "third"]


def test_a_namespace_keeps_its_name_until_it_is_taken_down_itself() -> None:
    sightings = [(0, A, "init"), (10, B, "left"), (20, B, "")]
    assert told([entry(B, 25), Gone(B, 30), entry(B, 35), Gone(B, 40), entry(B, 45)], sightings) == ["left", f"net:[{B}]", f"net:[{B}]"]
    assert told([Gone(B, 5), entry(B, 6), entry(B, 25)], sightings) == ["left", "left"]


def test_a_number_is_the_next_namespaces_before_that_is_named() -> None:
    sightings = [(0, A, "init"), (10, B, "left"), (20, B, ""), (50, B, "right")]
    assert told([Gone(B, 15), entry(B, 17), entry(B, 30)], sightings) == ["right", "right"]


def test_namespaces_that_had_no_name_one_after_the_other_are_two() -> None:
    apart, _ = told_apart([Gone(B, 5), entry(B, 6), Gone(B, 7), entry(B, 8)], [(1, B, "left")])
    assert len({event.netns for event in apart if isinstance(event, Entry)}) == 2


def test_a_namespace_without_a_name_keeps_its_number() -> None:
    apart, names = told_apart([entry(B, 5)], [(0, A, "init")])
    assert (apart, names) == ([entry(B, 5)], {A: "init"})


def test_other_events_stay_as_they_are() -> None:
    ended = Exit(1, 1, 5)
    assert told_apart([ended], [(0, A, "init"), (1, A, "again")])[0] == [ended]


@pytest.mark.parametrize(("observed", "line"), [
    (Outcome(), "traced: 0 packets, 0 hook calls"),
    (Outcome(packets=(PACKET,)), "traced: 1 packet, 2 hook calls"),
    (Outcome(packets=(PACKET,) * 600), "traced: 600 packets, 1,200 hook calls"),
    (Outcome(packets=(PACKET,), lost_events=1), "inconclusive: 1 event lost"),
    (Outcome(lost_events=2, doubts=("2 records found no room", "another")), "inconclusive: 2 records found no room; another"),
])
def test_the_last_line(observed: Outcome, line: str) -> None:
    assert concluded(observed) == line


def test_what_the_kernel_complained_of_is_in_the_last_line() -> None:
    complaints = Complaints(("net/core/dev.c", "BUG: unable to handle"), "W")
    ends = "; the kernel complained: net/core/dev.c; the kernel complained: BUG: unable to handle; it is tainted now: W"
    assert concluded(Outcome(), complaints) == f"traced: 0 packets, 0 hook calls{ends}"
    assert concluded(Outcome(doubts=("why",)), complaints) == f"inconclusive: why{ends}"


@pytest.mark.parametrize(("observed", "verdict"), [(Outcome(), "traced"), (Outcome(doubts=("why",)), "inconclusive")])
def test_the_json_report(observed: Outcome, verdict: str) -> None:
    document = report(Seen({"release": "6.12"}, ["ping", "-c1"], 3, observed, observed, Complaints()))
    assert document == {
        "trace": 2, "filter": None, "kernel": {"release": "6.12"}, "command": ["ping", "-c1"], "exit_status": 3, "verdict": verdict,
        "packets": [],
        "lost_events": 0, "doubts": list(observed.doubts), "blind": {}, "splats": (), "taint": "", "log": (), "unnamed": None,
        "undecided": None, "unregistered": None, "uncounted": None,
    }


def test_the_json_report_of_a_kernel_that_died() -> None:
    died = KernelDied("the kernel panicked", console_tail="one\ntwo")
    seen = Outcome(doubts=("it died",))
    document = report(Seen({}, ["true"], None, seen, seen, Complaints(), died))
    assert (document["verdict"], document["exit_status"], document["died"], document["console"]) == (
        "inconclusive", None, "the kernel panicked", ["one", "two"])
