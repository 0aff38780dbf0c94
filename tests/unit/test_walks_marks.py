"""✓ and ✗ beside the lines of a run: a line shows ✓ if and only if nothing about it differs."""

from __future__ import annotations

import errno
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import pytest
from rich.console import Console

from harness.conformance import RULES
from harness.conformance.judge import judge
from harness.netfilter import PRIORITY_MIN, Family, Verdict, VerdictKind
from harness.outcome import Fate, HookCall, Outcome, PacketOutcome, RawOutcome, Slot, StepOutcome, Traversal, compare
from harness.outcome.diff import Comparison, Difference
from harness.outcome.types import NF_REINJECT, OUR_MODULE, OURS
from harness.walks.render import render_run
from tests.mutants import MUTANTS
from tests.recorded import recorded


class Row(NamedTuple):
    """A line that can have a mark.

    :param where: what the line is about, as a difference says where it is
    :param part: ``point``, ``call``, ``returned``, ``fate``, ``raw``, ``facts``, ``splat``
    :param mark: ``✓``, ``✗``, or empty
    """

    where: str
    part: str
    mark: str


def shown(comparison: Comparison) -> str:
    out = io.StringIO()
    render_run(Console(file=out, width=400), "title", comparison)
    return out.getvalue()


def rows(text: str) -> Iterator[Row]:
    """The lines, read back from what was printed."""
    packet = point = ""
    call = 0
    for line in text.splitlines():
        mark = "✗" if "✗" in line else "✓" if line.endswith("✓") else ""
        if title := re.match(r"((?:packet|ARP of) .+?|unrelated packet)  ", line):
            packet = title[1]
        elif line.startswith("├─ "):
            name, netns, *_ = line.removeprefix("├─ ").split("  ")
            point, call = f"{packet}/{netns} {name}", 0
            yield Row(point, "point", mark)
        elif re.match(r"│ +\d+ ", line):
            yield Row(f"{point}/call {call}", "call", mark)
            call += 1
        elif line.startswith(("│  returned ", "│  did not run")):
            yield Row(point, "returned", mark)
        elif line.startswith("└─ "):
            yield Row(f"{packet}/fate", "fate", mark)
        elif step := re.match(r"step (-?\d+)  (nf_hook_slow|found|the kernel warned)", line):
            yield Row(f"steps[{step[1]}]", {"nf_hook_slow": "raw", "found": "facts"}.get(step[2], "splat"), mark)


def about(row: Row, difference: Difference, facts: set[str]) -> bool:
    """Whether the difference is about the row, by the words of the difference alone.

    :param facts: names of all facts of the run
    """
    where, whole = difference.where, difference.explanation
    if "ran a step that the other did not" in whole:
        return row.where == where
    if row.part in ("raw", "facts", "splat"):
        step, _, what = where.partition("/")
        names = {"raw": {"nf_hook_slow"}, "splat": {"splats"}, "facts": facts}
        return step == row.where and what in names[row.part]
    if row.part == "fate":
        return where in (row.where, row.where.replace("/fate", "/reason"), row.where.removesuffix("/fate"))
    packet, point, *_ = row.where.split("/")
    one_sided = where == packet or (where == f"{packet}/{point}" and "not crossed" in (difference.predicted, difference.observed))
    if one_sided:
        return True
    of_return, order = difference.predicted.startswith("returned "), whole == "the same hooks ran in another order"
    if row.part == "call":
        return where == row.where or (order and where == f"{packet}/{point}")
    return where == row.where and not order and of_return == (row.part == "returned")


def check(comparison: Comparison, facts: set[str]) -> None:
    """The property, in both directions."""
    found = list(rows(shown(comparison)))
    for row in found:
        differs = [one for one in comparison.differences if about(row, one, facts)]
        # A point that is crossed twice has two rows of one name: a difference there may be about the other row.
        point = "/".join(row.where.split("/")[:2])
        once = sum(other[:2] == (point, "point") for other in found) <= 1
        if row.mark == "✗":
            assert differs, row
        elif row.mark == "✓":
            in_order = [one for one in differs if one.explanation != "the same hooks ran in another order"]
            assert not (once and in_order and row.part != "splat"), (row, differs)
        else:
            assert row.part in ("point", "returned"), row
            assert not (once and differs and row.part == "point"), (row, differs)
    for difference in comparison.differences:
        if not difference.where.startswith("steps["):  # of a step each has a line to itself
            assert any(row.mark == "✗" for row in found if about(row, difference, facts)), difference


