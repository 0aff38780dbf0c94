"""An agent on a kernel that was there before us: the same code and protocol as in a guest of ours, over a command's standard streams."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from harness.errors import GuestError, HostError, KernelDied
from harness.vm.channel import Channel
from harness.vm.code import code_archive
from harness.vm.guest import Guest
from harness.vm.paths import source_dir
from harness.vm.vagrant import Unreachable

__all__ = ("AttachedGuest", "attached", "session_command")

_GREETING_DEADLINE_S = 60
_END_DEADLINE_S = 15
_KEPT_BYTES = 8192
#: ssh's own exit status when the connection cannot be made, or breaks.
_NO_CONNECTION = 255


def session_command() -> list[str]:
    """What becomes an agent on standard input and output, wherever there is a Python."""
    return ["python3", "-I", "-B", "-c", (source_dir() / "guest/stage0.py").read_text(), "session"]


class AttachedGuest(Guest):
    """A kernel reached through a process whose standard input and output are the agent's.

    :param argv: starts the agent
    """

    def __init__(self, argv: Sequence[str]) -> None:
        super().__init__()
        self._argv = argv
        self._said = b""
        self._process: asyncio.subprocess.Process
        self._port: socket.socket
        self._watcher: asyncio.Task[None]

    async def start(self) -> None:
        """Start the process. :raises HostError: it is not installed"""
        self._port, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE,
                    # Ctrl-C is for us to act on.
                    start_new_session=True)  # fmt: skip
            except FileNotFoundError as error:
                self._port.close()
                raise HostError(f"{error.filename} is not installed", mend=f"apt-get install {error.filename}") from None
        self.channel = Channel(self._port, self.death)
        self._watcher = asyncio.create_task(self._watch())

    async def greet(self) -> None:
        """Give it our code. :raises Unreachable: it did not come up"""
        try:
            await self.channel.deliver_code(code_archive().data, _GREETING_DEADLINE_S)
        except TimeoutError:
            raise Unreachable(f"no agent came up within {_GREETING_DEADLINE_S} s", mend="try again") from None
        except (KernelDied, GuestError) as error:
            raise Unreachable(error.message, mend=error.mend) from None
        self.channel.start()

    async def _watch(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None  # noqa: S101
        while piece := await stderr.read(4096):
            self._said = (self._said + piece)[-_KEPT_BYTES:]
        status = await self._process.wait()
        said = [line for line in self._said.decode(errors="replace").splitlines() if line.strip()]
        if status == _NO_CONNECTION:
            last = said[-1].strip() if said else "it does not answer any more"
            mend = "a kernel that panics boots again by itself; one that hangs does after 'vagrant reload --force'"
            self.death.set_result(KernelDied(f"the connection to the machine is gone: {last}", mend=mend))
        else:
            last = said[-1].strip() if said else f"it ended with status {status}"
            self.death.set_result(GuestError(f"the agent ended: {last}", mend="\n".join(said) or "try again"))

    async def close(self) -> None:
        """Hang up; the agent undoes what it did and ends, and what reaches it with it."""
        await self.channel.close()
        with suppress(OSError):
            self._port.shutdown(socket.SHUT_WR)
        try:
            async with asyncio.timeout(_END_DEADLINE_S):
                await self._drain()
                await asyncio.shield(self._watcher)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
        finally:
            self._watcher.cancel()
            self._port.close()

    async def _drain(self) -> None:
        """Take what it still says, so that it comes to its end."""
        with suppress(OSError):
            while await asyncio.get_running_loop().sock_recv(self._port, 1 << 16):
                continue


@asynccontextmanager
async def attached(argv: Sequence[str]) -> AsyncIterator[AttachedGuest]:
    """An agent that *argv* starts; it is gone, and all that it did, when the block ends.

    :raises HostError: what starts it is not installed
    :raises Unreachable: it did not come up
    """
    guest = AttachedGuest(argv)
    await guest.start()
    try:
        await guest.greet()
        yield guest
    finally:
        await guest.close()
