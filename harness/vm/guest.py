"""A guest from the host's point of view: an agent that runs things, in a virtual machine that was booted or restored for it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.errors import EmulatorFailed, GuestError, HostError, KernelDied, NfharnessError
from harness.host.deadlines import slowness, within
from harness.images.source_lines import decoded
from harness.vm import console
from harness.vm.channel import Channel, Remote, Request, agent_error
from harness.vm.code import CodeArchive
from harness.vm.integrity import damage
from harness.vm.preparation import Preparation
from harness.vm.qemu import Machine, Qemu
from harness.vm.serial import Serial, keep_latest
from harness.vm.stuck import stacks
from harness.wire import CHUNK, Kind

__all__ = ("Guest", "VirtualGuest", "booted", "restored")

_BOOT_DEADLINE_S = 180
_PREPARE_DEADLINE_S = 240
_ANSWER_DEADLINE_S = 30
_BEAT_S, _SILENCE_S = 5, 90
#: What was saved answers within a fraction of a second; a memory that was overwritten mostly hangs.
_FIRST_ANSWER_S = 5
#: A guest that dies within it may have been dead when it was restored; seconds of an idle host.
_YOUNG_S = 1
_TASK_FAILED = 120
#: Serial number of the disk with packages.
_PACKAGES = "packages"


class Guest:
    """A kernel with an agent that answers.

    :ivar death: completes with the error to raise when the guest is gone
    :ivar cwd: where commands run; ``None`` for the guest's own choice
    :ivar networked: whether what it says to us are packets on its own kernel
    """

    cwd: str | None = None
    networked = False

    def __init__(self) -> None:
        self.death: asyncio.Future[NfharnessError] = asyncio.get_running_loop().create_future()
        self.channel: Channel

    def console_tail(self) -> str:
        """The last that its kernel said; empty where nobody listens to that."""
        return ""

    async def place(self, *, bare: bool, modules: bool) -> str | None:
        """The agent finds the places of the tracer's probes (:func:`harness.agent.prepare.place`).

        :returns: the source of the tracer's programs; ``None`` of a kernel that is left as it is
        :raises GuestError: the kernel lacks what is needed
        """
        source: str | None = (await self._asked(Kind.PLACE, "placing probes", bare=bare, modules=modules))["placed"]["source"]
        return source

    async def import_all(self, preparation: Preparation) -> float:
        """The agent imports what it will be asked for (:func:`harness.agent.prepare.import_all`); the seconds that it took.

        :raises GuestError: the machine lacks it
        """
        return float((await self._asked(Kind.IMPORT, "importing", names=preparation.imports))["imported"])

    async def prepare(self, preparation: Preparation, kernel_object: str | None, code: dict[str, Any] | None = None) -> dict[str, Any]:
        """The agent loads the rest that it needs (:func:`harness.agent.prepare.prepare`).

        :param code: the tracer's programs, compiled; ``None`` for a kernel that is left as it is
        :raises GuestError: the kernel has it not
        """
        wanted = {name: value for name, value in asdict(preparation).items() if name != "imports"}
        answer = await self._asked(Kind.PREPARE, "preparing the guest", **wanted, kernel_object=kernel_object, code=code)
        return dict(answer["prepared"])

    async def _asked(self, kind: Kind, what: str, **fields: Any) -> dict[str, Any]:
        await self.channel.send(kind, 0, json.dumps(fields).encode())
        return await self.channel.answer(_PREPARE_DEADLINE_S, what)

    async def open(self, request: Request) -> Remote:
        """Start a process.

        :raises OSError: the command cannot be run
        """
        return await self.channel.open(request)

    async def output(self, request: Request, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        """Run a process to its end; its status, stdout and stderr."""
        remote = await self.open(request)
        collected = {1: bytearray(), 2: bytearray()}

        async def feed() -> None:
            await remote.write(stdin)
            await remote.end_input()

        feeding = asyncio.create_task(feed())
        while piece := await remote.read():
            collected[piece[0]] += piece[1]
        status = await remote.wait()
        await feeding
        return status, bytes(collected[1]), bytes(collected[2])

    async def call(self, function: str, *args: Any, stdin: bytes = b"", deadline_s: float = 120) -> bytes:
        """Call a Python function ``module:function`` in a fork of the agent; what it wrote to stdout.

        :raises NfharnessError: as the function raised it
        :raises GuestError: it failed otherwise, or did not end in time
        """
        try:
            async with within(deadline_s) as deadline:
                status, out, err = await self.output(Request(python=function, args=args), stdin)
        except TimeoutError:
            raise await self.hangs(f"end {function} {deadline}") from None
        text = err.decode(errors="replace")
        if status == _TASK_FAILED:
            raise agent_error(json.loads(text.strip().splitlines()[-1]), function)
        if status:
            raise agent_error({"traceback": text or f"exit status {status}"}, function)
        return out

    async def hangs(self, what: str) -> KernelDied:
        """The error for a guest that lives and does not do *what*."""
        return KernelDied(f"the guest did not {what}", console_tail=self.console_tail(), hint="try again")


class VirtualGuest(Guest):
    """A virtual machine of our own."""

    def __init__(self, qemu: Qemu) -> None:
        super().__init__()
        self.qemu = qemu
        self._watcher: asyncio.Task[None]
        self._heartbeat: asyncio.Task[None] | None = None
        self._since = time.monotonic()
        self._state: Path | None = None
        self._looking: asyncio.Future[HostError | None] | None = None

    def console_tail(self) -> str:
        """The end of its console."""
        return console.tail(self.qemu.console.text())

    async def hangs(self, what: str) -> KernelDied:
        """The error for a guest that lives and does not do *what*, with what its processors do instead."""
        error = await super().hangs(what)
        error.hint = f"{error.hint}; {self.qemu.console.see}"
        error.stacks = await stacks(self.qemu)
        return error

    async def open(self, request: Request) -> Remote:
        """Start a process.

        If the agent starts nothing, what the guest is made of is examined before its kernel is blamed (:meth:`examined`).

        :raises OSError: the command cannot be run
        """
        try:
            return await super().open(request)
        except GuestError as error:
            raise await self.examined(error, hangs=True) from None

    async def start(self) -> None:
        """Start QEMU and watch it."""
        await self.qemu.start()
        self._since = time.monotonic()
        self.channel = Channel(self.qemu.port, self.death)
        self._watcher = asyncio.create_task(self._watch())

    async def load(self, state: Path) -> None:
        """Go on from a saved state.

        :raises HostError: QEMU refuses it, or ends over it
        """
        self._state = state
        try:
            await self.qemu.load(state)
        except EmulatorFailed:
            raise
        except NfharnessError as error:
            if damaged := await self._damage():
                raise damaged from None
            raise HostError(f"the template cannot be restored: {error.message}", hint="nfharness image prune --templates") from None

    def decoded(self, text: str) -> str:
        """What its kernel has said, with lines of its sources where they can be told."""
        return decoded(text, self.qemu.machine.built) if self.qemu.machine.built else text

    async def _watch(self) -> None:
        died = await self.examined(await self.qemu.died())
        if isinstance(died, KernelDied):
            died.console_tail = await asyncio.to_thread(self.decoded, died.console_tail)
        if not self.death.done():
            self.death.set_result(died)

    async def _damage(self) -> HostError | None:
        """What is damaged, if anything is: looked at once, as it is deleted then."""
        if self._looking is None:
            self._looking = asyncio.ensure_future(asyncio.to_thread(damage, self.qemu.machine, self._state))
        return await asyncio.shield(self._looking)

    async def examined(self, died: NfharnessError, *, hangs: bool = False) -> NfharnessError:
        """The error for a guest that is gone; of one that has hardly lived, or that hangs, what it is made of is looked at before its
        kernel is blamed."""
        if not hangs and self.channel.heard and time.monotonic() - self._since > _YOUNG_S * slowness():
            return died
        return await self._damage() or died

    async def listen(self) -> None:
        """Wait for a first answer. If none comes soon, look what the guest is made of; one that is whole has its time still.

        :raises HostError: it is damaged
        """
        self.channel.start()
        try:
            async with within(_FIRST_ANSWER_S):
                await self.channel.ping()
        except TimeoutError:
            if damaged := await self._damage():
                raise damaged from None

    async def wake(self, code: CodeArchive, *, guest_has: str) -> None:
        """First words after a boot or a restore: the time, fresh entropy, and newer code if the guest's is another."""
        message = {"time_ns": str(time.time_ns()), "entropy": os.urandom(64).hex()}
        try:
            async with within(_ANSWER_DEADLINE_S) as deadline:
                await self.channel.send(Kind.WAKE, 0, json.dumps(message).encode())
                if code.identity != guest_has:
                    await self._replace_code(code)
        except TimeoutError:
            raise await self.examined(await self.hangs(f"take over newer code {deadline}"), hangs=True) from None
        except NfharnessError as error:
            raise await self.examined(error, hangs=True) from None

    async def lay_over(self, image: Path) -> None:
        """Plug in a disk, and lay what it has over the root: every command from now on finds it there.

        :raises GuestError: the kernel does not see the disk, or does not mount it
        """
        await self.qemu.plug(image, _PACKAGES)
        await self.call("harness.agent.packages:lay_over", _PACKAGES)

    def watch_heart(self) -> None:
        """Take the guest for dead, from now on, if its agent does not answer: both of its processors are lost in the kernel then."""
        self._heartbeat = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        with suppress(NfharnessError):
            try:
                while True:
                    await asyncio.sleep(_BEAT_S)
                    async with within(_SILENCE_S) as deadline:
                        await self.channel.ping()
            except TimeoutError:
                died = await self.examined(await self.hangs(f"answer {deadline}"), hangs=True)
                if not self.death.done():
                    self.death.set_result(died)
                await self.qemu.kill()

    async def _replace_code(self, code: CodeArchive) -> None:
        for start in range(0, len(code.data), CHUNK):
            await self.channel.send(Kind.CODE, 0, code.data[start : start + CHUNK])
        await self.channel.send(Kind.CODE)
        await self.channel.answer(_ANSWER_DEADLINE_S, "taking over newer code")

    async def close(self) -> None:
        """End the VM at once."""
        self._watcher.cancel()
        if self._heartbeat:
            self._heartbeat.cancel()
        await self.channel.close()
        await self.qemu.kill()


