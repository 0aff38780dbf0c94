"""Guests that scenarios are judged on: fresh ones, which start while others are at work, and one that goes on until its kernel dies."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from harness.backends.executor import Executor, started
from harness.backends.sources import Source
from harness.conformance.judge import Judgement, said
from harness.conformance.matrix import Target, conclusive
from harness.conformance.rule import Script
from harness.errors import EmulatorFailed, KernelDied, NfharnessError
from harness.host.again import ATTEMPTS
from harness.outcome.kind import kind
from harness.outcome.profile import KernelProfile
from harness.scenario.step import Scenario

__all__ = ("DIED", "PATIENCE_S", "Behaviour", "KernelGuests", "observed")

DIED = "the kernel died"
"""The kind of difference that a panic and a hang are."""
PATIENCE_S = 40.0
"""A guest that takes longer for a scenario hangs: the slowest take an emulated one some seconds."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a kernel did with a scenario.

    :param judgement: ``None`` if the kernel died of it, or nothing could be learnt
    :param console_tail: the guest's, of one that differs
    """

    scenario: Scenario
    judgement: Judgement | None
    death: KernelDied | None = None
    console_tail: str = ""

    @property
    def kinds(self) -> tuple[str, ...]:
        """In which ways the kernel differs from the model; none if it does not, or nothing can be concluded."""
        if self.death is not None:
            return (DIED,)
        differs = self.judgement is not None and self.judgement.comparison.verdict == "different"
        return tuple(map(kind, self.judgement.comparison.differences)) if self.judgement is not None and differs else ()

    @property
    def said(self) -> tuple[str, ...]:
        """How it differs, a line each."""
        if self.death is not None:
            return (self.death.message,)
        return tuple(map(said, self.judgement.comparison.differences)) if self.judgement is not None else ()


async def observed(scenario: Scenario, on: Target, profile: KernelProfile, executor: Executor) -> Behaviour:
    """What a guest's kernel does with a scenario.

    :param profile: that the model is asked for
    :raises NfharnessError: the guest, or the host, cannot run it
    """
    try:
        judgement = await conclusive(Script(scenario, ()), on, executor, profile=profile, deadline_s=PATIENCE_S)
    except KernelDied as death:
        return Behaviour(scenario, None, death, death.console_tail)
    tail = executor.guest.console_tail() if judgement.comparison.verdict == "different" else ""
    return Behaviour(scenario, judgement, console_tail=tail)


class _Lease:
    """A guest in its own task, which starts it and ends it: another task may use it."""

    def __init__(self, source: Source) -> None:
        self.ready: asyncio.Future[Executor] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._hold(source))

    async def _hold(self, source: Source) -> None:
        try:
            async with started(source) as executor:
                await executor.open()
                self.ready.set_result(executor)
                await self._over.wait()
        except Exception as error:
            if not self.ready.done():
                self.ready.set_exception(error)

    def end(self) -> None:
        """The guest is not needed any more."""
        self._over.set()
        if not self.ready.done():
            self._task.cancel()
            self.ready.cancel()
        elif not self.ready.cancelled():
            self.ready.exception()  # nobody may have asked

    async def ended(self) -> None:
        """Wait until it is gone."""
        self.end()
        with suppress(asyncio.CancelledError):
            await self._task


class KernelGuests:
    """Guests of one kernel. A context: afterwards none is left.

    :param profile: that the model is asked for
    :param ahead: fresh guests that are started before they are asked for
    :ivar doubt: why one that was asked last could not say anything; empty if each could
    """

    def __init__(self, on: Target, profile: KernelProfile, ahead: int) -> None:
        self._on, self._profile, self._ahead = on, profile, ahead
        self.doubt = ""
        self._fresh: deque[_Lease] = deque()
        self._used: _Lease | None = None
        self._leases: list[_Lease] = []

    async def __aenter__(self) -> KernelGuests:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(lease.ended() for lease in self._leases))

    async def fresh(self, scenarios: Sequence[Scenario]) -> Behaviour:
        """What the kernel of a guest that has run nothing before does with the last of some scenarios, after the others.

        Of a kernel that dies of one of the others that one is told.
        """
        for _ in range(ATTEMPTS):
            lease = self._next()
            try:
                return await self._after(scenarios, await lease.ready)
            except EmulatorFailed as error:
                self.doubt = error.message
            except NfharnessError as error:
                self.doubt = error.message
                break
            finally:
                lease.end()
        return Behaviour(scenarios[-1], None)

    async def used(self, scenario: Scenario) -> Behaviour:
        """Run a scenario on a guest in which others have run: quick, and its answer is only a hint, as they may have left something."""
        for _ in range(ATTEMPTS):
            self._used = lease = self._used or self._next()
            try:
                seen = await observed(scenario, self._on, self._profile, await lease.ready)
            except NfharnessError as error:
                self.doubt = error.message
                self._give_up(lease)
                continue
            if seen.death:
                self._give_up(lease)
            return seen
        return Behaviour(scenario, None)

    async def _after(self, scenarios: Sequence[Scenario], executor: Executor) -> Behaviour:
        for scenario in scenarios[:-1]:
            seen = await observed(scenario, self._on, self._profile, executor)
            if seen.death:
                return seen
        return await observed(scenarios[-1], self._on, self._profile, executor)

    def _next(self) -> _Lease:
        """A guest that was started before, if there is one; and others on the way."""
        while len(self._fresh) <= self._ahead:
            self._fresh.append(_Lease(self._on.source))
            self._leases.append(self._fresh[-1])
        return self._fresh.popleft()

    def _give_up(self, lease: _Lease) -> None:
        lease.end()
        self._used = None
