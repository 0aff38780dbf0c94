"""An agent on a kernel that was there before us: the same code and protocol as in a guest of ours, over a command's standard streams."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from harness.errors import GuestError, HostError, KernelDied
from harness.host import process
from harness.host.deadlines import within
from harness.host.paths import run_dir, source_dir
from harness.host.store import write_whole
from harness.vm.channel import Channel
from harness.vm.code import code_archive
from harness.vm.guest import Guest

__all__ = ("AttachedGuest", "Unreachable", "attached", "session_command")

_GREETING_DEADLINE_S = 60
_END_DEADLINE_S = 15
_KEPT_BYTES = 8192
#: ssh's own exit status when the connection cannot be made, or breaks.
_NO_CONNECTION = 255


class Unreachable(HostError):
    """Nobody answers there now."""


def session_command(python: str = "python3", packages: str = "") -> list[str]:
    """What becomes an agent on standard input and output, wherever there is a Python.

    :param packages: a directory where that Python finds what it has not got itself
    """
    also = f"import sys; sys.path.append({packages!r})\n" if packages else ""
    return [python, "-I", "-B", "-c", also + (source_dir() / "agent/stage0.py").read_text(), "session"]


def _kept(said: list[str]) -> Path:
    """A file with what an agent said when it ended: a traceback is no hint."""
    path = run_dir() / "failed/agent.log"
    write_whole(path, "\n".join(said) + "\n")
    return path


class AttachedGuest(Guest):
    """A kernel reached through a process whose standard input and output are the agent's.

    :param argv: starts the agent
    :param gone: what to do when what reaches it has lost it
    """

    def __init__(self, argv: Sequence[str], gone: str = "") -> None:
        super().__init__()
        self._argv = argv
        self._gone = gone
        self._said = b""
        self._process: asyncio.subprocess.Process
        self._port: socket.socket
        self._watcher: asyncio.Task[None]

    async def start(self) -> None:
        """Start the process.

        :raises HostError: it is not installed
        """
        self._port, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = await process.start(
                    self._argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE,
                    # Ctrl-C is for us to act on.
                    start_new_session=True)  # fmt: skip
            except FileNotFoundError as error:
                self._port.close()
                raise HostError(f"{error.filename} is not installed", hint=f"apt-get install {error.filename}") from None
        self.channel = Channel(self._port, self.death)
        self._watcher = asyncio.create_task(self._watch())

    async def greet(self) -> None:
        """Give it our code.

        :raises Unreachable: it did not come up
        """
        try:
            await self.channel.deliver_code(code_archive().data, _GREETING_DEADLINE_S)
        except TimeoutError as late:
            raise Unreachable(f"no agent came up {late}", hint="try again") from None
        except (KernelDied, GuestError) as error:
            raise Unreachable(error.message, hint=error.hint) from None
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
            self.death.set_result(KernelDied(f"the connection to the machine is gone: {last}", hint=self._gone))
        else:
            last = said[-1].strip() if said else f"it ended with status {status}"
            lacking = re.search(r"^ModuleNotFoundError: No module named '(\w+)", last)
            if lacking:
                self.death.set_result(GuestError(f"the agent's Python has no {lacking[1]}", hint=f"pip install {lacking[1]}"))
            else:
                self.death.set_result(GuestError(f"the agent ended: {last}", hint=f"see {_kept(said)}" if said else "try again"))

    async def close(self) -> None:
        """Hang up; the agent undoes what it did and ends, and what reaches it with it."""
        await self.channel.close()
        with suppress(OSError):
            self._port.shutdown(socket.SHUT_WR)
        try:
            with suppress(TimeoutError):
                async with within(_END_DEADLINE_S):
                    await self._drain()
                    await asyncio.shield(self._watcher)
        finally:
            self._watcher.cancel()
            self._port.close()
            await process.end(self._process)

    async def _drain(self) -> None:
        """Take what it still says, so that it comes to its end."""
        with suppress(OSError):
            while await asyncio.get_running_loop().sock_recv(self._port, 1 << 16):
                continue


@asynccontextmanager
async def attached(argv: Sequence[str], gone: str = "") -> AsyncIterator[AttachedGuest]:
    """An agent that *argv* starts; it is gone, and all that it did, when the block ends.

    :param gone: what to do when the connection to it is lost
    :raises HostError: what starts it is not installed
    :raises Unreachable: it did not come up
    """
    guest = AttachedGuest(argv, gone)
    await guest.start()
    try:
        await guest.greet()
        yield guest
    finally:
        await guest.close()
