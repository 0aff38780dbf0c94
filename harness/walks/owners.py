"""A session's hook calls by owner: how often, with which verdicts, how long they took."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import ceil

from rich.table import Table

from harness.outcome import describe
from harness.outcome.types import HookCall, PacketOutcome, Traversal

__all__ = ("Owner", "Owners", "owners_table")


@dataclass(slots=True)
class Owner:
    """A hook function at one point, a base chain or table by its name.

    :param verdicts: kind → how often
    :param ns: what each call took, the probes' own time included
    """

    where: str
    name: str
    verdicts: Counter[str] = field(default_factory=Counter)
    ns: array[int] = field(default_factory=lambda: array("Q"))

    @property
    def calls(self) -> int:
        return self.verdicts.total()

    def percentile(self, percent: int) -> int | None:
        """The least time that so many of the calls took no longer than, ns; ``None`` if none is known."""
        return sorted(self.ns)[ceil(len(self.ns) * percent / 100) - 1] if self.ns else None


class Owners:
    """The owners whose hooks were called, counted a packet at a time: of a call eight bytes are kept."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Owner] = {}

    def __iter__(self) -> Iterator[Owner]:
        """Each owner; the one whose calls took the most time comes first."""
        return iter(sorted(self._found.values(), key=lambda owner: sum(owner.ns), reverse=True))

    def add(self, packet: PacketOutcome) -> None:
        """Count a packet's calls."""
        for traversal in packet.traversals:
            for call in (each for outer in traversal.calls for each in (*outer.calls, outer)):
                owner = self._of(traversal, call)
                owner.verdicts[call.verdict.kind.name] += 1
                if call.ns is not None:
                    owner.ns.append(call.ns)

    def _of(self, traversal: Traversal, call: HookCall) -> Owner:
        where, name = f"{traversal.netns} {describe.point(traversal)}", call.chain or describe.name(call)
        return self._found.setdefault((where, name), Owner(where, name))


def owners_table(owners: Iterable[Owner]) -> Table:
    """A row for each owner."""
    table = Table("hook", "point", "calls", "verdicts", "p50", "p99", "in all", box=None, pad_edge=False, header_style="dim")
    for column in (2, 4, 5, 6):
        table.columns[column].justify = "right"
    for owner in owners:
        verdicts = ", ".join(f"{kind} {count:,}" for kind, count in owner.verdicts.most_common())
        times = [owner.percentile(50), owner.percentile(99), sum(owner.ns) if owner.ns else None]
        table.add_row(owner.name, owner.where, f"{owner.calls:,}", verdicts, *("" if ns is None else describe.duration(ns) for ns in times))
    return table
