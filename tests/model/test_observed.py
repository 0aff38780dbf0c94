"""A real kernel's traversals held against the model's loops: what core.c does is let pass, what it does not is told."""

from __future__ import annotations

import pytest

from harness.model.observed import Departure, departure, departures
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.fate import Fate
from harness.outcome.profile import KernelProfile
from harness.outcome.types import HookCall, Outcome, PacketOutcome, Traversal

ACCEPT, DROP, STOLEN, QUEUE, REPEAT = (
    Verdict(kind) for kind in (VerdictKind.ACCEPT, VerdictKind.DROP, VerdictKind.STOLEN, VerdictKind.QUEUE, VerdictKind.REPEAT))
BYPASS = Verdict(VerdictKind.QUEUE, bypass=True)
DROPS_WITH, STEALS_WITH = Verdict(VerdictKind.DROP, errno=113), Verdict(VerdictKind.STOLEN, errno=1)
SLOW, LIST, BRIDGE, REINJECT = "nf_hook_slow", "nf_hook_slow_list", "nf_hook_bridge_pre", "nf_reinject"
PROFILE = KernelProfile()


def crossed(returned: int | None, *verdicts: Verdict, slots: int | None = None, start: int = 0, loop: str = SLOW,
            answer: Verdict | None = None, indices: tuple[int, ...] | None = None, priorities: tuple[int | None, ...] = ()) -> Traversal:
    first = start + (loop == REINJECT and answer != REPEAT)
    places = indices or tuple(range(first, first + len(verdicts)))
    ranks = priorities or (None,) * len(verdicts)
    calls = tuple(HookCall(index, "hook", None, rank, verdict) for index, rank, verdict in zip(places, ranks, verdicts, strict=True))
    return Traversal(Family.IPV4, 2, "router", "a", "b", calls, returned, None, start, loop, answer,
                     slots=slots if slots is not None else first + len(verdicts))


@pytest.mark.parametrize("traversal", [
    crossed(1, ACCEPT, ACCEPT),
    crossed(1),
    crossed(-1, ACCEPT, DROP, slots=4),
    crossed(-113, DROPS_WITH, slots=2),
    crossed(0, STOLEN, slots=2),
    crossed(-1, STEALS_WITH, slots=2),
    crossed(0, QUEUE, slots=3),
    crossed(0, BYPASS, slots=3),
    crossed(1, BYPASS, ACCEPT),
    crossed(1, BYPASS),
    crossed(1, ACCEPT, start=3),
    crossed(1, ACCEPT, ACCEPT, loop=LIST),
    crossed(0, ACCEPT, DROP, loop=BRIDGE),
    crossed(1, ACCEPT, loop=BRIDGE),
    crossed(1, ACCEPT, ACCEPT, loop=REINJECT, answer=ACCEPT, start=1),
    crossed(0, ACCEPT, DROP, loop=REINJECT, answer=ACCEPT, start=1),
    crossed(1, ACCEPT, ACCEPT, loop=REINJECT, answer=REPEAT, start=1),
    crossed(0, loop=REINJECT, answer=DROP, start=1),
    crossed(0, loop=REINJECT, answer=ACCEPT, start=1, slots=0),
    crossed(1, ACCEPT, ACCEPT, ACCEPT, priorities=(-5, None, 5)),
], ids=str)
def test_what_core_does_obeys(traversal: Traversal) -> None:
    assert departure(traversal, PROFILE) is None


@pytest.mark.parametrize(("traversal", "what"), [
    (crossed(1, ACCEPT, slots=2), "slot 1 was not called"),
    (crossed(1, ACCEPT, ACCEPT, indices=(0, 2), slots=3), "slot 2 was called where slot 1 was next"),
    (crossed(1, ACCEPT, ACCEPT, indices=(1, 0)), "slot 1 was called where slot 0 was next"),
    (crossed(-1, DROP, ACCEPT), "slot 1 was called although the loop had come to its end"),
    (crossed(1, QUEUE, ACCEPT), "slot 1 was called although the loop had come to its end"),
    (crossed(0, DROP), "returned 0 where -EPERM follows from the verdicts"),
    (crossed(-1, DROPS_WITH), "returned -EPERM where -EHOSTUNREACH follows from the verdicts"),
    (crossed(0, STEALS_WITH), "returned 0 where -EPERM follows from the verdicts"),
    (crossed(0, ACCEPT), "returned 0 where 1 follows from the verdicts"),
    (crossed(1, ACCEPT, DROP, loop=BRIDGE), "returned 1 where 0 follows from the verdicts"),
    (crossed(1, ACCEPT, DROP, loop=REINJECT, answer=ACCEPT), "returned 1 where 0 follows from the verdicts"),
    (crossed(1, ACCEPT, ACCEPT, priorities=(5, -5)), "slot 1 has priority -5, behind slot 0 with 5"),
], ids=str)
def test_what_core_does_not_do_is_told(traversal: Traversal, what: str) -> None:
    assert departure(traversal, PROFILE) == what


def test_a_kernel_that_forgets_the_errno_of_a_thief_obeys_its_own_core() -> None:
    assert departure(crossed(0, STEALS_WITH), KernelProfile(stolen_errno=False)) is None


def test_of_an_outcome_only_traversals_that_were_seen_whole_are_compared() -> None:
    wrong = crossed(0, DROP)
    walk = (crossed(1, ACCEPT), wrong, crossed(None, ACCEPT), crossed(0, loop="nf_nat_inet_fn"), crossed(1, loop=REINJECT))
    packet = PacketOutcome("UDP", None, Fate("dropped"), walk, number=3)
    assert departures(Outcome(packets=(packet,)), PROFILE) == (
        2, (Departure(3, wrong, "returned 0 where -EPERM follows from the verdicts"),))
    assert str(departures(Outcome(packets=(packet,)), PROFILE)[1][0]).startswith("packet 3 at router FORWARD: returned 0")
