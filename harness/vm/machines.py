"""Kernels that were running before we came: a Vagrant machine's, and the one under this very process."""

from __future__ import annotations

import asyncio
import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from harness.errors import GuestError, HostError
from harness.vm import kernels, vagrant
from harness.vm.attached import AttachedGuest, attached, session_command
from harness.vm.channel import Request
from harness.vm.kernels import Kernel
from harness.vm.kmodule import MODULE, module, module_key
from harness.vm.layers import layer
from harness.vm.paths import package_file
from harness.vm.progress import Progress
from harness.vm.userland import userland
from harness.vm.vagrant import Unreachable

__all__ = ("LocalMachine", "Purpose", "VagrantMachine")

Purpose = Literal["command", "trace", "scenarios", "tests", "bare"]
"""What is about to be done there: what is loaded before a guest is handed over. Only a guest of our own can be ``bare``: with nothing of
ours in its kernel."""

_T = TypeVar("_T")
_CONNECT_DEADLINE_S = 180
_RETRY_S = 2
#: Where a box has the module of its kernel, and the hash of the sources that it was built from.
_BOX_MODULE, _BOX_MODULE_KEY = "/usr/lib/nfharness/nfharness.ko", "/usr/lib/nfharness/module-key"


class _Machine(ABC):
    """A source of sessions, each with an agent of its own. The kernel is always the same one, and what is done to it stays done."""

    backend: str
    accelerator = None

    def __init__(self, kernel: Kernel, progress: Progress) -> None:
        self.kernel = kernel
        self.facts: dict[str, Any] = {"profile": None}
        self._progress = progress
        self._purpose: Purpose = "command"
        #: The session that was opened to prepare it: the first guest.
        self._first: tuple[AsyncExitStack, AttachedGuest] | None = None

    async def prepare(self, purpose: Purpose) -> None:
        """Open a session and load what it needs; what it finds out are the facts.

        :raises HostError: the machine cannot be reached
        :raises GuestError: its kernel lacks something
        """
        self._purpose = purpose
        async with AsyncExitStack() as stack:
            guest = await stack.enter_async_context(self._session())
            self._first = stack.pop_all(), guest

    @asynccontextmanager
    async def guest(self) -> AsyncIterator[AttachedGuest]:
        """A session."""
        if self._first is None:
            async with self._session() as guest:
                yield guest
            return
        (stack, guest), self._first = self._first, None
        async with stack:
            yield guest

    async def close(self) -> None:
        """Close a session that nobody has asked for."""
        if self._first is not None:
            (stack, _), self._first = self._first, None
            await stack.aclose()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[AttachedGuest]:
        async with AsyncExitStack() as stack:
            guest = await stack.enter_async_context(self._attached())
            if self._purpose != "command":
                kernel_object = None if self._purpose == "trace" else await self._kernel_object(guest)
                with self._progress.step(f"{self.backend}: preparing for {self._purpose}", expected_s=30):
                    self.facts = await guest.prepare(self._purpose, kernel_object)
            yield guest

    @abstractmethod
    def _attached(self) -> Any:
        """An agent there, as a context."""

    @abstractmethod
    async def _kernel_object(self, guest: AttachedGuest) -> str:
        """Path there of nfharness.ko for its kernel, of our sources."""


class LocalMachine(_Machine):
    """The kernel that we run on ourselves, as root, with sudo if need be."""

    backend = "local"

    def __init__(self, progress: Progress) -> None:
        system = os.uname()
        super().__init__(_running(system.release, system.version), progress)

    @asynccontextmanager
    async def _attached(self) -> AsyncIterator[AttachedGuest]:
        sudo = [] if os.geteuid() == 0 else ["sudo", "-n", "--"]
        try:
            async with attached([*sudo, *session_command()]) as guest:
                guest.cwd = str(Path.cwd())
                yield guest
        except Unreachable as error:
            mend = "run it as root, or let sudo work without a password" if sudo else error.mend
            raise Unreachable(f"no agent on this machine: {error.message}", mend=mend) from None

    async def _kernel_object(self, _guest: AttachedGuest) -> str:
        release = self.kernel.release
        if Path(_BOX_MODULE_KEY).exists():
            if Path(_BOX_MODULE_KEY).read_text() != module_key():
                raise GuestError(f"{_BOX_MODULE} was built from other sources than this tree's kmod/",
                                 mend="on the host: vagrant destroy, then vagrant up, which builds a new box; or check from there "
                                      "with --backend vagrant")  # fmt: skip
            return _BOX_MODULE
        built = package_file("kmod") / MODULE
        if not built.exists():
            raise GuestError(f"there is no {MODULE} for {release}", mend=f"make -C /lib/modules/{release}/build M={built.parent} modules")
        return str(built)