@asynccontextmanager
async def booted(
    machine: Machine, code: CodeArchive, console_file: Path | None = None, *, archive: Awaitable[bytes] | None = None,
) -> AsyncIterator[VirtualGuest]:
    """A guest from a cold boot, its agent answering.

    :param archive: what the guest gets instead of *code*'s data: the same, and byte code
    :raises KernelDied: it panicked or never came up
    """
    guest = VirtualGuest(Qemu(machine, Serial(console_file)))
    await guest.start()
    try:
        try:
            await guest.channel.deliver_code(await archive if archive else code.data, _BOOT_DEADLINE_S)
        except TimeoutError as late:
            raise await guest.examined(await guest.hangs(f"come up {late}"), hangs=True) from None
        guest.channel.start()
        await guest.wake(code, guest_has=code.identity)
        yield guest
    finally:
        await guest.close()


@asynccontextmanager
async def restored(machine: Machine, state: Path, code: CodeArchive, *, guest_has: str) -> AsyncIterator[VirtualGuest]:
    """A guest restored copy-on-write from a template.

    :param guest_has: identity of the code that the template was made with
    """
    guest = VirtualGuest(Qemu(machine, Serial(), incoming=True))
    await guest.start()
    try:
        await guest.load(state)
        await guest.listen()
        await guest.wake(code, guest_has=guest_has)
        guest.watch_heart()
        if machine.packages:
            await guest.lay_over(machine.packages)
        yield guest
    finally:
        await guest.close()
        keep_latest()