def facts_of(*outcomes: Outcome) -> set[str]:
    return {name for outcome in outcomes for step in outcome.steps for name, _ in step.facts}


@pytest.mark.parametrize("name", sorted(name for name, mutant in MUTANTS.items() if mutant.rules[0] in recorded().rules))
def test_what_a_wrong_model_gets_wrong_of_a_real_kernel_has_no_tick(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = MUTANTS[name].rules[0]
    MUTANTS[name].apply(monkeypatch)
    for script, observed in zip(RULES[rule].scripts, recorded().rules[rule], strict=True):
        judged = judge(script, recorded().profile, observed)
        check(compare(judged.predicted, observed), facts_of(judged.predicted, observed))


# An outcome with a line of every sort, and what one changed field marks.

DROP = Verdict(VerdictKind.DROP, errno.EHOSTUNREACH)


def ours(index: int, label: str, verdict: Verdict = Verdict(VerdictKind.ACCEPT)) -> HookCall:  # noqa: B008 - frozen
    return HookCall(index, OURS, OUR_MODULE, index, verdict, 10, label)


AT = Traversal(Family.IPV4, 0, "router", "a", "", (ours(0, "x"), ours(1, "y")), 1)
ON = Traversal(Family.IPV4, 2, "router", "a", "b", (ours(1, "z", DROP),), -errno.EHOSTUNREACH, start=1, loop=NF_REINJECT,
               answer=Verdict(VerdictKind.ACCEPT))
DROPPED = Fate("dropped", errno.EHOSTUNREACH, "NETFILTER_DROP")
PACKET = PacketOutcome("udp", 1, DROPPED, (AT, ON))
ARRAY = ("router/raw/r", (Slot(0, OURS, OUR_MODULE, PRIORITY_MIN, label="x"),))
STEP = StepOutcome(0, 0, (ARRAY,), RawOutcome(1, ("x",), 2), ("WARNING: one", "WARNING: two"), (("arrived", 3), ("torn", 0)))
RIGHT = Outcome((STEP,), (PACKET,))


def walked(at: Traversal = AT, on: Traversal = ON) -> Outcome:
    return replace(RIGHT, packets=(replace(PACKET, traversals=(at, on)),))


def ended(fate: Fate) -> Outcome:
    return replace(RIGHT, packets=(replace(PACKET, fate=fate),))


def stepped(**changes: object) -> Outcome:
    return replace(RIGHT, steps=(replace(STEP, **changes),))  # type: ignore[arg-type]


PRE, FWD, END = "packet 1/router PREROUTING", "packet 1/router FORWARD", "packet 1/fate"
CHANGED: dict[str, tuple[Outcome, list[str]]] = {
    "nothing": (RIGHT, []),
    "reason": (ended(replace(DROPPED, reason=None)), [f"{END} fate"]),
    "fate": (ended(Fate("delivered")), [f"{END} fate"]),
    "errno of the fate": (ended(Fate("dropped", errno.EPERM, "NETFILTER_DROP")), [f"{END} fate"]),
    "answer": (walked(on=replace(ON, answer=DROP)), [f"{FWD} point"]),
    "loop": (walked(on=replace(ON, loop="nf_hook_slow")), [f"{FWD} point"]),
    "start": (walked(on=replace(ON, start=0)), [f"{FWD} point"]),
    "okfn": (walked(on=replace(ON, okfn="ip_forward_finish")), [f"{FWD} point"]),
    "device": (walked(replace(AT, indev="b")), [f"{PRE} point"]),
    "returned": (walked(replace(AT, returned=0)), [f"{PRE} returned"]),
    "verdict": (walked(replace(AT, calls=(ours(0, "x", DROP), ours(1, "y")))), [f"{PRE}/call 0 call"]),
    "slot": (walked(replace(AT, calls=(ours(0, "x"), replace(ours(1, "y"), index=4)))), [f"{PRE}/call 1 call"]),
    "a call more": (walked(replace(AT, calls=(HookCall(0, "spy", None, -9, DROP), replace(ours(0, "x"), index=1),
                                              replace(ours(1, "y"), index=2)))), [f"{PRE}/call 0 call"]),
    "a call less": (walked(replace(AT, calls=(ours(0, "x"),))), [f"{PRE}/call 1 call"]),
    "order": (walked(replace(AT, calls=(replace(AT.calls[1], index=0), replace(AT.calls[0], index=1)))),
              [f"{PRE}/call 0 call", f"{PRE}/call 1 call"]),
    "a traversal less": (replace(RIGHT, packets=(replace(PACKET, traversals=(AT,)),)),
                         [f"{FWD} point", f"{FWD}/call 0 call", f"{FWD} returned"]),
    "errno of a step": (stepped(errno=errno.E2BIG), []),
    "array": (stepped(slots=((ARRAY[0], ()),)), []),
    "raw run": (stepped(raw=RawOutcome(1, ("x",), 1)), ["steps[0] raw"]),
    "fact": (stepped(facts=(("arrived", 3), ("torn", 1))), ["steps[0] facts"]),
    "a fact less": (stepped(facts=(("arrived", 3),)), ["steps[0] facts"]),
    "a warning more": (stepped(splats=("WARNING: one", "WARNING: new", "WARNING: two")), ["steps[0] splat"]),
    "a warning less": (stepped(splats=("WARNING: one",)), []),
    "step": (replace(RIGHT, steps=(replace(STEP, step=1),)), ["steps[1] raw", "steps[1] facts", "steps[1] splat", "steps[1] splat"]),
}


@pytest.mark.parametrize("case", CHANGED)
def test_one_changed_field_marks_what_it_is_about_and_nothing_else(case: str) -> None:
    observed, marked = CHANGED[case]
    comparison = compare(RIGHT, observed)
    assert bool(comparison.differences) == (case != "nothing")
    found = list(rows(shown(comparison)))
    assert [f"{row.where} {row.part}" for row in found if row.mark == "✗"] == marked
    assert {row.part for row in found if not row.mark} <= {"point"}
    check(comparison, facts_of(RIGHT, observed))


def test_a_drop_without_the_reason_says_what_the_model_predicts_beside_the_fate() -> None:
    comparison = compare(RIGHT, ended(replace(DROPPED, reason=None)))
    (fate,) = [line for line in shown(comparison).splitlines() if line.startswith("└─")]
    assert re.fullmatch(r"└─ dropped \(EHOSTUNREACH\) +✗ freed with the reason NETFILTER_DROP", fate)


def test_a_packet_that_crosses_no_hook_point_is_as_predicted_though_it_is_not_seen() -> None:
    comparison = compare(Outcome(packets=(PacketOutcome("frame", 3, Fate("consumed"), (), kind="frame"),)), Outcome())
    assert comparison.verdict == "conformant"
    assert re.search(r"└─ not seen: it crosses no hook point +✓", shown(comparison))


def test_each_of_two_crossings_of_a_point_has_its_own_mark() -> None:
    twice, wrong = (replace(RIGHT, packets=(replace(PACKET, traversals=(AT, one)),)) for one in (AT, replace(AT, returned=0)))
    assert [row.mark for row in rows(shown(compare(twice, wrong))) if row.part == "returned"] == ["✓", "✗"]


def test_an_unrelated_packet_has_no_mark() -> None:
    comparison = compare(RIGHT, replace(RIGHT, packets=(PACKET, replace(PACKET, cookie=None))))
    assert {row.mark for row in rows(shown(comparison)) if row.where.startswith("unrelated packet")} == {""}
    assert comparison.verdict == "conformant"
