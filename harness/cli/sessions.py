"""What ``trace`` has seen, and the form in which ``--json`` writes it.

A session is one JSON object. One that is followed is JSON Lines (:mod:`harness.walks.session_lines`): a head with kernel and command, a
line for each packet and each registration of a hook, and a tail with all the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from harness.backends.observer import Complaints
from harness.errors import EmulatorFailed, KernelDied
from harness.model.observed import Departure
from harness.outcome import codec
from harness.outcome.types import Outcome, PacketOutcome, Registration
from harness.walks.filter import Filter
from harness.walks.names import Name
from harness.walks.session_lines import HEAD
from harness.walks.totals import Totals

__all__ = ("VERSION", "Obeyed", "Seen", "conclusion", "counted", "head", "line", "obedience", "remarks", "report", "tail")

VERSION = 2
_NOTHING = "no hook point that has a hook was crossed: load a ruleset in COMMAND, for example with nft -f"
#: What an outcome says of all its packets.
_OF_ALL = ("lost_events", "doubts", "blind", "began", "rulesets")
#: How many traversals were held against core.c, and those that departed.
Obeyed = tuple[int, tuple[Departure, ...]]


@dataclass(frozen=True)
class Seen:
    """What a session has seen.

    :param facts: about the kernel
    :param argv: the command that was watched
    :param status: its exit status, ``None`` if it has none
    :param observed: all packets
    :param shown: those that the filter lets through
    :param told: numbers of those that were printed while the session went on
    :param registered: how many registrations were printed then
    :param last: the number of the last line that was printed then, as JSON Lines
    :param earlier: what is to be said of packets that are in neither outcome: they were printed then, or are not to be printed
    :param more: how many of those only ``--limit`` keeps from being printed
    :param died: how the guest ended, if not at our word
    :param sought: the names that the filters have
    """

    facts: dict[str, Any]
    argv: Sequence[str]
    status: int | None
    observed: Outcome
    shown: Outcome
    complaints: Complaints
    died: KernelDied | EmulatorFailed | None = None
    told: frozenset[int] = frozenset()
    registered: int = 0
    last: int = HEAD
    earlier: Totals = field(default_factory=Totals)
    more: int = 0
    sought: tuple[Name, ...] = ()

    @cached_property
    def totals(self) -> Totals:
        """The totals of all packets: of those that *earlier* counts, and of those in *observed*."""
        found, chosen = deepcopy(self.earlier), {packet.number for packet in self.shown.packets}
        for packet in self.observed.packets:
            found.add(packet, self.observed.blind, chosen=packet.number in chosen)
        return found

    @property
    def absent(self) -> tuple[str, ...]:
        """A sentence for each name that the filters have and no packet met; none where no packet was seen at all."""
        return self.totals.names.absent(self.sought) if self.totals.packets else ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why what was seen may not be all there was."""
        observed = self.observed
        lost = (f"{counted(observed.lost_events, 'event')} lost",) if observed.lost_events and not observed.doubts else ()
        return (*observed.doubts, *lost, *self.totals.unseen)


def report(session: Seen, wanted: Filter | None = None, obeyed: Obeyed | None = None) -> dict[str, Any]:
    """The object that ``trace --json`` prints."""
    document = codec.to_json(session.shown)
    shown: dict[str, Any] = {key: document[key] for key in ("packets", "registrations") if key in document}
    return {**head(session.facts, session.argv, wanted), **shown, **tail(session, obeyed)}


def head(facts: dict[str, Any], argv: Sequence[str], wanted: Filter | None) -> dict[str, Any]:
    """What is known before anything is seen.

    :param wanted: the filter that chooses the packets
    """
    return {"trace": VERSION, "kernel": facts, "command": list(argv), "filter": wanted and wanted.text}


def line(one: PacketOutcome | Registration) -> dict[str, Any]:
    """A packet, or a registration of a hook."""
    if isinstance(one, Registration):
        return codec.registration_json(one)
    found: dict[str, Any] = codec.to_json(Outcome(packets=(one,)))["packets"][0]
    return found


def tail(session: Seen, obeyed: Obeyed | None = None) -> dict[str, Any]:
    """What is known when all is over, but for the packets."""
    document = codec.to_json(replace(session.observed, packets=()))
    verdict = "inconclusive" if session.reasons else "traced"
    death: dict[str, Any] = {"died": session.died.message} if session.died else {}
    if isinstance(session.died, KernelDied):
        death["console"] = session.died.console_tail.splitlines()
    absent = {"absent": list(session.absent)} if session.absent else {}
    core = {"core": {"compared": obeyed[0], "departures": list(map(str, obeyed[1]))}} if obeyed else {}
    return {"exit_status": session.status, "verdict": verdict, **{key: document[key] for key in _OF_ALL if key in document},
            **asdict(session.complaints), **absent, **death, **core}


def conclusion(session: Seen) -> str:
    """The last line; the first one too, where something is to be known before the walks are read."""
    complaints, totals = session.complaints, session.totals
    complained = [f"the kernel complained: {splat}" for splat in complaints.splats]
    complained += [f"it is tainted now: {complaints.taint}"] if complaints.taint else []
    complained += [f"registrations of hooks are not seen on this kernel: {complaints.unregistered}"] if complaints.unregistered else []
    if doubts := session.reasons:
        return f"inconclusive: {'; '.join((*doubts, *complained))}"
    seen = f"traced: {counted(totals.packets, 'packet')}, {counted(totals.calls, 'hook call')}"
    seen += f", {counted(registered, 'registration')}" if (registered := len(session.observed.registrations)) else ""
    return "; ".join((seen, *complained))


def remarks(session: Seen) -> tuple[str, ...]:
    """What a reader of the walks is to know of them besides the conclusion: what the filter left out, and what is not seen."""
    observed, complaints = session.observed, session.complaints
    totals = session.totals
    left_out = totals.packets - totals.chosen
    filtered = (f"… and {counted(left_out, 'packet')} that the filter does not want",) if left_out else ()
    nothing = () if totals.packets else (_NOTHING,)
    blind = (f"hooks that {loop} calls are not seen: {why}" for loop, why in observed.blind)
    unnamed = complaints.unnamed and f"base chains of nftables' go by their functions' names: {complaints.unnamed}"
    undecided = complaints.undecided and f"which rule of nftables' decided is not seen: {complaints.undecided}"
    uncounted = complaints.uncounted and f"which rule of an xtables table decided is not seen: {complaints.uncounted}"
    return (*filtered, *session.absent, *nothing, *blind, *filter(None, (unnamed or undecided, uncounted)))


def obedience(obeyed: Obeyed) -> str:
    """``9 traversals obeyed core.c, none did not``."""
    count, departed = obeyed
    return f"{counted(count - len(departed), 'traversal')} obeyed core.c, {len(departed) or 'none'} did not"


def counted(number: int, what: str) -> str:
    """``1 packet``, ``2 packets``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
