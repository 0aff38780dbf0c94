"""Several captures as one: packets are numbered on, and times are those since the first began."""

from __future__ import annotations

from harness.outcome.fate import Fate
from harness.outcome.types import Outcome, PacketOutcome, Relation
from harness.walks.joined import joined
from tests.unit.test_walks_changes import ipv4
from tests.unit.test_walks_pcapng import point


def capture(began: int | None, *times: int, doubts: tuple[str, ...] = ()) -> Outcome:
    packets = tuple(PacketOutcome("UDP", None, Fate("delivered"), (point(0, ipv4(), time),), number=number,
                                  relation=Relation("answer to", number - 1) if number > 1 else None)
                    for number, time in enumerate(times, 1))
    return Outcome(packets=packets, began=began, doubts=doubts, lost_events=len(doubts))


def test_packets_are_numbered_on_and_timed_from_the_first() -> None:
    found = joined([capture(None), capture(1000, 0, 5), capture(None), capture(3000, 0, 7)])
    assert found.began == 1000
    assert [packet.number for packet in found.packets] == [1, 2, 3, 4]
    assert [packet.traversals[0].time for packet in found.packets] == [0, 5, 2000, 2007]
    assert [packet.relation and packet.relation.packet for packet in found.packets] == [None, 1, None, 3]


def test_what_one_doubts_all_doubt() -> None:
    found = joined([capture(0, 1, doubts=("lost",)), capture(9, 1, doubts=("lost", "blind"))])
    assert (found.doubts, found.lost_events) == (("lost", "blind"), 3)
    assert joined([]) == Outcome()
