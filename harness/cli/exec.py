"""``nfharness exec`` and the plumbing between a guest process and our own standard streams."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

import click

from harness.cli.options import kernel_option
from harness.vm.channel import Remote, Request
from harness.vm.progress import Progress
from harness.vm.session import session

__all__ = ("command", "exit_status", "refused", "relay")

_sending: set[asyncio.Future[None]] = set()
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@kernel_option
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENT]...")
def command(spec: str, argv: tuple[str, ...]) -> None:
    """Run COMMAND in a fresh guest.

    Standard input, output and error, the exit status and signals are passed through; streams may be binary and of any length.
    What COMMAND changes in the guest is gone when it ends.
    """
    sys.exit(asyncio.run(_exec(spec, argv)))


async def _exec(spec: str, argv: tuple[str, ...]) -> int:
    async with session(spec, Progress()) as opened:
        try:
            remote = await opened.guest.open(Request(argv=argv))
        except OSError as error:
            return refused(argv[0], error)
        return await relay(remote)


def refused(name: str, error: OSError) -> int:
    """Say that a command cannot be run in the guest; the exit status to end with, as a shell has it."""
    print(f"nfharness: error: {name}: {error.strerror} (in the guest)", file=sys.stderr)
    return 127 if isinstance(error, FileNotFoundError) else 126


async def relay(remote: Remote, *, stdout: int = 1) -> int:
    """Connect a guest process to our own streams until it ends; the exit status to end with ourselves.

    :param stdout: our descriptor that gets its standard output
    """
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, _pass_on, remote, number)
    feeding = loop.create_task(_feed(remote))
    try:
        while piece := await remote.read():
            channel, data = piece
            try:
                await loop.run_in_executor(None, _write_all, stdout if channel == 1 else channel, data)
            except BrokenPipeError:
                await remote.hang_up(channel)
        return exit_status(await remote.wait())
    finally:
        feeding.cancel()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _pass_on(remote: Remote, number: signal.Signals) -> None:
    _sending.add(task := asyncio.ensure_future(remote.signal(number)))
    task.add_done_callback(_sending.discard)


def exit_status(status: int) -> int:
    """As a shell says it: 128 + n for a process that signal n ended."""
    return 128 - status if status < 0 else status


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


async def _feed(remote: Remote) -> None:
    """Copy our standard input to the guest. A thread reads it: not every input can be polled, and one that never ends must not hold us."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes] = asyncio.Queue(4)

    def read() -> None:
        try:
            while True:
                data = os.read(0, 1 << 16)
                asyncio.run_coroutine_threadsafe(pieces.put(data), loop).result()
                if not data:
                    return
        except (OSError, RuntimeError, asyncio.CancelledError):
            return

    threading.Thread(target=read, daemon=True).start()
    while data := await pieces.get():
        await remote.write(data)
    await remote.end_input()