class VagrantMachine(_Machine):
    """A machine of Vagrant's, over its ssh.

    :param ssh: the command that reaches it
    """

    backend = "vagrant"

    def __init__(self, kernel: Kernel, ssh: vagrant.Ssh, progress: Progress) -> None:
        super().__init__(kernel, progress)
        self._ssh = ssh

    @classmethod
    async def found(cls, spec: str, progress: Progress) -> VagrantMachine:
        """The machine of the kernel that *spec* means. :raises HostError: there is none that is up"""
        with progress.step("vagrant: reaching the machine", expected_s=8):
            ssh = await vagrant.ssh(spec)
            release, version = await _patiently(ssh.kernel, ssh.directory)
        return cls(_running(release, version), ssh, progress)

    async def boot(self) -> str:
        """What no other boot of it has. :raises Unreachable: it does not answer, not even after a while"""
        return await _patiently(self._ssh.boot, self._ssh.directory)

    @classmethod
    async def refreshed(cls, spec: str, since: str, progress: Progress) -> str:
        """Put the machine of a kernel back to its snapshot; one that has none boots anew, unless it has done so by itself since a boot.

        :returns: which boot it is now
        :raises HostError: it cannot be restored, or does not come up again
        """
        with progress.step("vagrant: restoring the machine's snapshot, if it has one", expected_s=6):
            restored = await vagrant.restored(spec)
        machine = await cls.found(spec, progress)
        if restored:
            await machine._ssh.set_clock()
            return await machine.boot()
        with progress.step("vagrant: booting the machine anew", expected_s=45):
            return await machine._boot_anew(since)

    async def _boot_anew(self, since: str) -> str:
        async def other() -> str:
            boot = await self._ssh.boot()
            if boot == since:
                raise Unreachable("it does not boot anew", mend="")
            return boot

        if await self.boot() == since:
            await self._ssh.reboot()
        return await _patiently(other, self._ssh.directory)

    @asynccontextmanager
    async def _attached(self) -> AsyncIterator[AttachedGuest]:
        async with AsyncExitStack() as stack:
            guest = await _patiently(lambda: stack.enter_async_context(attached(self._ssh.command(session_command()))), self._ssh.directory)
            guest.networked = True
            yield guest

    async def _kernel_object(self, guest: AttachedGuest) -> str:
        """The box's own if it is of the same sources, else one that is built here."""
        _, key, _ = await guest.output(Request(argv=["cat", _BOX_MODULE_KEY]))
        if key.decode() == module_key():
            return _BOX_MODULE
        if not self.kernel.packages:
            message = f"the machine runs {self.kernel.release}, which is none of Debian's: no module can be built for it"
            raise HostError(message, mend="let it use a box of 'nfharness vagrant box'")
        root = userland(self._progress)
        built = module(layer(self.kernel, root, self._progress), root, self._progress) / MODULE
        place = f"/run/nfharness/{module_key()}.ko"
        await guest.call("harness.guest.files:receive", place, stdin=built.read_bytes())
        return place


async def _patiently(reach: Callable[[], Awaitable[_T]], directory: Path) -> _T:
    """What *reach* returns, once it does: a kernel that has panicked boots again by itself. :raises Unreachable: it does not"""
    deadline = time.monotonic() + _CONNECT_DEADLINE_S
    while True:
        try:
            return await reach()
        except Unreachable as error:
            if time.monotonic() > deadline:
                mend = f"vagrant reload --force, in {directory}"
                raise Unreachable(f"the Vagrant machine cannot be reached: {error.message}", mend=mend) from None
        await asyncio.sleep(_RETRY_S)


def _running(release: str, version: str) -> Kernel:
    """A kernel that runs: one that Debian has, or one of which only its name is known."""
    known = next((kernel for kernel in kernels.catalogue_at_hand() if kernel.release == release), None)
    return known or Kernel(release, version, kernels.series_of(release), "", ())
