"""The plumbing between a guest process and our own standard streams and signals."""

from __future__ import annotations

import asyncio
import os
import queue
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any

from harness.cli.signals import Interrupted, make_deaf, restored
from harness.errors import HostError, NfharnessError
from harness.vm.channel import Remote

__all__ = ("exit_status", "in_background", "relay")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_IMPATIENCE_S = 2.0

_running: set[asyncio.Future[None]] = set()


async def relay(remote: Remote, *, stdout: int = 1, signals: Sequence[signal.Signals] = _SIGNALS) -> int:
    """Connect a guest process to our own streams until it ends; the exit status to end with ourselves.

    :param stdout: our descriptor that gets its standard output
    :param signals: what is passed on to it
    :raises HostError: our standard output or error cannot be written
    :raises Interrupted: the same signal came three times within two seconds: the guest process does not heed it
    """
    feeding = asyncio.create_task(_feed(remote))
    writer = _Writer()
    with _passing_on(remote, signals):
        try:
            while piece := await remote.read():
                channel, data = piece
                try:
                    await writer.write(stdout if channel == 1 else channel, data)
                except BrokenPipeError:
                    await remote.hang_up(channel)
                except OSError as error:
                    name = "standard output" if channel == 1 else "standard error"
                    raise HostError(f"{name}: {error.strerror}", hint="send it somewhere that takes it") from None
            return exit_status(await remote.wait())
        finally:
            feeding.cancel()


def exit_status(status: int) -> int:
    """The exit status as a shell has it: 128 + n for a process that signal n ended."""
    return 128 - status if status < 0 else status


def in_background(sending: Any) -> None:
    """Send something to the guest without waiting; that it died is for others to notice."""

    async def send() -> None:
        with suppress(NfharnessError):
            await sending

    _running.add(task := asyncio.ensure_future(send()))
    task.add_done_callback(_running.discard)


@contextmanager
def _passing_on(remote: Remote, signals: Sequence[signal.Signals]) -> Iterator[None]:
    """Pass on the signals that we get to the guest process, less those that are ignored already.

    :raises Interrupted: one came three times. It is raised in the block, not in the loop: the loop would cancel every task, those that
        hear the guest as well, and the guest has still to be asked where it hangs
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101
    decisive: list[signal.Signals] = []
    times: dict[signal.Signals, list[float]] = {number: [] for number in signals}

    def pass_on(number: signal.Signals) -> None:
        now = time.monotonic()
        times[number] = [moment for moment in times[number] if now - moment < _IMPATIENCE_S] + [now]
        if len(times[number]) < 3:
            in_background(remote.signal(number))
        elif not decisive:
            decisive.append(number)
            make_deaf()
            task.cancel()

    heeded = [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]
    with restored(heeded, loop.remove_signal_handler):
        for number in heeded:
            loop.add_signal_handler(number, pass_on, number)
        try:
            yield
        except asyncio.CancelledError:
            if not decisive:
                raise
            task.uncancel()
            raise Interrupted(decisive[0]) from None


class _Writer:
    """Writes in a thread that does not keep us from ending: a reader that has stopped reading must not."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._work: queue.SimpleQueue[tuple[int, bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    async def write(self, fd: int, data: bytes) -> None:
        """Write all of *data*.

        :raises OSError: as ``write`` says
        """
        done: asyncio.Future[None] = self._loop.create_future()
        self._work.put((fd, data, done))
        await done

    def _run(self) -> None:
        while True:
            fd, data, done = self._work.get()
            error: OSError | None = None
            try:
                _write_all(fd, data)
            except OSError as raised:
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(_complete, done, error)


def _complete(done: asyncio.Future[None], error: OSError | None) -> None:
    if not done.done():
        if error:
            done.set_exception(error)
        else:
            done.set_result(None)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # a process that shares it made it non-blocking
            select.select([], [fd], [])


async def _feed(remote: Remote) -> None:
    """Copy our standard input to the guest. A thread reads it: not every input can be polled, and one that never ends must not hold us."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes] = asyncio.Queue(4)

    def put(data: bytes) -> None:
        asyncio.run_coroutine_threadsafe(pieces.put(data), loop).result()

    threading.Thread(target=_read_all, args=(put,), daemon=True).start()
    with suppress(NfharnessError):  # the reader of the output notices that the guest died
        while data := await pieces.get():
            await remote.write(data)
        await remote.end_input()


def _read_all(put: Callable[[bytes], None]) -> None:
    """Standard input to its end, which an error is too."""
    with suppress(RuntimeError, CancelledError):  # the loop is closed, or about to be: nobody wants it any more
        while True:
            try:
                data = os.read(0, 1 << 16)
            except BlockingIOError:
                select.select([0], [], [])
                continue
            except OSError:
                data = b""
            put(data)
            if not data:
                return
