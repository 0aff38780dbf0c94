"""``nfharness shell``: a terminal in a guest."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import click

from harness.backends.names import Backend
from harness.backends.sources import open_guest
from harness.cli.options import backend_option, kernel_option, with_option
from harness.cli.relay import in_background, relay
from harness.errors import UserError
from harness.host.keyboard import raw_terminal
from harness.host.progress import Progress
from harness.vm.channel import Request

__all__ = ("command",)


@click.command("shell")
@kernel_option
@backend_option
@with_option
def command(spec: str, backend: Backend, with_packages: tuple[str, ...]) -> None:
    """Open an interactive terminal in a fresh guest.

    Window size and Ctrl-C work as in any terminal; Ctrl-D or 'exit' ends it, and everything done in a fresh guest is gone.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError("standard input and output are not a terminal", hint="use 'nfharness exec -- COMMAND'")
    sys.exit(asyncio.run(_shell(spec, backend, with_packages)))


async def _shell(spec: str, backend: Backend, with_packages: tuple[str, ...]) -> int:
    async with open_guest(spec, Progress(), backend, "command", with_packages=with_packages) as opened:
        size = os.get_terminal_size()
        environment = {"TERM": os.environ.get("TERM", "linux"), "PS1": f"{opened.kernel.release}:\\w# "}
        request = Request(argv=["bash", "--norc"], env=environment, cwd=opened.guest.cwd, terminal=(size.lines, size.columns))
        remote = await opened.guest.open(request)

        def resized() -> None:
            now = os.get_terminal_size()
            in_background(remote.resize(now.lines, now.columns))

        asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, resized)
        with raw_terminal():
            # Keys go to the guest as they are; a signal is meant for us, and a shell in the guest would not heed it anyway.
            return await relay(remote, signals=())
