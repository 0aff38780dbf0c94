"""The host's end of the wire: guest processes with their streams, over one socket that QEMU carries to the agent."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from harness import errors, wire
from harness.host.deadlines import within
from harness.wire import Kind, WireFrame

__all__ = ("Channel", "Remote", "Request")

_START_DEADLINE_S = 60


@dataclass(frozen=True, slots=True)
class Request:
    """A guest process to start: a command, or a Python function ``module:function`` called with *args* in a fork of the agent.

    :param terminal: rows and columns of the terminal to run it in; ``None`` for three pipes
    """

    argv: Sequence[str] = ()
    python: str | None = None
    args: Sequence[Any] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    terminal: tuple[int, int] | None = None

    def payload(self) -> bytes:
        """The request as JSON: the payload of :attr:`harness.wire.Kind.OPEN`."""
        body: dict[str, Any] = {"env": dict(self.env), "cwd": self.cwd, "terminal": self.terminal}
        body |= {"python": self.python, "args": list(self.args)} if self.python else {"argv": list(self.argv)}
        return json.dumps(body).encode()


class Remote:
    """A running guest process. Output that is not read stops its writer, and nobody else."""

    def __init__(self, channel: Channel, stream: int) -> None:
        self._channel = channel
        self.stream = stream
        self._output: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self._credit = wire.WINDOW
        self._may_write = asyncio.Event()
        self._started: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._ended: asyncio.Future[dict[str, int]] = asyncio.get_running_loop().create_future()

    async def started(self) -> int:
        """Wait for the process to start; its number in the guest.

        :raises OSError: the command cannot be run, as ``execve`` said
        """
        try:
            async with within(_START_DEADLINE_S) as deadline:
                answer = await self._channel.or_death(self._started)
        except TimeoutError:
            message = f"the guest's agent did not start a process {deadline}"
            raise errors.GuestError(message, hint="try again; if it stays so: nfharness image prune --templates") from None
        if "errno" in answer:
            raise OSError(answer["errno"], answer["message"])
        return int(answer["pid"])

    async def write(self, data: bytes) -> None:
        """Write to the process's standard input; wait while the guest has enough of it."""
        view = memoryview(data)
        while view and not self._ended.done():
            while not self._credit and not self._ended.done():
                self._may_write.clear()
                await self._channel.or_death_of(self._may_write.wait())
            part = view[: min(wire.CHUNK, self._credit)]
            self._credit -= len(part)
            await self._channel.send(Kind.STDIN, self.stream, bytes(part))
            view = view[len(part) :]

    async def end_input(self) -> None:
        """Close the process's standard input."""
        await self._channel.send(Kind.STDIN, self.stream)

    async def read(self) -> tuple[int, bytes] | None:
        """The next piece of output, as (1 for stdout or 2 for stderr, bytes); ``None`` once it has ended and all is read."""
        piece = await self._output.get()
        if piece is not None and not self._ended.done():
            with suppress(errors.NfharnessError):  # what came before the guest died is still there to be read
                await self._channel.send(Kind.CREDIT, self.stream, wire.CREDIT.pack(piece[0], len(piece[1])))
        return piece

    async def signal(self, number: int) -> None:
        """Send a signal to the process's group."""
        await self._channel.send(Kind.SIGNAL, self.stream, bytes([number]))

    async def resize(self, rows: int, columns: int) -> None:
        """Give the process's terminal another size."""
        await self._channel.send(Kind.RESIZE, self.stream, rows.to_bytes(2, "big") + columns.to_bytes(2, "big"))

    async def hang_up(self, channel: int) -> None:
        """Close the reading end of the process's stdout (1) or stderr (2)."""
        await self._channel.send(Kind.HANGUP, self.stream, bytes([channel]))

    async def wait(self) -> int:
        """Wait for the process to end; its exit status, minus the signal's number if one ended it.

        :raises KernelDied: the guest did not live to tell
        """
        ended = await self._channel.or_death(self._ended)
        return -int(ended["signal"]) if "signal" in ended else int(ended["status"])

    def on_frame(self, frame: WireFrame) -> None:
        """A frame for this stream has come."""
        if frame.kind is Kind.STARTED:
            self._started.set_result(json.loads(frame.payload))
        elif frame.kind in (Kind.STDOUT, Kind.STDERR) and frame.payload:
            self._output.put_nowait((1 if frame.kind is Kind.STDOUT else 2, frame.payload))
        elif frame.kind is Kind.CREDIT:
            self._credit += wire.CREDIT.unpack(frame.payload)[1]
            self._may_write.set()
        elif frame.kind is Kind.FAILED:
            self._fail(agent_error(json.loads(frame.payload), "the guest's agent"))
        elif frame.kind is Kind.EXIT:
            self._ended.set_result(json.loads(frame.payload))
            self._may_write.set()
            self._output.put_nowait(None)

    def _fail(self, error: Exception) -> None:
        """The agent could not do what it was asked for this process."""
        waited = self._ended if self._started.done() else self._started
        if not waited.done():
            waited.set_exception(error)
        self.abandon()

    def abandon(self) -> None:
        """The guest is gone: readers and writers stop waiting."""
        self._may_write.set()
        self._output.put_nowait(None)


