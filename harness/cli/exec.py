"""``nfharness exec``."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import click

from harness.backends.machine import Purpose
from harness.backends.names import Backend
from harness.backends.sources import OpenGuest, open_guest
from harness.cli import report
from harness.cli.guest_files import copy_into
from harness.cli.options import append_option, backend_option, files_option, kernel_option, with_option
from harness.cli.relay import relay
from harness.cli.say import say
from harness.errors import GuestError, KernelDied
from harness.host.progress import Progress
from harness.outcome import profile
from harness.vm.channel import Request
from harness.vm.ending import read, recorded
from harness.vm.guest import Guest

__all__ = ("command", "refused", "relay")

_WARM = "harness.agent.interpreter:main"
_HINTS = {
    errno.ENOENT: "nfharness exec --with PACKAGE brings what Debian has; these commands are there: nfharness exec -- ls /usr/bin /usr/sbin",
    errno.EACCES: "make it executable, or start its interpreter: nfharness exec -- sh FILE",
    errno.ENOEXEC: "start it with its interpreter: nfharness exec -- sh FILE",
    errno.E2BIG: "give fewer arguments, or pass them on standard input: … | nfharness exec -- xargs COMMAND",
}
_NOT_BARE = "does not list its hooks itself (nfnetlink_hook): nfharness.ko and its probes are in it"
_EMPTY = "COMMAND is an empty word: look whether a variable that it stands in is set"


@click.command("exec", context_settings={"allow_interspersed_args": False})
@kernel_option
@backend_option
@with_option
@files_option
@click.option("--python", is_flag=True, help="Run what would follow python3, with scapy, pyroute2, bcc and pytest imported already.")
@click.option("--bare", is_flag=True,
              help="In a kernel that has nothing of nfharness (no module, no probes, no taint), if it lists its hooks itself "
                   "(nfnetlink_hook). 5.10 and 6.1 do not: they have all three, and a note says so.")
@append_option
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write there how it ended, as JSON: exit status, why the guest died, its console.")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENT]...")
def command(
    spec: str, backend: Backend, *, with_packages: tuple[str, ...], files: tuple[Path, ...], python: bool, bare: bool, append: str,
    record: Path | None, argv: tuple[str, ...],
) -> None:
    """Run COMMAND in a fresh guest.

    Standard input, output and error, the exit status and signals are passed through; streams may be binary and of any length.
    What COMMAND changes in a fresh guest is gone when it ends; a Vagrant machine and this one keep it. The same signal three times
    within two seconds ends the guest itself.
    """
    purpose: Purpose = "bare" if bare else "tests" if python else "command"
    opening = open_guest(spec, Progress(), backend, purpose, append, with_packages=with_packages)
    sys.exit(asyncio.run(_exec(opening, argv, files, python=python, bare=bare, record=record)))


async def _exec(
    opening: AbstractAsyncContextManager[OpenGuest], argv: tuple[str, ...], files: tuple[Path, ...], *, python: bool, bare: bool,
    record: Path | None,
) -> int:
    async with opening as opened:
        if bare and opened.source.facts["profile"]:
            say(f"nfharness: {opened.kernel.release} {_NOT_BARE}", error=True)
        await copy_into(opened.guest, files)
        # The guest's arguments are the bytes that ours were, whatever this host's locale made of them.
        words = [os.fsencode(part).decode("utf-8", "surrogateescape") for part in argv]
        request = _warm(words, opened) if python else Request(argv=words, cwd=opened.guest.cwd)
        if record is None:
            return await _run(opened.guest, request, argv[0])
        try:
            async with recorded(opened.guest, record) as ending:
                ending.status = await _run(opened.guest, request, argv[0])
                return ending.status
        except KernelDied as error:
            if read(record):
                error.console_tail = ""  # the record has it
            raise


def _warm(words: list[str], opened: OpenGuest) -> Request:
    return Request(python=_WARM, args=[words], env={profile.VARIABLE: json.dumps(opened.source.facts["profile"])})


async def _run(guest: Guest, request: Request, name: str) -> int:
    try:
        remote = await guest.open(request)
    except OSError as error:
        return refused(name, error)
    return await relay(remote)


def refused(name: str, error: OSError) -> int:
    """Say that a command cannot be run in the guest; the exit status to end with, as a shell has it."""
    hint = _HINTS.get(error.errno or 0, "try it in a guest by hand: nfharness shell") if name else _EMPTY
    shown = name or "''"
    report(GuestError(f"{shown}: {error.strerror} (in the guest)", hint=hint))
    return 127 if error.errno == errno.ENOENT else 126
