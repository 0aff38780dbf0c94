"""Looking for the shortest scenario that differs in a certain way: what Hypothesis and delta debugging ask, a kernel answers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import CancelledError

from harness.conformance.judge import Judgement
from harness.errors import NfharnessError
from harness.explore.engine import Different, Oracle
from harness.explore.minimise import minimised
from harness.outcome.diff import Difference
from harness.outcome.kind import kind
from harness.scenario.steps import Scenario

__all__ = ("Ask", "Search")

_SECONDS = 120.0

Ask = Callable[[Scenario], Awaitable[Judgement]]
"""Runs a scenario on a kernel."""


class _Stopped(BaseException):
    """Ends Hypothesis where nobody waits for it any more: an ``Exception`` it would take for what the scenario did."""


class Search:
    """One difference, and ever smaller scenarios that show it.

    :param judgement: of the scenario that is known to differ; without, the first that does is meant
    :param passed: scenarios that are known not to differ
    :param about: the difference that is meant, of several; the first by default
    :ivar first: the scenario that was found first; :ivar smallest: of the last that differed in the same way, which is the smallest
    """

    def __init__(self, ask: Ask, judgement: Judgement | None = None, passed: Iterable[Scenario] = (), *,
                 about: Difference | None = None) -> None:
        self._ask = ask
        self._known: dict[Scenario, Judgement | None] = dict.fromkeys(passed)
        self._kind = ""
        self._error: NfharnessError | None = None
        self._stop = threading.Event()
        self.first: Scenario | None = None
        self.smallest: Judgement | None = None
        if judgement is not None:
            self._begin_with(judgement, about)

    def _begin_with(self, judgement: Judgement, about: Difference | None = None) -> None:
        self.first, self.smallest = judgement.script.scenario, judgement
        self._kind = kind(about or judgement.comparison.differences[0])
        self._known[self.first] = judgement

    async def by_hypothesis(self, search: Callable[[Oracle], None]) -> None:
        """Let Hypothesis ask, which waits for each answer: in a thread.

        :param search: calls an oracle as long as it likes
        :raises NfharnessError: a guest could not answer, and nothing that differs is known
        """
        loop, deadline = asyncio.get_running_loop(), time.monotonic() + _SECONDS

        def oracle(scenario: Scenario) -> None:
            if self._stop.is_set() or time.monotonic() > deadline:
                raise _Stopped
            if scenario not in self._known:
                self._known[scenario] = self._answer(scenario, loop)
            if (judgement := self._known[scenario]) is not None:
                self.smallest = judgement
                raise Different

        def searched() -> None:
            with contextlib.suppress(_Stopped):
                search(oracle)

        try:
            await asyncio.to_thread(searched)
        finally:
            self._stop.set()
        if self._error is not None and self.smallest is None:
            raise self._error

    async def by_leaving_out(self) -> None:
        """Make the smallest smaller: what Hypothesis cannot, which must draw it, or of a scenario that it has not drawn."""
        deadline = time.monotonic() + _SECONDS

        async def differs(scenario: Scenario) -> bool:
            if scenario not in self._known and time.monotonic() < deadline:
                self._known[scenario] = await self._differing(scenario)
            self.smallest = self._known.get(scenario) or self.smallest
            return self._known.get(scenario) is not None

        if self.smallest is not None:
            await minimised(self.smallest.script.scenario, differs)

    def _answer(self, scenario: Scenario, loop: asyncio.AbstractEventLoop) -> Judgement | None:
        """The judgement of a scenario that differs in the way that is meant."""
        async def unless_stopped() -> Judgement | None:
            if self._stop.is_set():
                raise asyncio.CancelledError
            return await self._differing(scenario)

        try:
            return asyncio.run_coroutine_threadsafe(unless_stopped(), loop).result()
        except NfharnessError as error:
            self._error = error
            raise _Stopped from None
        except CancelledError:
            raise _Stopped from None

    async def _differing(self, scenario: Scenario) -> Judgement | None:
        judgement = await self._ask(scenario)
        if judgement.comparison.verdict != "different":
            return None
        if self.first is None:
            self._begin_with(judgement)
        return judgement if self._kind in map(kind, judgement.comparison.differences) else None
