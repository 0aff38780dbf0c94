"""One kernel: its guests run what is drawn, until it differs, or the time or the steps are used up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from harness.conformance.bundle import save
from harness.conformance.judge import Judgement, judge
from harness.conformance.matrix import Target, conclusive, default_jobs
from harness.conformance.rule import Script
from harness.errors import GuestError, HostError, KernelDied, NfharnessError
from harness.explore.engine import BATCH, Plan, found_before, shrink
from harness.explore.search import Ask, Search
from harness.scenario.steps import Scenario, Send
from harness.vm.executor import Executor, started

__all__ = ("Finding", "Hunt", "Limits", "State", "explore")

State = Literal["conformant", "different", "inconclusive", "lost"]

_WINDOW = 3
"""Scenarios that are under way to a guest: while one's outcome is looked at, the next runs."""
_GUESTS = 4
"""Guests in a row that may fail before they are not asked any more."""


@dataclass(frozen=True, slots=True)
class Limits:
    """:param seconds: from when the first guest is asked for; :param steps: of all scenarios together. What comes first counts"""

    seconds: float | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A scenario on which kernel and model differ.

    :param judgement: of the shortest one; ``None`` for a kernel that died
    :param first: the scenario that was drawn
    :param bundle: ``None`` if it could not be written
    """

    scenario: Scenario
    first: Scenario
    judgement: Judgement | None
    bundle: Path | None


async def explore(targets: Sequence[Target], plan: Plan, limits: Limits, hunts: list[Hunt], *, jobs: int | None = None) -> None:
    """Explore kernels side by side.

    :param hunts: gets a hunt for each, in order
    :param jobs: guests side by side; what cores and memory allow by default
    :raises HostError: QEMU does not start
    """
    jobs = jobs or default_jobs(len(os.sched_getaffinity(0)))
    guests = max(1, jobs // len(targets))
    hunts += [Hunt(target, replace(plan, profile=target.profile), limits, guests) for target in targets]
    gate = asyncio.Semaphore(max(1, jobs // guests))

    async def run(hunt: Hunt) -> None:
        async with gate:
            await hunt.run()

    await asyncio.gather(*map(run, hunts))


@dataclass(frozen=True, slots=True)
class _Drawn:
    batch: int
    scenario: Scenario


@dataclass(slots=True)
class Hunt:
    """An exploration of one kernel, as far as it has come.

    :param guests: side by side
    :ivar doing: for a reader
    :ivar scenarios: that came to an end; :ivar steps: theirs; :ivar packets: those of the steps that send one
    :ivar inconclusive: scenarios of which nothing could be concluded; :ivar reasons: why, the last few, and why there is no bundle
    """

    target: Target
    plan: Plan
    limits: Limits
    guests: int = 1
    state: State = "conformant"
    doing: str = "waiting"
    scenarios: int = 0
    steps: int = 0
    packets: int = 0
    inconclusive: int = 0
    reasons: deque[str] = field(default_factory=lambda: deque(maxlen=3))
    finding: Finding | None = None
    seconds: float = 0.0
    _start: float = 0.0
    _asked: int = 0
    _batch: int = 0
    _pending: deque[_Drawn] = field(default_factory=deque)
    _next_batch: asyncio.Task[list[Scenario]] | None = None
    _drawing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _tried: asyncio.Event = field(default_factory=asyncio.Event)
    _passed: deque[Scenario] = field(default_factory=lambda: deque(maxlen=2 * BATCH))
    _over: bool = False

    @property
    def elapsed(self) -> float:
        """Seconds since it began; in all, if it is over."""
        return self.seconds or (time.monotonic() - self._start if self._start else 0.0)

    def rate(self, count: int) -> float:
        """So many, in a second."""
        return count / self.elapsed if self.elapsed else 0.0

    async def run(self) -> None:
        """Explore. What is found is in :attr:`state` and :attr:`finding`, also if this is cut short.

        :raises HostError: QEMU does not start
        """
        self._start, self.doing = time.monotonic(), "restoring guests"
        self._next_batch = asyncio.create_task(asyncio.to_thread(self.plan.batch, 0))
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self.guests):
                    group.create_task(self._work(number))
        except ExceptionGroup as group:
            raise next((error for error in group.exceptions if isinstance(error, NfharnessError)), group) from None
        finally:
            self._next_batch.cancel()
            self.seconds = time.monotonic() - self._start
            self.doing = "done"
        if self.state == "conformant" and self.inconclusive and not self._passed:
            self.state = "inconclusive"

    async def _work(self, number: int) -> None:
        """One guest after the other, as long as there is something to do."""
        failures = 0
        while not self._over:
            try:
                async with started(self.target.source) as executor:
                    if number == 0 and failures == 0:
                        await self._known_cases(executor)
                        self._tried.set()
                    await self._tried.wait()
                    await self._drawn_cases(executor)
                    return
            except GuestError as error:
                self._tried.set()
                failures += 1
                self._doubt(error.message)
                if failures == _GUESTS:
                    self.state = "inconclusive"
                    return

    async def _known_cases(self, executor: Executor) -> None:
        """What was found before, on whichever kernel."""
        self.doing = "trying what was found before"
        search = Search(self._asker(executor))
        await search.by_hypothesis(lambda oracle: found_before(self.plan, oracle))
        await self._leave_out(search)
        self.doing = "exploring"
        if search.smallest is not None and search.first is not None:
            self._found(search.first, search.smallest, executor)

    async def _drawn_cases(self, executor: Executor) -> None:
        under_way: deque[tuple[_Drawn, asyncio.Task[Judgement]]] = deque()
        try:
            while True:
                while len(under_way) < _WINDOW and (drawn := await self._draw()):
                    under_way.append((drawn, asyncio.create_task(self._judged(drawn.scenario, executor))))
                if not under_way:
                    return
                drawn, task = under_way.popleft()
                try:
                    judgement = await task
                except KernelDied as death:
                    self._died(drawn.scenario, death)
                    return
                self._count(drawn.scenario, judgement)
                if judgement.comparison.verdict == "different" and not self._over:
                    await self._shrink(drawn, judgement, executor)
        finally:
            for _, task in under_way:
                task.cancel()

    async def _judged(self, scenario: Scenario, executor: Executor) -> Judgement:
        script = Script(scenario, ())
        judgement = judge(script, self.target.profile, await executor.observe(scenario))
        return judgement if judgement.comparison.verdict != "inconclusive" else await conclusive(script, self.target, executor)

    async def _draw(self) -> _Drawn | None:
        """The next scenario; ``None`` when it is over."""
        async with self._drawing:
            if self._is_over():
                return None
            if not self._pending:
                assert self._next_batch is not None  # noqa: S101
                scenarios = await self._next_batch
                self._pending.extend(_Drawn(self._batch, scenario) for scenario in scenarios)
                self._batch += 1
                self._next_batch = asyncio.create_task(asyncio.to_thread(self.plan.batch, self._batch))
            drawn = self._pending.popleft()
            self._asked += len(drawn.scenario.steps)
            return drawn

    def _is_over(self) -> bool:
        limits = self.limits
        timed_out = limits.seconds is not None and time.monotonic() >= self._start + limits.seconds
        self._over = self._over or timed_out or (limits.steps is not None and self._asked >= limits.steps)
        return self._over

    def _asker(self, executor: Executor) -> Ask:
        async def ask(scenario: Scenario) -> Judgement:
            self.doing = f"shrinking, trying one of {len(scenario.steps)} steps"
            return await conclusive(Script(scenario, ()), self.target, executor)

        return ask

    def _count(self, scenario: Scenario, judgement: Judgement) -> None:
        self.scenarios += 1
        self.steps += len(scenario.steps)
        self.packets += sum(isinstance(step, Send) for step in scenario.steps)
        if judgement.comparison.verdict == "inconclusive":
            self._doubt("; ".join(judgement.comparison.reasons))
        elif judgement.comparison.verdict == "conformant":
            self._passed.append(scenario)

    def _doubt(self, reason: str) -> None:
        self.inconclusive += 1
        self.reasons.append(reason)

    async def _shrink(self, drawn: _Drawn, judgement: Judgement, executor: Executor) -> None:
        self._over = True
        search = Search(self._asker(executor), judgement, self._passed)
        await search.by_hypothesis(lambda oracle: shrink(self.plan, drawn.batch, oracle))
        await self._leave_out(search)
        self._found(drawn.scenario, search.smallest or judgement, executor)

    async def _leave_out(self, search: Search) -> None:
        """A kernel that dies meanwhile has done so after it differed: that is what is told."""
        with contextlib.suppress(NfharnessError):
            await search.by_leaving_out()

    def _found(self, first: Scenario, smallest: Judgement, executor: Executor) -> None:
        self._over, self.state = True, "different"
        bundle = self._kept(smallest, executor.guest.console_tail())
        self.finding = Finding(smallest.script.scenario, first, smallest, bundle)

    def _died(self, scenario: Scenario, death: KernelDied) -> None:
        """The scenario that was under way is the one to look at."""
        self._over, self.state = True, "lost"
        self._doubt(death.message)
        self.finding = Finding(scenario, scenario, None, self._kept(scenario, death.console_tail))

    def _kept(self, found: Judgement | Scenario, console_tail: str) -> Path | None:
        try:
            return save("explore", found, self.target.identity(), console_tail, seed=self.plan.seed)
        except HostError as error:
            self.reasons.append(error.message)
            return None