class Channel:
    """Frames to and from one agent.

    :param port: our end of the port's socket
    :param death: completes with the error to raise when the guest dies
    :ivar heard: whether the agent has said anything
    """

    def __init__(self, port: socket.socket, death: asyncio.Future[errors.NfharnessError]) -> None:
        self._port = port
        self._death = death
        self._streams: dict[int, Remote] = {}
        self._next_stream = 1
        self._sending = asyncio.Lock()
        self._decoder = wire.Decoder()
        self._answers: asyncio.Queue[WireFrame] = asyncio.Queue()
        self._reader: asyncio.Task[None] | None = None
        self._pong: asyncio.Future[None] | None = None
        self.heard = False
        port.setblocking(False)

    async def or_death(self, awaited: asyncio.Future[Any]) -> Any:
        """The future's result.

        :raises KernelDied: the guest died first
        """
        await asyncio.wait([awaited, self._death], return_when=asyncio.FIRST_COMPLETED)
        if awaited.done():
            return awaited.result()
        raise self._death.result()

    async def or_death_of(self, awaited: Coroutine[Any, Any, Any]) -> Any:
        """What a coroutine returns; it does not go on when nobody waits for it any more.

        :raises KernelDied: the guest died first
        """
        task = asyncio.ensure_future(awaited)
        try:
            return await self.or_death(task)
        finally:
            task.cancel()

    async def deliver_code(self, archive: bytes, deadline_s: float) -> None:
        """Wait for stage 0 of a guest that boots, and give it the code it becomes the agent with."""
        loop = asyncio.get_running_loop()
        greeting = b""
        async with within(deadline_s):
            while len(greeting) < len(wire.GREETING):
                piece = await self.or_death_of(loop.sock_recv(self._port, len(wire.GREETING) - len(greeting)))
                if not piece:
                    raise await self._death
                greeting += piece
            if greeting != wire.GREETING:
                raise errors.GuestError(f"the guest greets with {greeting!r}", hint="nfharness image prune --all")
            await self._send_all(len(archive).to_bytes(8, "big") + archive)

    def start(self) -> None:
        """Read frames from now on."""
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(self._port, 1 << 18):
                for frame in self._decoder.feed(data):
                    self._dispatch(frame)
        except OSError:
            pass
        for remote in self._streams.values():
            remote.abandon()

    def _dispatch(self, frame: WireFrame) -> None:
        self.heard = True
        remote = self._streams.get(frame.stream)
        if frame.kind in (Kind.READY, Kind.FAILED) and remote is None:
            self._answers.put_nowait(frame)
        elif frame.kind is Kind.PONG:
            if self._pong and not self._pong.done():
                self._pong.set_result(None)
        elif remote:
            remote.on_frame(frame)
            if frame.kind is Kind.EXIT:
                del self._streams[frame.stream]

    async def _send_all(self, data: bytes) -> None:
        try:
            await self.or_death_of(asyncio.get_running_loop().sock_sendall(self._port, data))
        except OSError:
            raise (await self._death) from None

    async def send(self, kind: Kind, stream: int = 0, payload: bytes = b"") -> None:
        """Send one frame; waits while the guest takes none."""
        async with self._sending:
            await self._send_all(wire.encode(WireFrame(kind, stream, payload)))

    async def answer(self, deadline_s: float, what: str) -> dict[str, Any]:
        """The agent's READY.

        :raises GuestError: it FAILED
        :raises KernelDied: it said nothing in time
        """
        waiting = asyncio.ensure_future(self._answers.get())
        try:
            async with within(deadline_s) as deadline:
                frame: WireFrame = await self.or_death(waiting)
        except TimeoutError:
            message = f"the guest's agent did not answer {deadline} while {what}"
            raise errors.KernelDied(message, hint="try again; if it stays so: nfharness image prune --templates") from None
        finally:
            waiting.cancel()
        answer: dict[str, Any] = json.loads(frame.payload)
        if frame.kind is Kind.FAILED:
            raise agent_error(answer, what)
        return answer

    async def ping(self) -> None:
        """Return when the agent has shown that it is there."""
        self._pong = asyncio.get_running_loop().create_future()
        await self.send(Kind.PING)
        await self.or_death(self._pong)

    async def open(self, request: Request) -> Remote:
        """Start a guest process.

        :raises OSError: the command cannot be run
        """
        payload = request.payload()
        if len(payload) > wire.LIMIT:
            raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
        stream, self._next_stream = self._next_stream, self._next_stream + 1
        remote = self._streams[stream] = Remote(self, stream)
        await self.send(Kind.OPEN, stream, payload)
        try:
            await remote.started()
        except OSError:
            del self._streams[stream]
            raise
        return remote

    async def close(self) -> None:
        """Stop reading."""
        if self._reader:
            self._reader.cancel()


def agent_error(answer: dict[str, Any], what: str) -> errors.NfharnessError:
    """The error that a guest's JSON describes: one of ours, or an unexpected exception's last line."""
    if "error" in answer:
        kind = getattr(errors, answer["error"], errors.GuestError)
        error: errors.NfharnessError = kind(answer["message"], hint=answer.get("hint"))
        return error
    trace = answer["traceback"].strip()
    return errors.GuestError(f"{what} failed in the guest: {trace.splitlines()[-1]}", hint=f"the guest's traceback:\n{trace}")
