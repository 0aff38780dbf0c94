"""``trace --html``: a session as a page. Where its packets came by, as a picture; each packet in a line, and its walk below that."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.cli.pages import rendered
from harness.cli.sessions import Obeyed, Seen, conclusion, counted, obedience, remarks
from harness.outcome import describe, registration
from harness.outcome.types import PacketOutcome
from harness.printable import printable
from harness.walks.diagram import diagram, path
from harness.walks.drawing import Drawing, drawn
from harness.walks.filter import Filter
from harness.walks.short import dropped, is_noise, names, responsible

__all__ = ("LISTED", "WALKS", "page")

LISTED = 10_000
"""So many packets have a line."""

WALKS = 2_000
"""So many of them have their walk: the page of 10,000 packets takes a browser 3 s of processor time, with all walks it would take 10 s."""

_STACK, _NO_HOOK = "the stack", "no hook"


@dataclass(frozen=True, slots=True)
class _Line:
    """A packet.

    :param netns: that it came by, in order
    :param decider: a hook and its point, the stack, or neither
    :param rule: what decided there, in words
    :param tone: of its end: ``good``, ``bad`` or ``other``
    :param lit: ids of the elements of the picture that are its path
    :param walk: whether its walk is on the page
    """

    packet: PacketOutcome
    when: str
    netns: str
    decider: str
    rule: str
    tone: str
    lit: str
    noise: bool
    walk: bool


def page(session: Seen, wanted: Filter | None = None, obeyed: Obeyed | None = None) -> str:
    """The page's HTML.

    :param wanted: the filter that chose the packets
    """
    packets = session.shown.packets
    drawing = drawn(diagram(packets))
    lines = _lines(packets[:LISTED], drawing)
    noise = sum(line.noise for line in lines)
    return printable(rendered(
        "trace.html",
        command=shlex.join(session.argv),
        filter=wanted.text if wanted else "",
        facts=session.facts,
        status=session.status,
        conclusion=conclusion(session),
        doubtful=bool(session.reasons or session.complaints.splats or session.complaints.taint or session.complaints.unregistered
                      or session.died),
        died=session.died,
        remarks=(*remarks(session), *_left_out(packets, lines)),
        obedience=obedience(obeyed) if obeyed else "",
        departures=obeyed[1] if obeyed else (),
        log=session.complaints.log,
        drawing=drawing,
        lines=lines,
        noise=noise,
        ends=Counter(line.packet.fate.kind for line in lines).most_common(),
        deciders=Counter(line.decider for line in lines).most_common(),
        describe=describe,
        registrations=session.shown.registrations,
        registration=registration,
    ))


def _lines(packets: Sequence[PacketOutcome], drawing: Drawing) -> list[_Line]:
    """A line for each packet; with walks for those that were dropped or rejected first, then for the others."""
    ranked = sorted(packets, key=lambda packet: not dropped(packet))
    walks = {packet.number for packet in ranked[:WALKS]}
    return [_line(packet, drawing, walk=packet.number in walks) for packet in packets]


def _line(packet: PacketOutcome, drawing: Drawing, *, walk: bool) -> _Line:
    decider, rule = _decided(packet)
    netns = " → ".join(dict.fromkeys(traversal.netns for traversal in packet.traversals))
    return _Line(packet, describe.when(packet), netns, decider, rule,
                 "good" if packet.fate.kind == "delivered" else "bad" if dropped(packet) else "other",
                 drawing.lit(path(packet)), is_noise(packet), walk)


def _decided(packet: PacketOutcome) -> tuple[str, str]:
    """Who decided the packet's end, and by what."""
    found, reason = responsible(packet), packet.fate.reason or ""
    if found:
        traversal, call = found
        hook = call.chain or describe.name(call)
        return f"{hook} at {traversal.netns} {describe.point(traversal)}", names(call).removeprefix(hook).removeprefix(", ")
    return (_STACK, reason) if packet.fate.kind == "dropped by the stack" else (_NO_HOOK, reason if dropped(packet) else "")


def _left_out(packets: Sequence[PacketOutcome], lines: Sequence[_Line]) -> tuple[str, ...]:
    """What is not on the page because a browser could not hold it."""
    unlisted, bare = len(packets) - len(lines), sum(not line.walk for line in lines)
    hint = "trace --read FILE FILTER --html FILE writes a page of fewer packets"
    said = [f"… and {counted(unlisted, 'more packet')}, which the picture counts and the list leaves out"] if unlisted else []
    said += [f"{counted(bare, 'packet')} listed without walks, which those of dropped packets and of the first others leave no room for"
             ] if bare else []
    return tuple(f"{one}: {hint}" for one in said)
