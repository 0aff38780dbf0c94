"""A session that ``trace --json`` wrote, read again for ``--read``.

One that was followed is read a line at a time, twice: what is held does not grow with its length, but for eight bytes a line. Of one that
was cut short or is damaged the lines that are whole are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from harness.backends.observer import Complaints
from harness.cli.sessions import VERSION, Seen, tail
from harness.errors import UserError
from harness.outcome import codec
from harness.outcome.typed import checked
from harness.outcome.types import Outcome, PacketOutcome, Registration
from harness.printable import printable_line
from harness.walks.owners import Owners
from harness.walks.session_lines import Lines, looked_through, seen
from harness.walks.short import busy
from harness.walks.totals import Totals

__all__ = ("KeptPackets", "Recorded")

_HINT = "name a file that trace --json wrote"
_CUT_SHORT = "the recording was cut short"
#: Lines that are looked at together.
_BATCH = 500
#: What no line of JSON is.
_BROKEN = object()


class Recorded:
    """A session in a file.

    :raises UserError: it is none, or cannot be read
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            first, self._in_lines = _first(path)
            lines = looked_through(self._lines()) if self._in_lines else None
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{path}: {error}", hint=_HINT) from None
        if (version := first["trace"]) != VERSION:
            raise UserError(f"{path}: a session of version {version}, and this nfharness reads version {VERSION}", hint=_HINT)
        self._document = first
        self._doubled: Set[int] = frozenset()
        if lines:
            self._doubled = lines.doubled
            self._document = _joined(first, lines)

    def batches(self) -> Iterator[Outcome]:
        """The packets and registrations in the order in which they were written, some at a time."""
        if not self._in_lines:
            with self._as_written():
                yield self._outcome(self._document["packets"], self._document.get("registrations", ()))
            return
        lines = seen(self._lines(), self._doubled)
        while batch := list(islice(lines, _BATCH)):
            with self._as_written():
                registrations = [line for line in batch if "registration" in line]
                yield self._outcome([line for line in batch if line not in registrations], registrations)

    @property
    def is_whole(self) -> bool:
        """Whether it has all the session's packets: no filter chose those that were written."""
        return self._document.get("filter") is None

    def of_all(self) -> Outcome:
        """What is said of all packets, and none of them."""
        with self._as_written():
            return self._outcome((), ())

    def whole(self) -> Seen:
        """The session with all its packets."""
        kept = KeptPackets()
        for batch in self.batches():
            kept.take(batch, batch)
        return kept.session(self)

    def seen(self, observed: Outcome, shown: Outcome) -> Seen:
        """The session with some of its packets.

        :param shown: those that the filter lets through
        """
        document = self._document
        with self._as_written():
            complaints = Complaints(tuple(document["splats"]), document["taint"], tuple(document["log"]), document["unnamed"],
                                    document["undecided"], document.get("unregistered"), document.get("uncounted"))
            facts, argv, status = _command(document)
            return Seen(facts, argv, status, observed, shown, checked(complaints))

    def _outcome(self, packets: Any, registrations: Any) -> Outcome:
        document = {**self._document, **_one_line({"packets": packets, "registrations": registrations}), "steps": (), "log": ()}
        return checked(codec.from_json(document))

    def _lines(self) -> Iterator[str]:
        """The lines behind the head."""
        with self._path.open() as file:
            next(file)
            yield from file

    @contextmanager
    def _as_written(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise UserError(f"{self._path}: not as trace --json writes it: {error!r}", hint=_HINT) from None


class KeptPackets:
    """Packets of a session that is read: all, or those that are to be printed, and counts of the others.

    :param wants: whether a packet is to be printed; ``None``: all are kept
    :param limit: packets at most, 0 for all
    :param slowest: the slowest alone, so many
    :param summary: the owners of hooks are counted, and no packet is printed
    """

    def __init__(self, wants: Callable[[PacketOutcome], bool] | None = None, *, limit: int = 0, slowest: int | None = None,
                 summary: bool = False) -> None:
        self._wants, self._limit, self._slowest, self._summary, self._more = wants, limit, slowest, summary, 0
        self._packets: list[PacketOutcome] = []
        self._registrations: list[Registration] = []
        self._chosen: set[int] = set()
        self._earlier = Totals(owners=Owners() if summary else None)

    def take(self, batch: Outcome, shown: Outcome) -> None:
        """Take notice of some packets.

        :param shown: those of them that the filter lets through
        """
        chosen = {packet.number for packet in shown.packets}
        self._registrations += batch.registrations
        for packet in batch.packets:
            wanted = packet.number in chosen and self._wants is not None and self._wants(packet)
            if self._wants is None or (wanted and self._has_room()):
                self._packets.append(packet)
                self._chosen |= {packet.number} & chosen
            else:
                self._more += wanted and not self._summary
                self._earlier.add(packet, batch.blind, chosen=packet.number in chosen)
        if self._slowest:
            self._keep_slowest(self._slowest, batch.blind)

    def session(self, recorded: Recorded) -> Seen:
        """The session, with the packets that were kept."""
        observed = replace(recorded.of_all(), packets=tuple(self._packets), registrations=tuple(self._registrations))
        shown = replace(observed, packets=tuple(packet for packet in self._packets if packet.number in self._chosen))
        return replace(recorded.seen(observed, shown), earlier=self._earlier, more=self._more)

    def _has_room(self) -> bool:
        return not self._summary and (not self._limit or bool(self._slowest) or len(self._packets) < self._limit)

    def _keep_slowest(self, count: int, blind: Sequence[tuple[str, str]]) -> None:
        slowest = sorted(self._packets, key=busy, reverse=True)
        self._packets = sorted(slowest[:count], key=lambda packet: packet.number)
        for packet in slowest[count:]:
            self._earlier.add(packet, blind, chosen=True)


def _one_line(told: Any) -> Any:
    """What is told of packets, each text as one line: no packet's may look like a line of ours."""
    if isinstance(told, str):
        return printable_line(told)
    if isinstance(told, dict):
        return {key: _one_line(one) for key, one in told.items()}
    return list(map(_one_line, told)) if isinstance(told, (list, tuple)) else told


def _first(path: Path) -> tuple[dict[str, Any], bool]:
    """The first line, or the whole session where that is one object; and whether others follow it.

    :raises ValueError: it is neither
    """
    with path.open() as file:
        line = file.readline()
        found = _parsed(line)
        in_lines = isinstance(found, dict) and "packets" not in found
        if found is _BROKEN:
            found = _parsed(line + file.read())
    if not isinstance(found, dict) or "trace" not in found:
        raise ValueError("no session")
    return found, in_lines


def _joined(head: dict[str, Any], lines: Lines) -> dict[str, Any]:
    """Head and tail of a session in lines; one that was cut short or damaged has a doubt."""
    cut = Seen({}, (), None, Outcome(doubts=(_CUT_SHORT,)), Outcome(), Complaints())
    whole = {**tail(cut), **head} if lines.tail is None else {**head, **lines.tail}
    if lines.damage:
        whole["doubts"] = [f"recording damaged: {lines.damage}", *whole["doubts"]]
    return whole


def _parsed(text: str) -> Any:
    """What a text of JSON says; :data:`_BROKEN` if it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return _BROKEN


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
