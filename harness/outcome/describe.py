"""Outcomes in words: short forms for differences, trees and errors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

from harness.netfilter import PRIORITY_MAX, PRIORITY_MIN, VerdictKind, errno_name, hook_name
from harness.outcome.fate import Fate
from harness.outcome.types import Change, Connection, HookCall, PacketOutcome, QueueState, RawOutcome, Slot, Traversal

__all__ = ("answer", "beside", "calls", "changed", "changed_by", "cookie", "decided_by", "devices", "duration", "errno", "facts", "fate",
           "for_no_listener", "losses", "moment", "name", "point", "priority", "queue", "raw", "returned", "slots", "tracked", "when")


_ENQUEUES = ("nfqnl_enqueue_packet", "__nfqnl_enqueue_packet")
_REROUTES = ("nf_route_table_",)
_NAT = ("nf_nat", "iptable_nat", "ip6table_nat")
_TRANSLATED = {"source": "SNAT", "destination": "DNAT"}


def cookie(number: int | None, kind: str = "") -> str:
    """A packet by its cookie; ARP, whose number is made of the two addresses that it is about, by those.

    :param kind: as :func:`harness.walks.summary.kind_of` has it
    """
    if number is None or not kind.startswith("arp"):
        return f"packet {number}"
    return f"ARP of {IPv4Address(number >> 32)} and {IPv4Address(number & 0xFFFF_FFFF)}"


def name(hook: HookCall | Slot) -> str:
    """Ours by the scenario's name, others by symbol and module."""
    if hook.label is not None:
        return hook.label
    return f"{hook.function} [{hook.module}]" if hook.module else hook.function


def point(traversal: Traversal) -> str:
    """``FORWARD`` for IPv4, the family before it otherwise: ``IPV6 FORWARD``, ``NETDEV INGRESS``."""
    hook = hook_name(traversal.pf, traversal.hook)
    return hook if traversal.pf.name == "IPV4" else f"{traversal.pf.name} {hook}"


def devices(traversal: Traversal) -> str:
    """``in eth0``, ``out eth1``, ``in eth0, out eth1``."""
    parts = [f"{side} {device}" for side, device in (("in", traversal.indev), ("out", traversal.outdev)) if device]
    return ", ".join(parts)


def when(packet: PacketOutcome, began: int | None = None) -> str:
    """``0.012345 s``: when it was seen first, since the session's first record; empty where that is not known.

    :param began: as of an outcome: then ``2026-11-30 12:04:40.012345+01:00``, as this host's clock shows it
    """
    first = packet.traversals[0].time if packet.traversals else None
    return "" if first is None else moment(first, began)


def moment(time: int, began: int | None = None) -> str:
    """A time, as :func:`when` writes it.

    :param time: ns since the session's first record
    """
    if began is None:
        return f"{time / 10**9:.6f} s"
    seconds, ns = divmod(began + time, 10**9)
    moment = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=ns // 1000)
    return moment.astimezone().isoformat(" ", "microseconds")


def priority(number: int | None) -> str:
    """The two ends of the range by their names; ``?`` for one that could not be read."""
    names = {PRIORITY_MIN: "INT_MIN", PRIORITY_MAX: "INT_MAX", None: "?"}
    return names.get(number, str(number))


def beside(packet: PacketOutcome) -> tuple[str, ...]:
    """What stands beside a packet's summary: ``answer to packet 3``, what it is to another one, and whether it may be seen in part."""
    related = (f"{packet.relation.kind} packet {packet.relation.packet}",) if packet.relation else ()
    return (*related, losses(packet.lost_events)) if packet.lost_events else related


def losses(count: int) -> str:
    """Whether a packet may be seen in part.

    :param count: of events that were lost while it was under way
    """
    return f"{count:,} events were lost meanwhile: not all of it may be seen" if count > 1 else "an event was lost meanwhile, maybe of it"


def answer(traversal: Traversal) -> str:
    """``answered ACCEPT after 1.25 ms``: what a listener said to ``nf_reinject``, or the kernel in its place; empty of other loops."""
    if traversal.answer is None:
        return ""
    waited = "" if traversal.waited is None else f" after {duration(traversal.waited)}"
    why = for_no_listener(traversal)
    return f"{traversal.answer}{waited}: {why}" if why else f"answered {traversal.answer}{waited}"


def for_no_listener(traversal: Traversal) -> str:
    """Why ``nf_reinject`` ran though no listener had answered; empty where one had, or it is not known."""
    by = traversal.answered_by
    if by is None or by.startswith("nfqnl_recv_verdict"):
        return ""
    return "its queue was full and fails open" if by in _ENQUEUES else f"the kernel emptied its queue, in {by}"


