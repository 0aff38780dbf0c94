"""Shrinking on guests some of which are harmed: what counts is what a fresh one does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from harness.errors import KernelDied
from harness.explore import search
from harness.explore.guests import Behaviour
from harness.explore.search import Search
from harness.netfilter import Family
from harness.scenario import Scenario
from harness.scenario.steps.hooks import Dump, Register
from harness.scenario.steps.packets import Send
from harness.scenario.topology import PAIR

MEANT, OTHER = Register("meant", "host", Family.IPV4, "INPUT"), Register("other", "host", Family.IPV6, "INPUT")
LONG = Scenario("long", "", PAIR, (
    Dump("peer", Family.IPV4, "OUTPUT"), OTHER, Send("peer", "host", 1), MEANT, Dump("host", Family.IPV4, "INPUT"),
    Send("peer", "host", 2),
))


class Kernel:
    """Guests of a kernel that dies of some scenarios.

    :param dies: of a scenario, on a fresh guest
    :param used: on one that was used before
    :ivar asked: of fresh guests
    """

    def __init__(self, dies: Callable[[Scenario], bool], used: Callable[[Scenario], bool]) -> None:
        self._dies, self._used = dies, used
        self.asked: list[tuple[Scenario, ...]] = []

    async def fresh(self, scenarios: Sequence[Scenario]) -> Behaviour:
        self.asked.append(tuple(scenarios))
        return _seen(scenarios[-1], dead=self._dies(scenarios[-1]))

    async def used(self, scenario: Scenario) -> Behaviour:
        return _seen(scenario, dead=self._used(scenario))


def _seen(scenario: Scenario, *, dead: bool) -> Behaviour:
    return Behaviour(scenario, None, KernelDied("Kernel panic") if dead else None)


def has_meant(scenario: Scenario) -> bool:
    return MEANT in scenario.steps


@pytest.mark.parametrize("used", [
    has_meant, lambda _scenario: True, lambda _scenario: False, lambda scenario: OTHER in scenario.steps,
    lambda scenario: len(scenario.steps) > 1,
], ids=["right", "always differs", "never differs", "differs in another way", "differs while it is long"])
def test_the_steps_that_are_left_count_on_a_fresh_guest_whatever_used_ones_say(used: Callable[[Scenario], bool]) -> None:
    kernel = Kernel(has_meant, used)
    shortest = asyncio.run(Search(kernel).run(LONG))
    assert shortest is not None
    assert (shortest.seen.scenario.steps, shortest.whole, shortest.before) == ((MEANT,), True, ())


def test_fresh_guests_are_few_where_used_ones_are_right() -> None:
    kernel = Kernel(has_meant, has_meant)
    asyncio.run(Search(kernel).run(LONG))
    assert len(kernel.asked) <= 3, "the scenario, the shortest, and that without its step"


def test_what_a_fresh_guest_does_not_show_is_nothing() -> None:
    kernel = Kernel(lambda _scenario: False, lambda _scenario: True)
    assert asyncio.run(Search(kernel).run(LONG, [LONG] * 5)) is None
    assert [len(scenarios) for scenarios in kernel.asked] == [1, 2, 3, 5, 6]


def test_a_search_that_is_cut_short_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_SECONDS", 0.0)
    shortest = asyncio.run(Search(Kernel(has_meant, has_meant)).run(LONG))
    assert shortest is not None
    assert (shortest.seen.scenario, shortest.whole) == (LONG, False)
