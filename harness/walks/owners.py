"""A session's hook calls by owner: how often, with which verdicts, how long they took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil

from rich.table import Table

from harness.outcome import describe
from harness.outcome.types import HookCall, PacketOutcome, Traversal

__all__ = ("Owner", "owners", "owners_table")


@dataclass(slots=True)
class Owner:
    """A hook function at one point, a base chain or table by its name.

    :param verdicts: kind → how often
    :param ns: what each call took, the probes' own time included
    """

    where: str
    name: str
    verdicts: Counter[str] = field(default_factory=Counter)
    ns: list[int] = field(default_factory=list)

    @property
    def calls(self) -> int:
        return self.verdicts.total()

    def percentile(self, percent: int) -> int | None:
        """The least time that so many of the calls took no longer than, ns; ``None`` if none is known."""
        return sorted(self.ns)[ceil(len(self.ns) * percent / 100) - 1] if self.ns else None


def owners(packets: Iterable[PacketOutcome]) -> Sequence[Owner]:
    """The owners whose hooks were called; the owner whose calls took the most time comes first."""
    found: dict[tuple[str, str], Owner] = {}
    for packet in packets:
        for traversal in packet.traversals:
            for call in (each for outer in traversal.calls for each in (*outer.calls, outer)):
                owner = _of(found, traversal, call)
                owner.verdicts[call.verdict.kind.name] += 1
                owner.ns += [] if call.ns is None else [call.ns]
    return sorted(found.values(), key=lambda owner: sum(owner.ns), reverse=True)


def _of(found: dict[tuple[str, str], Owner], traversal: Traversal, call: HookCall) -> Owner:
    where, name = f"{traversal.netns} {describe.point(traversal)}", call.chain or describe.name(call)
    return found.setdefault((where, name), Owner(where, name))


def owners_table(packets: Iterable[PacketOutcome]) -> Table:
    """A row for each owner."""
    table = Table("hook", "point", "calls", "verdicts", "p50", "p99", "in all", box=None, pad_edge=False, header_style="dim")
    for column in (2, 4, 5, 6):
        table.columns[column].justify = "right"
    for owner in owners(packets):
        verdicts = ", ".join(f"{kind} {count:,}" for kind, count in owner.verdicts.most_common())
        times = [owner.percentile(50), owner.percentile(99), sum(owner.ns) if owner.ns else None]
        table.add_row(owner.name, owner.where, f"{owner.calls:,}", verdicts, *("" if ns is None else describe.duration(ns) for ns in times))
    return table
