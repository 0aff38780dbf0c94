"""One kernel: its guests run what is drawn, until it differs, or the time or the steps are used up."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from harness.backends.executor import Executor, started
from harness.conformance.bundle import save
from harness.conformance.matrix import Target, default_jobs
from harness.errors import EmulatorFailed, GuestError, HostError, NfharnessError
from harness.explore.engine import Plan
from harness.explore.guests import Behaviour, KernelGuests, observed
from harness.explore.kept import keep, kept
from harness.explore.search import Search, Shortest
from harness.scenario.step import Scenario

__all__ = ("Discovery", "Hunt", "Limits", "State", "explore")

State = Literal["conformant", "different", "inconclusive", "lost"]

_WINDOW = 3
"""Scenarios that are under way to a guest: while one's outcome is looked at, the next runs."""
_GUESTS = 4
"""Guests in a row that may fail before they are not asked any more."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a search ends.

    :param seconds: from when the first guest is asked for
    :param steps: of all scenarios together. What comes first counts
    """

    seconds: float | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class Discovery:
    """A scenario on which kernel and model differ, in a fresh guest.

    :param first: the scenario that was drawn
    :param shortest: what is left of it
    :param bundle: ``None`` if it could not be written
    """

    first: Scenario
    shortest: Shortest
    bundle: Path | None

    @property
    def scenario(self) -> Scenario:
        """The shortest."""
        return self.shortest.seen.scenario


