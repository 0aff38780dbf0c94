"""When a capture can be trusted."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from harness.errors import GuestError
from harness.trace.capture import Capture, doubts
from harness.trace.kprobes import Profile
from harness.trace.tracer import Counter, Tracer

BALANCED = dict.fromkeys(Counter, 0) | {Counter.TRAVERSALS: 4, Counter.CALLS: 6, Counter.EXITS: 4}
RAN = {"entry": 4, "call": 6, "exit": 4}
PROFILE = {"entry": Profile(4, 0), "call": Profile(6, 0), "exit": Profile(4, 0), "release": Profile(9, 0)}


def test_a_capture_that_balances_is_not_doubted() -> None:
    assert doubts(BALANCED, RAN, PROFILE) == ()


@pytest.mark.parametrize(("counter", "sentence"), [
    (Counter.LOST, "2 records found no room in the ring buffer"),
    (Counter.UNMATCHED, "2 probes met no traversal that they belong to"),
    (Counter.STALE, "2 traversals were never seen to return"),
    (Counter.FRAMES_FULL, "2 traversals found no room in the table of those under way"),
    (Counter.MOVED, "2 calls were of another slot than counted"),
    (Counter.SKBS_FULL, "2 skbs found no room in the table of those alive"),
    (Counter.EXITS, "4 traversals were entered and 2 left"),
])
def test_every_loss_is_told(counter: Counter, sentence: str) -> None:
    assert doubts(BALANCED | {counter: 2}, RAN, PROFILE) == (sentence,)


def test_a_probe_that_the_kernel_missed_is_told() -> None:
    assert doubts(BALANCED, RAN, PROFILE | {"call": Profile(6, 1)}) == ("probe call: 6 hits, 1 missed, 6 seen by the program",)


def test_a_hit_that_did_not_run_the_program_is_told() -> None:
    assert doubts(BALANCED, RAN, PROFILE | {"exit": Profile(5, 0)}) == ("probe exit: 5 hits, 0 missed, 4 seen by the program",)


def test_a_capture_needs_a_loaded_tracer() -> None:
    with pytest.raises(GuestError, match="not loaded"):
        Capture(Tracer())


def watched(monkeypatch: pytest.MonkeyPatch, *counts: tuple[int, int]) -> Capture:
    """A capture whose programs have counted so many traversals entered and left, at each look."""
    looks = iter(counts)

    def books(_: Capture) -> tuple[dict[Counter, int], dict[str, int]]:
        entered, left = next(looks)
        return dict.fromkeys(Counter, 0) | {Counter.TRAVERSALS: entered, Counter.EXITS: left}, {}

    monkeypatch.setattr(Capture, "_books", books)
    monkeypatch.setattr(Capture, "drain", lambda _: False)
    monkeypatch.setattr(Capture, "_unfinished", lambda _: [])
    tracer = Tracer()
    tracer.bpf, tracer.kprobes = object(), SimpleNamespace(profile=dict)  # type: ignore[assignment]
    capture = Capture(tracer)
    monkeypatch.setattr(capture, "_witness", SimpleNamespace(begin=lambda: None, doubts=lambda: ()), raising=False)
    return capture


def test_what_is_under_way_when_a_capture_begins_or_ends_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = watched(monkeypatch, (3, 2), (3, 3), (4, 4), (4, 4), (4, 4), (8, 7), (8, 8))
    capture.begin()
    capture.end()
    assert (capture.counters[Counter.TRAVERSALS], capture.doubts) == (4, ())


def test_what_never_comes_to_its_end_is_told_and_not_held_against_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = watched(monkeypatch, (0, 0), (0, 0), *[(4, 3)] * 1000)
    capture.begin()
    capture.end()
    first = capture.doubts
    capture.begin()
    capture.end()
    assert (first, capture.doubts) == (("4 traversals were entered and 3 left",), ())
