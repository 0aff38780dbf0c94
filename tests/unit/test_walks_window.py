"""What of a session that goes on is still needed, and what is not."""

from __future__ import annotations

from harness.outcome.types import NF_HOOK_SLOW
from harness.walks.events import Call, Came, End, Entry, Event, Exit, Gone, How, Loss, Turn
from harness.walks.lives import Numbers, grouped
from harness.walks.window import needed

SECOND = 10**9


def crossed(traversal: int, skb: int, time: int, *, ends: bool = True) -> list[Event]:
    entry = Entry(traversal, skb, time, 2, 1, 7, "", "", 0, 1, 0x0800, 28, bytes.fromhex("4500001c000000004011") + bytes(18), b"")
    over = [End(skb, How.CONSUMED, 0, 0, time + 3)] if ends else []
    return [entry, Call(traversal, 0, 5, 0, None, 0, 1, 9, time + 1), Exit(traversal, 1, time + 2), *over]


def window(events: list[Event], told: set[int]) -> tuple[list[Event], set[int]]:
    found = needed(events, grouped([event for event in events if not isinstance(event, Gone)], (NF_HOOK_SLOW,), Numbers()), told)
    return found.events, set(found.packets)


def test_what_was_told_and_is_long_over_is_forgotten() -> None:
    old, untold, young = crossed(1, 0xA, 0), crossed(2, 0xB, SECOND), crossed(3, 0xC, 20 * SECOND)
    assert window([*old, *untold, *young], {1, 3}) == ([*untold, *young], {2, 3})


def test_what_has_not_come_to_its_end_is_kept_with_all_its_events() -> None:
    waits = [*crossed(1, 0xA, 0, ends=False), Turn(0xA, Came.LOCAL, 9)]
    assert window([*waits, *crossed(2, 0xB, 20 * SECOND)], set()) == ([*waits, *crossed(2, 0xB, 20 * SECOND)], {1, 2})


def test_what_another_packet_is_an_answer_to_is_kept() -> None:
    asked, copied = crossed(1, 0xA, 0), Turn(0xA, Came.DUPLICATED, 2, 0xD)
    asked[2:2] = [copied]
    events = [*asked, *crossed(2, 0xD, 10, ends=False), *crossed(3, 0xC, 20 * SECOND)]
    assert window(events, {1, 3})[1] == {1, 2, 3}


def test_when_a_namespace_went_is_not_forgotten() -> None:
    assert window([Gone(7, 1), *crossed(1, 0xA, 20 * SECOND)], {1})[0][0] == Gone(7, 1)


def test_losses_are_kept_and_those_that_follow_each_other_become_one() -> None:
    losses = [Loss(0, 5, 3), Loss(5, 8, 4), Loss(9, 10, 1)]
    found, _ = window([*losses, *crossed(1, 0xA, 20 * SECOND)], {1})
    assert found[:2] == [Loss(0, 8, 7), Loss(9, 10, 1)]
    assert found[2:] == crossed(1, 0xA, 20 * SECOND)


def test_a_packet_keeps_its_number_when_others_are_forgotten() -> None:
    numbers = Numbers()
    first, second, third = crossed(1, 0xA, 0), crossed(2, 0xB, 10), crossed(3, 0xC, 20)
    assert [packet.number for packet in grouped([*first, *second], (NF_HOOK_SLOW,), numbers)] == [1, 2]
    numbers.keep({2})
    assert [packet.number for packet in grouped([*second, *third], (NF_HOOK_SLOW,), numbers)] == [2, 3]