def duration(ns: int) -> str:
    """``870 ns``, ``12.3 µs``, ``1.25 ms``, ``2.50 s``: three digits."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if ns >= size:
            return f"{ns / size:.{max(0, 2 - (len(str(ns // size)) - 1))}f} {unit}"
    return f"{ns} ns"


def errno(number: int) -> str:
    """The name of an errno; ``success`` for 0."""
    return errno_name(number) if number else "success"


def returned(value: int | None) -> str:
    """What nf_hook_slow returned: ``1``, ``0``, ``-EPERM``."""
    if value is None:
        return "not seen"
    return f"-{errno_name(value)}" if value < 0 else str(value)


def fate(fate: Fate) -> str:
    """A packet's fate: ``dropped (EPERM)``."""
    if fate.kind in ("leaked", "doubled") and fate.reason:
        return f"{fate.kind} ({fate.reason})"
    return f"{fate.kind} ({errno_name(fate.errno)})" if fate.errno else fate.kind


def calls(calls: Sequence[HookCall]) -> str:
    """The hooks that ran, in order; one that did not accept with its verdict."""
    accept = VerdictKind.ACCEPT
    return ", ".join(name(call) if call.verdict.kind is accept else f"{name(call)} {call.verdict}" for call in calls) or "none"


def changed(changes: Sequence[Change]) -> str:
    """``TTL 64 → 63, mark 0x0 → 0x1``; of a connection's status the bits that came and went: ``status +CONFIRMED``."""
    return ", ".join(map(_became, changes))


def _became(change: Change) -> str:
    if change.what != "status":
        return f"{change.what} {change.before} → {change.after}"
    before, after = ([bit for bit in one.split() if bit != "none"] for one in (change.before, change.after))
    came, went = (f"+{bit}" for bit in after if bit not in before), (f"-{bit}" for bit in before if bit not in after)
    return " ".join(("status", *came, *went))


def changed_by(call: HookCall) -> str:
    """What a call made of a packet. What NAT translated has NAT's words, and the chain that bound the connection if it did just now."""
    if not (call.module or call.function).startswith(_NAT):
        return changed(call.changed)
    said = changed([Change(_TRANSLATED.get(change.what, change.what), *change[1:]) for change in call.changed])
    # A source port may become another one without any chain: where the old one is taken.
    binds = any(change.what == "destination" or (change.what == "source" and _address(change.before) != _address(change.after))
                for change in call.changed)
    chain = call.calls[-1].chain if call.calls and binds else None
    return f"{said} by {chain}" if chain else said


def decided_by(call: HookCall) -> str:
    """``rule 7: tcp dport 22 drop``; of another chain than the base chain ``rule 7 of web, from rule 5: …``; or the policy that dropped."""
    if call.policy:
        return "" if call.verdict.kind is VerdictKind.ACCEPT else "its policy: no rule gave a verdict"
    if call.rule is None:
        rerouted = call.function.startswith(_REROUTES) and call.verdict.kind is VerdictKind.DROP and call.verdict.errno
        return "its chain accepted, and there was no route for what it made of the packet" if rerouted else ""
    handle, chain, text, via = call.rule
    if not text and call.verdict.kind is VerdictKind.ACCEPT:
        return ""
    base = (call.chain or "").split(" ")[-1]
    where = f" of {chain}" if chain and chain != base else ""
    way = f", from rule {' and '.join(map(str, via))}" if via else ""
    return f"rule {handle}{where}{way}: {text}" if text else f"rule {handle}, whose text is not known"


def _address(end: str) -> str:
    return end.partition("]")[0] if end.startswith("[") else end.partition(":")[0] if end.count(":") == 1 else end


def tracked(connection: Connection | None) -> str:
    """``id 3735928559, zone 5, SEEN_REPLY CONFIRMED, reply``; empty for none."""
    if connection is None:
        return ""
    parts = (f"id {connection.id}" if connection.id is not None else "", f"zone {connection.zone}" if connection.zone else "",
             " ".join(connection.status), connection.direction)
    return ", ".join(filter(None, parts))


def slots(slots: Sequence[Slot]) -> str:
    """An array's slots, in order: ``first (-300), dummy``."""
    return ", ".join("dummy" if slot.dummy else f"{name(slot)} ({priority(slot.priority)})" for slot in slots) or "empty"


def facts(facts: Sequence[tuple[str, str | int]]) -> str:
    """``arrived 100, torn 0``."""
    return ", ".join(f"{name} {value}" for name, value in facts) or "nothing"


_FREED = {0: "freed twice", 1: "freed"}


def raw(run: RawOutcome | None) -> str:
    """``a, b called, returned -EPERM, skb freed``."""
    if run is None:
        return "not run"
    called = ", ".join(run.called[:8]) + (f" … {run.called[-1]}: {len(run.called)} hooks" if len(run.called) > 8 else "")
    altered = f", {run.altered} of them with another state than the loop was given" if run.altered else ""
    return f"{called or 'none'} called{altered}, returned {returned(run.returned)}, skb {_FREED.get(run.users, 'not freed')}"


def queue(state: QueueState | None) -> str:
    """``2 wait, 5 came, 1 dropped``."""
    if state is None:
        return "nobody listens"
    wait = f"{state.total} wait{'s' * (state.total == 1)}, {state.sequence} came"
    counts = (("dropped", state.dropped), ("refused by the listener's socket", state.user_dropped))
    return ", ".join([wait, *(f"{number} {what}" for what, number in counts if number)])
