"""The host's end of :mod:`harness.guest.executor`: one process in a guest that runs one scenario after the other."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from harness.backends.sources import Source
from harness.errors import NfharnessError
from harness.host.deadlines import within
from harness.outcome import codec
from harness.outcome.types import Outcome
from harness.scenario.codec import line
from harness.scenario.step import Scenario
from harness.vm.channel import Remote, Request, agent_error
from harness.vm.guest import Guest

__all__ = ("DEADLINE_S", "Executor", "started")

_EXECUTOR = "harness.guest.executor:main"
DEADLINE_S = 120.0
"""A guest that takes longer for a scenario hangs."""


@asynccontextmanager
async def started(source: Source) -> AsyncIterator[Executor]:
    """An executor in a guest, which is gone when the block ends."""
    async with source.guest() as guest, Executor(guest) as executor:
        yield executor


class Executor:
    """Runs scenarios in a guest, in the order in which they are given; several may be under way to it. A context.

    :param guest: which must stay as long as this is open
    """

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self._remote: Remote | None = None
        self._awaited: deque[asyncio.Future[Outcome]] = deque()
        self._opening = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Executor:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()

    async def open(self) -> None:
        """Start the process there, which the first scenario does otherwise."""
        async with self._opening:
            await self._process()

    async def observe(self, scenario: Scenario, deadline_s: float = DEADLINE_S) -> Outcome:
        """What a scenario does there.

        :param deadline_s: a guest that takes longer hangs
        :raises KernelDied: it died of it, or did not come to an end
        :raises GuestError: the executor failed; the guest should not be asked again
        :raises UserError: the scenario asks for what the kernel's tools refuse
        """
        async with self._opening:
            remote = await self._process()
            answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            self._awaited.append(answer)
            await remote.write(line(scenario).encode())
        try:
            async with within(deadline_s) as deadline:
                return await answer
        except TimeoutError:
            raise await self.guest.hangs(f"end the scenario {scenario.name} {deadline}") from None

    async def _process(self) -> Remote:
        if self._remote is None:
            self._remote = await self.guest.open(Request(python=_EXECUTOR))
            self._reading = asyncio.create_task(self._read(self._remote))
        return self._remote

    async def _read(self, remote: Remote) -> None:
        """Hand out answers as they come. When the process ends, those that still wait are told why."""
        said = {1: bytearray(), 2: bytearray()}
        while piece := await remote.read():
            said[piece[0]] += piece[1]
            *lines, rest = bytes(said[1]).split(b"\n")
            said[1] = bytearray(rest)
            for answer in lines:
                _answer(self._awaited.popleft(), answer)
        try:
            status = await remote.wait()
            text = said[2].decode(errors="replace").strip()
            error = agent_error({"traceback": text or f"exit status {status}"}, "the executor")
            with suppress(ValueError, IndexError, KeyError, TypeError):
                error = agent_error(json.loads(text.splitlines()[-1]), "the executor")
        except NfharnessError as died:
            error = died
        while self._awaited:
            _fail(self._awaited.popleft(), error)


def _answer(awaited: asyncio.Future[Outcome], text: bytes) -> None:
    if awaited.done():
        return
    try:
        document = json.loads(text)
        if "error" in document:
            raise agent_error(document, "the executor")
        awaited.set_result(codec.from_json(document))
    except Exception as error:
        _fail(awaited, error)


def _fail(awaited: asyncio.Future[Outcome], error: Exception) -> None:
    if not awaited.done():
        awaited.set_exception(error)
