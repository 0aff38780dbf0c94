"""What ``trace`` has seen, and the form in which ``--json`` writes it and ``--read`` reads it.

A session is one JSON object. One that is followed is JSON Lines (:mod:`harness.cli.session_lines`): a head with kernel and command, a
line for each packet and each registration of a hook, and a tail with all the rest; of one that was cut short, the lines that are whole can
be read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.backends.observer import Complaints
from harness.cli.session_lines import HEAD, parted
from harness.errors import KernelDied, UserError
from harness.model.observed import Departure
from harness.outcome import codec
from harness.outcome.typed import checked
from harness.outcome.types import Outcome, PacketOutcome, Registration
from harness.walks.filter import Filter
from harness.walks.totals import Totals

__all__ = ("Obeyed", "Seen", "conclusion", "counted", "head", "line", "obedience", "read", "remarks", "report", "tail")

_VERSION = 2
_NOTHING = "no hook point that has a hook was crossed: load a ruleset in COMMAND, for example with nft -f"
_HINT = "name a file that trace --json wrote"
#: What an outcome says of all its packets.
_OF_ALL = ("lost_events", "doubts", "blind", "began", "rulesets")
_CUT_SHORT = "the recording was cut short"
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
    :param earlier: what is to be said of packets that were printed then and are in neither outcome any more
    :param died: how the kernel did
    """

    facts: dict[str, Any]
    argv: Sequence[str]
    status: int | None
    observed: Outcome
    shown: Outcome
    complaints: Complaints
    died: KernelDied | None = None
    told: frozenset[int] = frozenset()
    registered: int = 0
    last: int = HEAD
    earlier: Totals = field(default_factory=Totals)

    @cached_property
    def totals(self) -> Totals:
        """The totals of all packets: of those that *earlier* counts, and of those in *observed*."""
        earlier, chosen = self.earlier, {packet.number for packet in self.shown.packets}
        found = replace(earlier, noise=Counter(earlier.noise), drops=Counter(earlier.drops))
        for packet in self.observed.packets:
            found.add(packet, self.observed.blind, chosen=packet.number in chosen)
        return found

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
    return {"trace": _VERSION, "kernel": facts, "command": list(argv), "filter": wanted and wanted.text}


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
    death = {"died": session.died.message, "console": session.died.console_tail.splitlines()} if session.died else {}
    core = {"core": {"compared": obeyed[0], "departures": list(map(str, obeyed[1]))}} if obeyed else {}
    return {"exit_status": session.status, "verdict": verdict, **{key: document[key] for key in _OF_ALL if key in document},
            **asdict(session.complaints), **death, **core}


def read(path: Path) -> Seen:
    """A session that was written.

    :raises UserError: it is none, or cannot be read
    """
    try:
        document = _document(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: {error}", hint=_HINT) from None
    if (version := document["trace"]) != _VERSION:
        raise UserError(f"{path}: a session of version {version}, and this nfharness reads version {_VERSION}", hint=_HINT)
    try:
        observed = checked(codec.from_json({**document, "steps": (), "log": ()}))
        complaints = Complaints(tuple(document["splats"]), document["taint"], tuple(document["log"]), document["unnamed"],
                                document["undecided"], document.get("unregistered"))
        facts, argv, status = _command(document)
        return Seen(facts, argv, status, observed, observed, checked(complaints))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path}: not as trace --json writes it: {error!r}", hint=_HINT) from None


def _command(document: dict[str, Any]) -> tuple[dict[str, Any], list[str], int | None]:
    """What was known before anything was seen, and the exit status.

    :raises ValueError: it is of other kinds
    """
    facts, argv, status = document["kernel"], document["command"], document["exit_status"]
    if not isinstance(facts, dict) or not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
        raise ValueError("kernel or command")
    if status is not None and (not isinstance(status, int) or isinstance(status, bool) or not 0 <= status <= 0xFF):
        raise ValueError(f"exit_status: {status!r}")
    return facts, argv, status


def _document(text: str) -> dict[str, Any]:
    """The object that a session is, or that its lines make.

    :raises ValueError: it is neither
    """
    try:
        whole = json.loads(text)
    except ValueError:
        whole = _of_lines(text.splitlines())
    if not isinstance(whole, dict) or "trace" not in whole:
        raise ValueError("no session")
    return whole if "packets" in whole or whole["trace"] != _VERSION else _of_lines([text])


def _of_lines(lines: Sequence[str]) -> dict[str, Any]:
    """What was written of a session; one that was cut short or damaged has a doubt.

    :raises ValueError: it is none
    """
    parts = parted(lines)
    registrations = [each for each in parts.seen if "registration" in each]
    seen = {"packets": [each for each in parts.seen if each not in registrations], "registrations": registrations}
    cut = Seen({}, (), None, Outcome(doubts=(_CUT_SHORT,)), Outcome(), Complaints())
    whole = {**tail(cut), **parts.head, **seen} if parts.tail is None else {**parts.head, **seen, **parts.tail}
    if parts.damage:
        whole["doubts"] = [f"recording damaged: {parts.damage}", *whole["doubts"]]
    return whole


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
    return (*filtered, *nothing, *blind, *filter(None, (unnamed or undecided,)))


def obedience(obeyed: Obeyed) -> str:
    """``9 traversals obeyed core.c, none did not``."""
    count, departed = obeyed
    return f"{counted(count - len(departed), 'traversal')} obeyed core.c, {len(departed) or 'none'} did not"


def counted(number: int, what: str) -> str:
    """``1 packet``, ``2 packets``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
