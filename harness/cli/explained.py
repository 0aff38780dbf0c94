"""What ``trace --explain`` shows: the rules of the chains that decided about a packet, with what was true for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from harness.cli.sessions import Seen, counted
from harness.errors import UserError
from harness.outcome import describe
from harness.outcome.types import HookCall, PacketOutcome, Traversal
from harness.walks.explain import MALFORMED, Explanation, RuleTold, explained, places
from harness.walks.here import Here
from harness.walks.short import responsible
from harness.walks.summary import summary

__all__ = ("Explained", "explain", "lines", "to_json")

_MARKS = {"matched": ("✓", "green"), "not matched": ("✗", "red"), "cannot tell": ("?", "yellow")}
#: A packet, what is explained of it, and what is to be said of all that.
Explained = tuple[PacketOutcome, Sequence[Explanation], tuple[str, ...]]


def explain(session: Seen, number: int, at: str | None) -> Explained:
    """The calls of base chains that decided about a packet.

    :param number: of the packet
    :param at: what the chain's name contains, or the hook point's name; ``None`` for the call that decided, or all if no chain did
    :raises UserError: the session has no such packet, or the packet met no such chain
    """
    packet = next((packet for packet in session.observed.packets if packet.number == number), None)
    if packet is None:
        last = max((packet.number for packet in session.observed.packets), default=0)
        raise UserError(f"--explain: the session has no packet {number}",
                        hint=f"its last packet is {last}, and --short lists them" if last else "it has no packets at all")
    try:
        return _explained(session, packet, at)
    except MALFORMED as error:
        raise UserError(f"--explain: what the session says of packet {number} is not as trace --json writes it: {error!r}",
                        hint="record it again") from None


def _explained(session: Seen, packet: PacketOutcome, at: str | None) -> Explained:
    met = list(places(packet))
    if at is not None:
        chosen = [one for one in met if at in (one[2].chain or "") or f" {describe.point(one[0])}".endswith(f" {at.upper()}")]
        if not chosen:
            names = ", ".join(dict.fromkeys(one[2].chain or "" for one in met))
            raise UserError(f"--at: packet {packet.number} met no base chain of nftables' with '{at}' in its name, nor at such a point",
                            hint=f"it met {names}" if names else "it met none at all")
        return packet, _of(session, chosen), ()
    decided = responsible(packet)
    own = [one for one in met if decided is not None and one[2] is decided[1]]
    notes = () if own else (_others(decided),) if met else (_others(decided), "the packet met no base chain of nftables'")
    return packet, _of(session, own or met), notes


def _of(session: Seen, chosen: Sequence[tuple[Traversal, tuple[int, ...], HookCall]]) -> list[Explanation]:
    sees = session.complaints.undecided is None
    return [explained(*one, session.observed.rulesets, sees_rules=sees) for one in chosen]


def _others(decided: tuple[Traversal, HookCall] | None) -> str:
    """Who decided where no base chain did."""
    if decided is None:
        return "no hook decided about its end: each base chain that it met is explained"
    traversal, call = decided
    return f"{call.chain or describe.name(call)} decided at {traversal.netns} {describe.point(traversal)}, whose rules are not seen"


def lines(told: Explained) -> Iterator[Text]:
    """What is printed."""
    packet, explanations, notes = told
    yield Text.assemble((f"packet {packet.number}", "bold cyan"), f"  {packet.packet}", (f"  {describe.fate(packet.fate)}", "bold"))
    for note in notes:
        yield Text(note, "yellow")
    for one in explanations:
        yield Text()
        yield from _lines(one)


def _lines(one: Explanation) -> Iterator[Text]:
    at, call = one.traversal, one.call
    yield Text.assemble((call.chain or "", "bold"), f"  {describe.point(at)}  ", (at.netns, "cyan"), f"  {describe.devices(at)}  ",
                        (str(call.verdict), "bold"), f"  {decision}" if (decision := _decision(call)) else "")
    yield Text.assemble(("the packet here: ", "dim"), _packet(one))
    for note in one.notes:
        yield Text(note, "yellow")
    chain = None
    for rule in one.rules:
        if rule.chain != chain:
            chain = rule.chain
            yield Text.assemble("  chain ", (chain, "bold"))
        yield from _rule(rule)
    for chain, count in one.unreached.items():
        yield Text(f"  {counted(count, 'rule')} of {chain} behind that {'was' if count == 1 else 'were'} not reached", "dim")


def _rule(rule: RuleTold) -> Iterator[Text]:
    why = ", ".join(rule.why)
    yield Text.assemble("  ", _MARKS[rule.state], f" rule {rule.handle}: {rule.text or '(its text is not known)'}",
                        (f"  → {rule.did}" if rule.did else "", "bold"))
    if why or rule.state == "cannot tell":
        yield Text.assemble("      ", (f"{rule.state}: " if rule.state != "matched" else "", _MARKS[rule.state][1]), why)


def _decision(call: HookCall) -> str:
    return "by its policy" if call.policy else f"by rule {call.rule.handle}" if call.rule else ""


def _packet(one: Explanation) -> str:
    """The packet as the chain got it: a hook before may have made something else of it."""
    here = one.packet
    text = one.traversal.packet if here.head == one.traversal.head else summary(0, here.head, len(here.head))
    return ", ".join(filter(None, (text, "" if here.mark is None else f"mark {here.mark:#x}", f"connection {here.connection}",
                                   f"zone {here.zone}" if here.zone else "", f"status {' '.join(here.status)}" if here.status else "")))


def to_json(told: Explained) -> dict[str, Any]:
    """What ``--json`` has of it."""
    packet, explanations, notes = told
    return {"packet": packet.number, "notes": list(notes), "calls": list(map(_json, explanations))}


def _json(one: Explanation) -> dict[str, Any]:
    at, call = one.traversal, one.call
    return {"chain": call.chain, "netns": at.netns, "point": describe.point(at), "verdict": str(call.verdict), "policy": call.policy,
            "rule": call.rule and call.rule.handle, "here": _here(one.packet), "rules": list(map(asdict, one.rules)),
            "unreached": dict(one.unreached), "notes": list(one.notes)}


def _here(packet: Here) -> dict[str, Any]:
    return {"head": packet.head.hex(), "in": packet.indev, "out": packet.outdev, "mark": packet.mark, "connection": packet.connection,
            "zone": packet.zone, "status": list(packet.status)}
