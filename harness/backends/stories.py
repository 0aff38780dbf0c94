"""A traced kernel's packets in Python, each when it has come to its end: ``for packet in Session(…)``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from typing import Any

from harness.backends.filtering import compiled, filtered, in_guest
from harness.backends.following import Choose, Told, following
from harness.backends.names import Backend
from harness.backends.observer import Observation
from harness.backends.sources import open_guest
from harness.errors import EmulatorFailed, KernelDied, UserError
from harness.host.progress import Progress
from harness.images.kernels import DEFAULT
from harness.outcome.types import Outcome, PacketOutcome
from harness.vm.channel import Request
from harness.vm.guest import Guest
from harness.walks.filter import filter_of

__all__ = ("Session",)

#: While so many packets wait for their reader, no others are put together.
_WAITING, _PAUSE_S = 1000, 0.05
_Given = asyncio.Queue[PacketOutcome]


class Session:
    """Packets of a kernel that is traced while this is iterated over, each once it has come to its end.

    What is held does not grow with the session: a packet that was given is forgotten two seconds later. A loop that is left early ends
    the session, and the guest with it.

    :param command: runs in a fresh guest, or on the machine; its output goes to standard error. The session ends with it. Without one a
        machine's own traffic is seen, until the loop is left.
    :param filter: which packets, as ``nfharness trace`` has it; all by default
    :param kernel: as ``--kernel`` has it
    :param backend: a fresh guest (``qemu``), Vagrant's machine, or this very machine (``local``)
    :raises UserError: the filter is none, or a fresh guest is to run nothing
    :ivar status: the command's exit status once it has ended, minus the signal's number if one ended it
    :ivar doubts: why what was seen may not be all there was; known when the loop has ended by itself
    :ivar absent: a sentence for each name in the filter that no packet met (a namespace's, a device's, a hook's); known then, too
    """

    def __init__(self, command: Sequence[str] = (), *, filter: str | None = None,  # noqa: A002 - as trace calls it
                 kernel: str = DEFAULT, backend: Backend = "qemu") -> None:
        if not command and backend == "qemu":
            raise UserError("a fresh guest has no traffic but a command's", hint='Session(["ping", "-c1", "127.0.0.1"])')
        self.status: int | None = None
        self.doubts: tuple[str, ...] = ()
        self.absent: tuple[str, ...] = ()
        self._command, self._kernel, self._backend = tuple(command), kernel, backend
        self._wanted = filter_of(filter) if filter else None

    def __iter__(self) -> Iterator[PacketOutcome]:
        given: _Given = asyncio.Queue()
        with asyncio.Runner() as runner:
            watching = runner.run(_started(self._watch(given)))
            try:
                while (packet := runner.run(_next(given, watching))) is not None:
                    yield packet
            finally:
                runner.run(_ended(watching))

    async def _watch(self, given: _Given) -> None:
        """Trace until the command ends, and give the packets."""
        async with open_guest(self._kernel, Progress(), self._backend, "trace") as opened:
            ask, wanted, told = in_guest(opened.guest), self._wanted, Told(lean=True)

            async def choose(outcome: Outcome) -> Outcome:
                return await filtered(ask, wanted, outcome) if wanted else outcome

            if wanted:
                await compiled(ask, wanted)
            observation = await Observation.start(opened.guest, forgets=True)
            command = asyncio.create_task(self._run(opened.guest))
            giving = asyncio.create_task(_give(observation, choose, told, given))
            try:
                await asyncio.wait({command, giving}, return_when=asyncio.FIRST_COMPLETED)
                if not command.done():
                    await giving  # nothing but an error ends it
                self.status = await command
                await _ended(giving)
                observed, _ = await observation.end(told.done)
            except (KernelDied, EmulatorFailed) as error:
                await _ended(giving)
                _give_rest(await observation.rescued(error, told.done), told, given)
                raise
            finally:
                command.cancel()
                giving.cancel()
            for packet in observed.packets:
                told.earlier.add(packet, observation.blind, chosen=False)
            self.doubts = (*observed.doubts, *told.earlier.unseen)
            self.absent = told.earlier.names.absent(wanted.names) if wanted and told.earlier.packets else ()
            _give_rest(await choose(observed), told, given)

    async def _run(self, guest: Guest) -> int:
        """Run the command; its exit status."""
        if not self._command:
            await asyncio.Event().wait()
        try:
            remote = await guest.open(Request(argv=self._command, cwd=guest.cwd))
        except OSError as error:
            raise UserError(f"{self._command[0]}: {error.strerror}", hint="name a command that the guest has") from None
        await remote.end_input()
        while piece := await remote.read():
            os.write(2, piece[1])
        return await remote.wait()


async def _give(observation: Observation, choose: Choose, told: Told, given: _Given) -> None:
    """Give packets as they come to their ends. What was looked at is given before this can be cancelled."""
    async for settled in following(observation, choose, told):
        for packet in settled.packets:
            given.put_nowait(packet)
        while given.qsize() > _WAITING:
            await asyncio.sleep(_PAUSE_S)


def _give_rest(chosen: Outcome, told: Told, given: _Given) -> None:
    for packet in chosen.packets:
        if packet.number not in told.numbers:
            given.put_nowait(packet)


async def _started(watching: Coroutine[None, None, None]) -> asyncio.Task[None]:
    return asyncio.create_task(watching)


async def _next(given: _Given, watching: asyncio.Task[None]) -> PacketOutcome | None:
    """The next packet; ``None`` if there is none any more."""
    getting = asyncio.ensure_future(given.get())
    await asyncio.wait({getting, watching}, return_when=asyncio.FIRST_COMPLETED)
    if not getting.done():
        getting.cancel()
        return None
    return getting.result()


async def _ended(task: asyncio.Task[Any]) -> None:
    """End a task, if it has not ended.

    :raises NfharnessError: as it did
    """
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
