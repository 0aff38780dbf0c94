"""The kernel that this very machine runs, as a source of guests: as root, with sudo if need be."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from harness.backends.attached import AttachedGuest, Unreachable, attached, session_command
from harness.backends.machine import BOX_MODULE, BOX_MODULE_KEY, AttachedMachine, running_kernel
from harness.errors import GuestError
from harness.host.paths import package_file
from harness.host.progress import Progress
from harness.images.kmodule import MODULE, module_key

__all__ = ("DIST_PACKAGES", "LocalMachine", "local_module")

#: Where Debian's packages of Python modules lie, which a virtual environment does not look into.
DIST_PACKAGES = "/usr/lib/python3/dist-packages"


class LocalMachine(AttachedMachine):
    """The kernel that we run on ourselves, as root, with sudo if need be."""

    backend = "local"

    def __init__(self, progress: Progress) -> None:
        system = os.uname()
        super().__init__(running_kernel(system.release, system.version), progress)

    @asynccontextmanager
    async def _attached(self) -> AsyncIterator[AttachedGuest]:
        sudo = [] if os.geteuid() == 0 else ["sudo", "-n", "--"]
        try:
            # Our own Python has what the lock names; BCC comes with the distribution.
            async with attached([*sudo, *session_command(sys.executable, DIST_PACKAGES)]) as guest:
                guest.cwd = str(Path.cwd())
                yield guest
        except Unreachable as error:
            refused = sudo and "sudo:" in error.message
            hint = "run it as root, or let sudo work without a password" if refused else f"{error.hint}; nfharness doctor --backend local"
            raise Unreachable(f"no agent on this machine: {error.message}", hint=hint) from None

    async def _kernel_object(self, _guest: AttachedGuest) -> str:
        return str(local_module(self.kernel.release))


def local_module(release: str) -> Path:
    """nfharness.ko for the kernel that runs here.

    :raises GuestError: there is none, or it is of other sources or another kernel
    """
    if Path(BOX_MODULE_KEY).exists():
        if Path(BOX_MODULE_KEY).read_text() != module_key():
            raise GuestError(f"{BOX_MODULE} was built from other sources than this tree's kmod/",
                             hint="on the host: vagrant destroy, then vagrant up, which builds a new box; or check from there "
                                  "with --backend vagrant")  # fmt: skip
        return Path(BOX_MODULE)
    built = package_file("kmod") / MODULE
    hint = f"make -C /lib/modules/{release}/build M={shlex.quote(str(built.parent))} modules"
    if not built.exists():
        raise GuestError(f"there is no {MODULE} for {release}", hint=hint)
    made_for = re.search(rb"vermagic=(\S+)", built.read_bytes())
    if made_for and made_for[1].decode() != release:
        raise GuestError(f"{built} is for {made_for[1].decode()}, and {release} runs", hint=hint)
    return built
