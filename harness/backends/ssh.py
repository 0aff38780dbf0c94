"""A machine that ssh reaches, as a source of guests: the user's own way there, or Vagrant's."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.backends.attached import AttachedGuest, Unreachable, attached, session_command
from harness.backends.local import DIST_PACKAGES
from harness.backends.machine import BOX_MODULE, BOX_MODULE_KEY, AttachedMachine, is_emulated, running_kernel
from harness.backends.names import Reached
from harness.errors import HostError
from harness.host import process
from harness.host.deadlines import within
from harness.host.progress import Progress
from harness.images.kernels import Kernel
from harness.images.kmodule import MODULE, module, module_key
from harness.images.layers import layer
from harness.images.userland import userland
from harness.vm.channel import Request

__all__ = ("Ssh", "SshMachine", "output")

_DEADLINE_S = 60
_OPTIONS = ("LogLevel=ERROR", "BatchMode=yes", "ConnectTimeout=20", "ServerAliveInterval=10", "ServerAliveCountMax=4")
#: sudo hides which connection this is from what it starts; a tracer must know it to leave it out.
_AS_ROOT = 'if [ "$(id -u)" = 0 ]; then exec env "SSH_CONNECTION=$SSH_CONNECTION" "$@"; ' \
           'else exec sudo -n -- env "SSH_CONNECTION=$SSH_CONNECTION" "$@"; fi'


@dataclass(frozen=True, slots=True)
class Ssh:
    """The way to a machine.

    :param host: its name in ssh's configuration
    :param mend: what to do if it does not answer
    :param gone: what to do once it has answered and does not any more
    :param configuration: a file in the place of the user's own
    """

    host: str
    mend: str
    gone: str
    configuration: Path | None = None

    def command(self, argv: Sequence[str]) -> list[str]:
        """*argv* such that it runs on the machine, as root."""
        given = [part for option in _OPTIONS for part in ("-o", option)]
        file = ["-F", str(self.configuration)] if self.configuration else []
        return ["ssh", *file, "-T", *given, self.host, shlex.join(["sh", "-c", _AS_ROOT, "sh", *argv])]

    async def kernel(self) -> tuple[str, str]:
        """Release and version of its kernel, as ``uname`` says them.

        :raises Unreachable: it does not answer
        """
        release, version = (await self._said("uname -r; uname -v")).splitlines()[:2]
        return release, version

    async def boot(self) -> str:
        """The boot ID (``/proc/sys/kernel/random/boot_id``).

        :raises Unreachable: it does not answer
        """
        return (await self._said("cat /proc/sys/kernel/random/boot_id")).strip()

    async def processors(self) -> str:
        """The machine's ``/proc/cpuinfo``.

        :raises Unreachable: it does not answer
        """
        return await self._said("cat /proc/cpuinfo")

    async def reboot(self) -> None:
        """Let it boot anew at once, in a second.

        :raises Unreachable: it does not answer
        """
        await self._said("sync; (sleep 1; reboot -f) </dev/null >/dev/null 2>&1 &")

    async def set_clock(self) -> None:
        """Give it our time.

        :raises Unreachable: it does not answer
        """
        await self._said(f"date --set @{time.time():.3f}")

    async def _said(self, script: str) -> str:
        status, out, err = await output(self.command(["sh", "-c", script]), None)
        if status:
            raise Unreachable(_last(err), hint=self.mend)
        return out


class SshMachine(AttachedMachine):
    """A machine that ssh reaches.

    :param way: the command that reaches it
    :param python: path there of the Python that becomes the agent
    """

    def __init__(self, kernel: Kernel, way: Ssh, progress: Progress, python: str = "python3") -> None:
        super().__init__(kernel, progress)
        self.backend = f"ssh={way.host}"
        self._ssh = way
        self._python = python

    @classmethod
    async def at(cls, there: Reached, progress: Progress) -> SshMachine:
        """The machine that a user has named.

        :raises HostError: it does not answer, or nobody can be root there
        """
        host = there.host
        way = Ssh(host, f"try it by hand: ssh -o BatchMode=yes {host} true", f"see whether it is up: ssh {host} uptime")
        try:
            with progress.step(f"reaching {host}", expected_s=3):
                release, version = await way.kernel()
        except Unreachable as error:
            raise Unreachable(f"{host} cannot be reached: {error.message}", hint=error.hint) from None
        return cls(running_kernel(release, version), way, progress, there.python)

    async def is_emulated(self) -> bool:
        """Whether it says that it is QEMU's emulation.

        :raises Unreachable: it does not answer
        """
        return is_emulated(await self._ssh.processors())

    @asynccontextmanager
    async def _attached(self) -> AsyncIterator[AttachedGuest]:
        async with attached(self._ssh.command(session_command(self._python, DIST_PACKAGES)), gone=self._ssh.gone) as guest:
            guest.networked = True
            yield guest

    async def _kernel_object(self, guest: AttachedGuest) -> str:
        """A box's own if it is of the same sources, else one that is built here."""
        _, key, _ = await guest.output(Request(argv=["cat", BOX_MODULE_KEY]))
        if key.decode() == module_key():
            return BOX_MODULE
        if not self.kernel.packages:
            message = f"the machine runs {self.kernel.release}, which is none of Debian's: no module can be built for it"
            raise HostError(message, hint=f"build kmod/ there, and copy it to {BOX_MODULE} and {module_key()} into {BOX_MODULE_KEY}")
        root = userland(self._progress)
        built = module(layer(self.kernel, root, self._progress), root, self._progress) / MODULE
        place = f"/run/nfharness/{module_key()}.ko"
        await guest.call("harness.guest.files:receive", place, stdin=built.read_bytes())
        return place


async def output(argv: Sequence[str], cwd: Path | None, **environment: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command.

    :raises HostError: it does not end
    """
    running = await process.start(
        argv, cwd=cwd, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        async with within(_DEADLINE_S) as deadline:
            out, err = await running.communicate()
    except TimeoutError:
        raise HostError(f"{argv[0]} did not answer {deadline}", hint=f"try it by hand: {shlex.join(argv)}") from None
    finally:
        await process.end(running)
    assert running.returncode is not None  # noqa: S101
    return running.returncode, out.decode(errors="replace"), err.decode(errors="replace")


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it does not say why")