async def explore(targets: Sequence[Target], plan: Plan, limits: Limits, hunts: list[Hunt], *, jobs: int | None = None) -> None:
    """Explore kernels side by side.

    :param hunts: gets a hunt for each, in order
    :param jobs: guests side by side; what cores and memory allow by default
    :raises HostError: QEMU does not start
    """
    jobs = jobs or default_jobs()
    guests = max(1, jobs // len(targets))
    hunts += [Hunt(target, replace(plan, profile=target.standard), limits, guests) for target in targets]
    gate = asyncio.Semaphore(max(1, jobs // guests))

    async def run(hunt: Hunt) -> None:
        async with gate:
            await hunt.run()

    await asyncio.gather(*map(run, hunts))


@dataclass(slots=True)
class Hunt:
    """An exploration of one kernel, as far as it has come.

    :param guests: side by side
    :ivar doing: for a reader
    :ivar scenarios: that came to an end
    :ivar steps: theirs
    :ivar packets: those of the steps that send one
    :ivar conformant: scenarios on which kernel and model agree
    :ivar inconclusive: scenarios of which nothing could be concluded
    :ivar reasons: why, the last few, and why there is no bundle
    :ivar unconfirmed: those of them that differed in a guest that others had run on, and in no fresh one
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
    conformant: int = 0
    inconclusive: int = 0
    unconfirmed: int = 0
    reasons: deque[str] = field(default_factory=lambda: deque(maxlen=3))
    finding: Discovery | None = None
    seconds: float = 0.0
    _start: float = 0.0
    _asked: int = 0
    _batch: int = 0
    _pending: deque[Scenario] = field(default_factory=deque)
    _next_batch: asyncio.Task[list[Scenario]] | None = None
    _drawing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _over: bool = False

    @property
    def elapsed(self) -> float:
        """Seconds since it began; in all, if it is over."""
        return self.seconds or (time.monotonic() - self._start if self._start else 0.0)

    def rate(self, count: int) -> float:
        """A count per second of the search."""
        return count / self.elapsed if self.elapsed else 0.0

    async def run(self) -> None:
        """Explore. What is found is in :attr:`state` and :attr:`finding`, also if this is cut short.

        :raises HostError: QEMU does not start
        """
        self._start, self.doing = time.monotonic(), "exploring"
        self._pending.extend(kept(self.plan.mix))
        self._next_batch = asyncio.create_task(asyncio.to_thread(self.plan.batch, 0))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.guests):
                    group.create_task(self._work())
        except ExceptionGroup as group:
            raise next((error for error in group.exceptions if isinstance(error, NfharnessError)), group) from None
        finally:
            self._next_batch.cancel()
            self.seconds = time.monotonic() - self._start
            self.doing = "done"
            if self.state == "conformant" and (self.unconfirmed or not self.conformant):
                self.state = "inconclusive"

    async def _work(self) -> None:
        """Search in one guest after the other until there is nothing left to do."""
        failures = 0
        while not self._over:
            before = self.scenarios
            try:
                async with started(self.target.source) as executor:
                    found = await self._drawn_cases(executor)
            except (GuestError, EmulatorFailed) as error:
                failures = failures + 1 if self.scenarios == before else 1
                self._doubt(error.message)
                if failures == _GUESTS:
                    self.state = "inconclusive"
                    return
                continue
            if found is None:
                return
            await self._settle(*found)

    async def _drawn_cases(self, executor: Executor) -> tuple[Behaviour, list[Scenario]] | None:
        """What differs first, with all that ran before in the guest: it may be harmed. ``None``: it is over."""
        under_way: deque[tuple[Scenario, asyncio.Task[Behaviour]]] = deque()
        ran: list[Scenario] = []
        try:
            while True:
                while len(under_way) < _WINDOW and (drawn := await self._draw()):
                    under_way.append((drawn, asyncio.create_task(observed(drawn, self.target, self.plan.profile, executor))))
                if not under_way:
                    return None
                drawn, task = under_way.popleft()
                try:
                    seen = await task
                except EmulatorFailed:
                    self._put_back(drawn, *(other for other, _ in under_way))
                    raise
                self._count(seen)
                if seen.kinds:
                    self._put_back(*(other for other, _ in under_way))
                    return seen, ran
                ran.append(drawn)
        finally:
            for _, task in under_way:
                task.cancel()

    async def _draw(self) -> Scenario | None:
        """The next scenario; ``None`` when it is over."""
        async with self._drawing:
            if self._is_over():
                return None
            if not self._pending:
                assert self._next_batch is not None  # noqa: S101
                scenarios = await self._next_batch
                self._pending.extend(scenarios)
                self._batch += 1
                self._next_batch = asyncio.create_task(asyncio.to_thread(self.plan.batch, self._batch))
            drawn = self._pending.popleft()
            self._asked += len(drawn.steps)
            return drawn

    def _put_back(self, *drawn: Scenario) -> None:
        """Scenarios that nothing is known of yet: another guest is asked."""
        self._pending.extendleft(reversed(drawn))
        self._asked -= sum(len(one.steps) for one in drawn)

    def _is_over(self) -> bool:
        limits = self.limits
        timed_out = limits.seconds is not None and time.monotonic() >= self._start + limits.seconds
        self._over = self._over or timed_out or (limits.steps is not None and self._asked >= limits.steps)
        return self._over

    def _count(self, seen: Behaviour) -> None:
        if seen.judgement is None:
            return
        self.scenarios += 1
        self.steps += len(seen.scenario.steps)
        self.packets += sum(step.traffic.cookie is not None for step in seen.scenario.steps)
        if seen.judgement.comparison.verdict == "inconclusive":
            self._doubt("; ".join(seen.judgement.comparison.reasons))
        elif seen.judgement.comparison.verdict == "conformant":
            self.conformant += 1

    def _doubt(self, reason: str) -> None:
        self.inconclusive += 1
        self.reasons.append(reason)

    async def _settle(self, seen: Behaviour, ran: list[Scenario]) -> None:
        """Find what a fresh guest does differently; meanwhile nothing is drawn.

        :param ran: before it in its guest
        """
        async with self._drawing:
            if self.finding is not None:
                return
            async with KernelGuests(self.target, self.plan.profile, ahead=self.guests - 1) as guests:
                search = Search(guests, seen.kinds, tell=self._tell)
                try:
                    await search.run(seen.scenario, ran)
                finally:  # also when Ctrl-C cuts it short: what was reached until then is smaller
                    if search.shortest is not None:
                        self._found(seen.scenario, search.shortest)
                if search.shortest is None:
                    self._unconfirmed(seen, len(ran), guests.doubt)
        self.doing = "exploring"

    def _tell(self, doing: str) -> None:
        self.doing = doing

    def _found(self, first: Scenario, shortest: Shortest) -> None:
        seen = shortest.seen
        self._over, self.state = True, "lost" if seen.death else "different"
        if seen.death:
            self._doubt(seen.death.message)
        if not shortest.before:
            keep(seen.scenario, self.plan.mix)
        self.finding = Discovery(first, shortest, self._kept(shortest))

    def _unconfirmed(self, seen: Behaviour, ran: int, doubt: str) -> None:
        """A difference of which nothing is known but that it was there."""
        self.unconfirmed += 1
        self._doubt(f"what a scenario of {len(seen.scenario.steps)} steps showed in its guest, after {ran} others, no fresh guest shows"
                    f"{f' ({doubt})' if doubt else ''}: {seen.said[0]}")

    def _kept(self, shortest: Shortest) -> Path | None:
        seen = shortest.seen
        try:
            return save("explore", seen.judgement or seen.scenario, self.target.identity(), seen.console_tail, seed=self.plan.seed,
                        before=shortest.before)
        except HostError as error:
            self.reasons.append(error.message)
            return None
