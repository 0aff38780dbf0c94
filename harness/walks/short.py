"""Packets in a line each, what dropped them, and those that nobody asks for: what a person wants to know first of many packets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from rich.text import Text

from harness.netfilter import VerdictKind
from harness.outcome import describe
from harness.outcome import registration as registrations
from harness.outcome.types import HookCall, PacketOutcome, Registration, Traversal

__all__ = ("Group", "busy", "dropped", "drops", "folded", "group_of", "is_noise", "names", "one_line", "registered",
           "responsible")

#: Flow, where and how packets were dropped.
Group = tuple[str, str, str]

_OF_HOOKS = ("dropped", "rejected", "queued", "stolen")
_QUEUE = "its queue "  # what a reason begins with where no queue took a packet
_GOES_ON = 1  # what a loop returns then
_DROPPED = ("dropped", "rejected", "dropped by the stack")
_NOISE = ("multicast listener report", "protocol 2", "router solicitation", "router advertisement", "neighbour solicitation",
          "neighbour advertisement", "arp request", "arp reply")
_SOURCE_PORT = re.compile(r"^(\S+(?: \[\w*\])? (?:\[[^]]+\]|[\d.]+)):\d+ > ")
_LENGTH = re.compile(r", \d+ bytes$")
_STYLES = {"delivered": "green", "dropped": "red", "rejected": "red", "dropped by the stack": "red"}


def busy(packet: PacketOutcome) -> int:
    """The time that a packet's hook calls took in all, ns."""
    return sum(call.ns or 0 for traversal in packet.traversals for call in traversal.calls)


def dropped(packet: PacketOutcome) -> bool:
    """Whether it was dropped or rejected, by a hook or by the stack."""
    return packet.fate.kind in _DROPPED


def is_noise(packet: PacketOutcome) -> bool:
    """Whether it is of neighbour discovery, ARP or multicast group membership (IGMP is protocol 2), and every hook accepted it."""
    calls = (call for traversal in packet.traversals for call in traversal.calls)
    return packet.kind in _NOISE and all(call.verdict.kind is VerdictKind.ACCEPT for call in calls)


def responsible(packet: PacketOutcome) -> tuple[Traversal, HookCall] | None:
    """The call that brought the packet to its end, and where; ``None`` where the stack did, or the host that it was meant for took it.

    Of an end that hooks alone decide that is the last call that did not accept: a listener may have answered since. Another end is a hook's
    where the packet did not go on behind it.
    """
    if packet.fate.kind in ("delivered", "dropped by the stack"):
        return None
    last = packet.traversals if packet.fate.kind in _OF_HOOKS else packet.traversals[-1:]
    calls = [(traversal, call) for traversal in last for call in traversal.calls
             if packet.fate.kind in _OF_HOOKS or traversal.returned != _GOES_ON]
    return next((found for found in reversed(calls) if found[1].verdict.kind is not VerdictKind.ACCEPT), None)


def one_line(packet: PacketOutcome, began: int | None = None) -> Text:
    """``packet 3  UDP 10.0.0.1:7 > 10.0.0.2:9, 60 bytes  router FORWARD  dropped (EPERM) by inet admin forward, rule 4: …``.

    :param began: for the time of day, as of an outcome
    """
    beside = "".join(f" ({said})" for said in describe.beside(packet))
    old = registrations.missed([change for traversal in packet.traversals for change in traversal.missed])
    points: list[str] = []
    netns = None
    for traversal in packet.traversals:
        points.append(describe.point(traversal) if traversal.netns == netns else f"{traversal.netns} {describe.point(traversal)}")
        netns = traversal.netns
    first = f"{seen}  " if (seen := describe.when(packet, began)) else ""
    return Text.assemble((f"packet {packet.number}", "bold cyan"), "  ", (first, "dim"), f"{packet.packet}{beside}  ",
                         (", ".join(points), "dim"), "  ", (_end(packet), _STYLES.get(packet.fate.kind, "yellow")),
                         (f"  old array: {old}" if old else "", "bold yellow"))


def registered(registration: Registration, began: int | None = None) -> Text:
    """``registration 1  0.000000 s  registered inet fw out at init OUTPUT, priority 0  by nft, process 412, …  generation 0 → 1``.

    :param began: as of :func:`one_line`
    """
    return Text.assemble((f"registration {registration.number}", "bold magenta"), "  ",
                         (f"{describe.moment(registration.time, began)}  ", "dim"), registrations.headline(registration), "  ",
                         (registrations.who(registration), "dim"), "  ", registrations.became(registration))


def group_of(packet: PacketOutcome) -> Group:
    """What a packet that was dropped has in common with others of its flow."""
    return _flow(packet.packet), _where(packet), _end(packet)


def drops(groups: Counter[Group]) -> Iterator[Text]:
    """What was dropped or rejected, by flow and by who did it, the most frequent first."""
    for (flow, where, end), count in groups.most_common():
        yield Text.assemble((f"{count:>5} ", "bold"), f" {flow}  ", (where, "cyan"), "  ", (end, "red"))


def _flow(summary: str) -> str:
    """Without the source port and the length, which differ from packet to packet of a kind."""
    return _SOURCE_PORT.sub(r"\1 > ", _LENGTH.sub("", summary))


def _where(packet: PacketOutcome) -> str:
    found = responsible(packet)
    traversal = found[0] if found else packet.traversals[-1] if packet.traversals else None
    return f"{traversal.netns} {describe.point(traversal)}" if traversal else ""


def _end(packet: PacketOutcome) -> str:
    """The packet's end, and who decided it: a hook by its chain and rule, else its function; the stack's reason."""
    found, reason = responsible(packet), packet.fate.reason
    if found and found[1].verdict.kind is VerdictKind.QUEUE and dropped(packet):
        return f"{describe.fate(packet.fate)}{_in_queue(packet, found[1].verdict.queue)}, given to it by {names(found[1])}"
    if found:
        return f"{describe.fate(packet.fate)} by {names(found[1])}"
    return f"{describe.fate(packet.fate)}: {reason}" if reason and dropped(packet) else describe.fate(packet.fate)


def _in_queue(packet: PacketOutcome, number: int) -> str:
    """Who dropped what a hook gave to a queue, as far as the records tell: a listener, the kernel, or nobody took it."""
    last = packet.traversals[-1]
    reason = packet.fate.reason or ""
    if last.answer is None:
        why = reason.removeprefix(_QUEUE).rpartition(", in ")[0]
        return f": queue {number} {why}" if reason.startswith(_QUEUE) else f" in queue {number}"
    if why := describe.for_no_listener(last):
        return f" in queue {number}: {why}"
    return f" by the listener of queue {number}" if last.answered_by else f" in queue {number}: answered {last.answer}"


def names(call: HookCall) -> str:
    """A hook by its chain, else its function; and the rule that decided."""
    told = describe.decided_by(call)
    return ", ".join(filter(None, (call.chain or describe.name(call), told)))


def folded(kinds: Counter[str]) -> str:
    """``12 neighbour solicitations, 3 multicast listener reports``."""
    return ", ".join(f"{count} {_plural(kind, count)}" for kind, count in kinds.most_common())


def _plural(kind: str, count: int) -> str:
    return kind if count == 1 else f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
