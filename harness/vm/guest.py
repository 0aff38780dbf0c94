"""A guest from the host's point of view: an agent that runs things, in a virtual machine that was booted or restored for it."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from harness.errors import HostError, KernelDied, NfharnessError
from harness.vm import console
from harness.vm.channel import Channel, Remote, Request, agent_error
from harness.vm.code import CodeArchive
from harness.vm.paths import run_dir
from harness.vm.qemu import Machine, Qemu
from harness.wire import CHUNK, Kind

__all__ = ("Guest", "VirtualGuest", "booted", "restored")

_BOOT_DEADLINE_S = 180
_PREPARE_DEADLINE_S = 240
_ANSWER_DEADLINE_S = 30
_END_DEADLINE_S = 2
_BEAT_S, _SILENCE_S = 5, 90
_TASK_FAILED = 120


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

    async def prepare(self, purpose: str, kernel_object: str | None) -> dict[str, Any]:
        """Let the agent load what a purpose needs (:func:`harness.guest.prepare.prepare`). :raises GuestError: the kernel has it not"""
        await self.channel.send(Kind.PREPARE, 0, json.dumps({"purpose": purpose, "kernel_object": kernel_object}).encode())
        answer = await self.channel.answer(_PREPARE_DEADLINE_S, "preparing the guest")
        return dict(answer["prepared"])

    async def open(self, request: Request) -> Remote:
        """Start a process. :raises OSError: the command cannot be run"""
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
            async with asyncio.timeout(deadline_s):
                status, out, err = await self.output(Request(python=function, args=args), stdin)
        except TimeoutError:
            raise self.hangs(f"end {function} within {deadline_s:.0f} s") from None
        text = err.decode(errors="replace")
        if status == _TASK_FAILED:
            raise agent_error(json.loads(text.strip().splitlines()[-1]), function)
        if status:
            raise agent_error({"traceback": text or f"exit status {status}"}, function)
        return out

    def hangs(self, what: str) -> KernelDied:
        """The error for a guest that lives and does not do *what*."""
        return KernelDied(f"the guest did not {what}", console_tail=self.console_tail(), mend="try again")


class VirtualGuest(Guest):
    """A virtual machine of our own."""

    def __init__(self, qemu: Qemu) -> None:
        super().__init__()
        self.qemu = qemu
        self._watcher: asyncio.Task[None]
        self._heartbeat: asyncio.Task[None] | None = None

    def console_tail(self) -> str:
        """The end of its console."""
        return console.tail(console.text(self.qemu.console_file))

    def hangs(self, what: str) -> KernelDied:
        """The error for a guest that lives and does not do *what*."""
        error = super().hangs(what)
        return KernelDied(error.message, console_tail=error.console_tail, mend=f"{error.mend}; see {self.qemu.console_file}")

    async def start(self) -> None:
        """Start QEMU and watch it."""
        await self.qemu.start()
        self.channel = Channel(self.qemu.port, self.death)
        self._watcher = asyncio.create_task(self._watch())

    async def load(self, state: Path) -> None:
        """Go on from a saved state. :raises HostError: QEMU refuses it, or ends over it"""
        try:
            await self.qemu.load(state)
        except HostError as error:
            # QEMU may refuse a state by ending over it: what it says then is more than that it is gone.
            await asyncio.wait([self.death], timeout=_END_DEADLINE_S)
            why = self.death.result() if self.death.done() else error
            raise HostError(f"the template cannot be restored: {why.message}", mend="nfharness image prune --templates") from None

    async def _watch(self) -> None:
        died = await self.qemu.died()
        if not self.death.done():
            self.death.set_result(died)

    async def wake(self, code: CodeArchive, *, guest_has: str) -> None:
        """First words after a boot or a restore: the time, fresh entropy, and newer code if the guest's is another."""
        message = {"time_ns": str(time.time_ns()), "entropy": os.urandom(64).hex()}
        try:
            async with asyncio.timeout(_ANSWER_DEADLINE_S):
                await self.channel.send(Kind.WAKE, 0, json.dumps(message).encode())
                if code.identity != guest_has:
                    await self._replace_code(code)
        except TimeoutError:
            raise self.hangs(f"take over newer code within {_ANSWER_DEADLINE_S} s") from None

    def watch_heart(self) -> None:
        """From now on a guest whose agent does not answer is taken for dead: both of its processors are lost in the kernel."""
        self._heartbeat = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        with suppress(NfharnessError):
            try:
                while True:
                    await asyncio.sleep(_BEAT_S)
                    async with asyncio.timeout(_SILENCE_S):
                        await self.channel.ping()
            except TimeoutError:
                if not self.death.done():
                    self.death.set_result(self.hangs(f"answer within {_SILENCE_S} s"))
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


def _new_console() -> Path:
    directory = run_dir() / "consoles"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), suffix=".log", dir=directory)
    os.close(handle)
    return Path(name)


def keep_latest_consoles(count: int = 50) -> None:
    """Forget all but the latest consoles."""
    consoles: Sequence[Path] = sorted((run_dir() / "consoles").glob("*.log"))
    for old in consoles[:-count]:
        old.unlink(missing_ok=True)


@asynccontextmanager
async def booted(machine: Machine, code: CodeArchive, console_file: Path | None = None) -> AsyncIterator[VirtualGuest]:
    """A guest from a cold boot, its agent answering. :raises KernelDied: it panicked or never came up"""
    guest = VirtualGuest(Qemu(machine, console_file or _new_console()))
    await guest.start()
    try:
        try:
            await guest.channel.deliver_code(code.data, _BOOT_DEADLINE_S)
        except TimeoutError:
            raise guest.hangs(f"come up within {_BOOT_DEADLINE_S} s") from None
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
    guest = VirtualGuest(Qemu(machine, _new_console(), incoming=True))
    await guest.start()
    try:
        await guest.load(state)
        guest.channel.start()
        await guest.wake(code, guest_has=guest_has)
        guest.watch_heart()
        yield guest
    finally:
        await guest.close()
        keep_latest_consoles()
