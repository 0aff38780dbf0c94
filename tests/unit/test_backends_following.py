"""A packet of a session that is followed is shown once, while it goes on or at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from typing import Any, cast

import pytest

from harness.backends import following
from harness.backends.observer import Complaints
from harness.cli.sessions import Seen, conclusion, remarks
from harness.netfilter import Family
from harness.outcome.fate import Fate
from harness.outcome.types import Outcome, PacketOutcome, Registration, Slot

PACKETS = tuple(PacketOutcome(f"packet {number}", None, Fate("delivered"), (), number=number) for number in (1, 2))


class Settled:
    """An observation in which one packet more has come to its end each time."""

    def __init__(self) -> None:
        self._times = 0

    def settled(self, but: Collection[int]) -> Outcome:
        self._times += 1
        return Outcome(packets=tuple(packet for packet in PACKETS[:self._times] if packet.number not in but))


async def followed(choose: Any, enough: int = 99, until: Any = None) -> tuple[list[int], set[int]]:
    shown: list[int] = []
    told = following.Told()

    async def show() -> None:
        async for settled in following.following(cast(Any, Settled()), choose, told, until):
            shown.extend(packet.number for packet in settled.packets)
            if len(shown) >= enough:
                break

    task = asyncio.create_task(show())
    await asyncio.wait({task}, timeout=0.3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return shown, set(told.seen()["told"])


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PAUSE_S", 0.01)


def test_each_packet_is_shown_once() -> None:
    async def all_of_them(outcome: Outcome) -> Outcome:
        return outcome

    assert asyncio.run(followed(all_of_them)) == ([1, 2], {1, 2})


def test_it_ends_with_enough_packets() -> None:
    async def all_of_them(outcome: Outcome) -> Outcome:
        return outcome

    assert asyncio.run(followed(all_of_them, enough=1)) == ([1], {1})


@pytest.mark.parametrize(("last", "shown"), [(1, [1]), (2, [1, 2])])
def test_it_ends_with_a_packet_whether_that_is_shown_or_not(last: int, shown: list[int]) -> None:
    async def all_of_them(outcome: Outcome) -> Outcome:
        return outcome

    async def none_of_them(_outcome: Outcome) -> Outcome:
        return Outcome()

    async def until(outcome: Outcome) -> Outcome:
        return Outcome(packets=tuple(packet for packet in outcome.packets if packet.number == last))

    assert asyncio.run(followed(all_of_them, until=until)) == (shown, set(shown))
    assert asyncio.run(followed(none_of_them, until=until)) == ([], set(shown))


def test_what_a_filter_does_not_want_is_not_asked_for_again() -> None:
    async def none_of_them(_outcome: Outcome) -> Outcome:
        return Outcome()

    assert asyncio.run(followed(none_of_them)) == ([], {1, 2})


def test_what_was_being_looked_at_when_the_session_ended_is_left_for_its_end() -> None:
    async def never(_outcome: Outcome) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    assert asyncio.run(followed(never)) == ([], set())


class Registers:
    """An observation in which one registration more is seen each time, and no packet."""

    def __init__(self) -> None:
        self._times = 0

    def settled(self, _but: Collection[int]) -> Outcome:
        self._times += 1
        hook = Slot(0, "nft_do_chain_inet", "nf_tables", 0)
        made = Registration(1, "registered", 0, Family.IPV4, 2, "router", "", hook, 0, "nft", 41, (), 3, 1, (), (hook,), 0, 1)
        return Outcome(registrations=tuple(replace(made, number=number) for number in range(1, 1 + min(3, self._times))))


def test_each_registration_is_shown_once() -> None:
    async def all_of_them(outcome: Outcome) -> Outcome:
        return outcome

    told, shown = following.Told(), list[int]()

    async def show() -> None:
        async for settled in following.following(cast(Any, Registers()), all_of_them, told):
            shown.extend(registration.number for registration in settled.registrations)
            if len(shown) == 3:
                break

    asyncio.run(show())
    assert (shown, told.seen()["registered"]) == ([1, 2, 3], 3)


class Floods(Settled):
    """One whose packets are forgotten as soon as they are told, but for the last."""

    blind = ()

    def forget(self, told: Collection[int]) -> frozenset[int]:
        return frozenset(list(told)[-1:])


def test_packets_that_are_forgotten_are_still_counted() -> None:
    told = following.Told(lean=True)
    told.note(PACKETS, PACKETS[:1], cast(Any, Floods()))
    told.forget(cast(Any, Floods()))
    rest = Outcome(packets=(replace(PACKETS[0], number=3),))
    session = Seen({}, (), 0, rest, rest, Complaints(), **told.seen())
    assert (told.done, session.told, session.totals.packets, session.totals.chosen) == ({2}, frozenset({2}), 3, 2)
    assert conclusion(session) == "traced: 3 packets, 0 hook calls"
    assert remarks(session)[0] == "… and 1 packet that the filter does not want"


def test_without_leave_nothing_is_forgotten() -> None:
    told = following.Told()
    told.note(PACKETS, PACKETS, cast(Any, Floods()))
    told.forget(cast(Any, Floods()))
    assert (told.done, told.seen()["told"], told.seen()["earlier"].packets) == (set(), {1, 2}, 0)
