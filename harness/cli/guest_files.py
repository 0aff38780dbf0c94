"""``--file``: a user's files in a command's directory in a guest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import UserError
from harness.vm.guest import Guest

__all__ = ("copy_into",)


async def copy_into(guest: Guest, files: Sequence[Path]) -> None:
    """Copy files into the directory in which a fresh guest's commands run.

    :raises UserError: one cannot be read, or commands run in a directory of the host's
    """
    if files and guest.cwd is not None:
        raise UserError("--file copies into a guest, and COMMAND is to run on this machine", hint="leave it out: COMMAND runs right here")
    for file in files:
        try:
            data, mode = file.read_bytes(), file.stat().st_mode & 0o777
        except OSError as error:
            raise UserError(f"{file}: {error.strerror}", hint="name files that can be read") from None
        await guest.call("harness.guest.files:receive", f"/root/{file.name}", mode, stdin=data)
