"""What is said in the end of all packets of a session, of those as well that were told while it went on and are not kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.outcome.types import PacketOutcome
from harness.outcome.unseen import unseen
from harness.walks.names import Names
from harness.walks.owners import Owners
from harness.walks.short import Group, dropped, group_of, is_noise

__all__ = ("Totals",)


@dataclass(slots=True)
class Totals:
    """Counts of packets.

    :ivar calls: of hooks
    :ivar names: that all packets met
    :ivar chosen: packets that the filter lets through; what follows is about them alone
    :ivar noise: those that nobody asks for, by kind and whether they were dropped
    :ivar drops: those that were dropped, by flow and by who did it, and whether they are such that nobody asks for
    :ivar owners: of their hooks, if anyone asks for them
    :ivar unseen: of all packets, why calls may be missing
    """

    packets: int = 0
    calls: int = 0
    chosen: int = 0
    noise: Counter[tuple[str, bool]] = field(default_factory=Counter)
    drops: Counter[tuple[Group, bool]] = field(default_factory=Counter)
    owners: Owners | None = None
    unseen: tuple[str, ...] = ()
    names: Names = field(default_factory=Names)

    def add(self, packet: PacketOutcome, blind: Iterable[tuple[str, str]], *, chosen: bool) -> None:
        """Count a packet.

        :param blind: loops that the tracer cannot see, each with the reason
        :param chosen: whether the filter lets it through
        """
        self.packets += 1
        self.names.add(packet)
        self.calls += sum(1 + len(call.calls) for traversal in packet.traversals for call in traversal.calls)
        self.unseen = tuple(dict.fromkeys((*self.unseen, *unseen((packet,), blind))))
        if chosen:
            self.chosen += 1
            if self.owners is not None:
                self.owners.add(packet)
            noise, gone = is_noise(packet), dropped(packet)
            self.noise[packet.kind, gone] += noise
            if gone:
                self.drops[group_of(packet), noise] += 1
