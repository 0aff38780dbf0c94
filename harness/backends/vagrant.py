"""A Vagrant machine as a source of guests: where Vagrant has it, and its snapshot."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from harness.backends.attached import AttachedGuest, Unreachable
from harness.backends.machine import running_kernel
from harness.backends.ssh import Ssh, SshMachine, output
from harness.boxes.vagrantfile import machine_name
from harness.errors import HostError
from harness.host.deadlines import Deadline
from harness.host.paths import package_file, run_dir
from harness.host.progress import Progress
from harness.images.kernels import Kernel

__all__ = ("SNAPSHOT", "VagrantMachine", "directory", "restored", "ssh")

#: The snapshot of a machine to which it is put back where our own guest would be replaced.
SNAPSHOT = "nfharness"
_CONNECT_DEADLINE_S = 180
_RETRY_S = 2
_GONE = "a kernel that panics boots again by itself; one that hangs does after 'vagrant reload --force'"
_T = TypeVar("_T")


def directory() -> Path:
    """Where the Vagrantfile is: ``VAGRANT_CWD``, as for Vagrant itself, else the project's own."""
    return Path(os.environ.get("VAGRANT_CWD") or package_file("vagrant"))


async def ssh(spec: str) -> Ssh:
    """How to reach the machine of the kernel that *spec* means.

    :raises HostError: no Vagrant, or no machine that is up
    """
    if not shutil.which("vagrant"):
        raise HostError("vagrant is not installed", hint="see 'nfharness doctor --backend vagrant'")
    place = directory()
    status, out, err = await _vagrant(spec, "ssh-config")
    if status:
        up = f"cd {place} && NFHARNESS_KERNEL={spec} vagrant up"
        raise HostError(f"the Vagrant machine of kernel {spec} is not up: {_why(err)}", hint=up)
    host = next(line.split()[1] for line in out.splitlines() if line.startswith("Host "))
    kept = run_dir() / "vagrant"
    kept.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix=f"{host}-", suffix=".ssh", dir=kept)
    with os.fdopen(handle, "w") as file:
        file.write(out)
    _forget_older(kept)
    return Ssh(host, f"vagrant reload, in {place}", _GONE, Path(name))


async def restored(spec: str) -> bool:
    """Put the machine of a kernel back to its snapshot ``nfharness``; whether it has one.

    :raises HostError: Vagrant cannot do it
    """
    _, out, _ = await _vagrant(spec, "snapshot", "list")
    if SNAPSHOT not in out.split():
        return False
    status, _, err = await _vagrant(spec, "snapshot", "restore", "--no-start", after=(SNAPSHOT,))
    if status:
        raise HostError(f"snapshot {SNAPSHOT} of the Vagrant machine of kernel {spec} cannot be restored: {_why(err)}",
                        hint=f"vagrant snapshot delete {SNAPSHOT}, in {directory()}")
    return True


class VagrantMachine(SshMachine):
    """A machine of Vagrant's, over its ssh.

    :param way: the command that reaches it
    """

    def __init__(self, kernel: Kernel, way: Ssh, progress: Progress) -> None:
        super().__init__(kernel, way, progress)
        self.backend = "vagrant"

    @classmethod
    async def found(cls, spec: str, progress: Progress) -> VagrantMachine:
        """The machine of the kernel that *spec* means.

        :raises HostError: there is none that is up
        """
        with progress.step("vagrant: reaching the machine", expected_s=8):
            way = await ssh(spec)
            release, version = await _patiently(way.kernel)
        return cls(running_kernel(release, version), way, progress)

    async def boot(self) -> str:
        """What no other boot of it has.

        :raises Unreachable: it does not answer, not even after a while
        """
        return await _patiently(self._ssh.boot)

    @classmethod
    async def refreshed(cls, spec: str, since: str, progress: Progress) -> str:
        """Put the machine of a kernel back to its snapshot; one that has none boots anew, unless it has done so by itself since a boot.

        :returns: which boot it is now
        :raises HostError: it cannot be restored, or does not come up again
        """
        with progress.step("vagrant: restoring the machine's snapshot, if it has one", expected_s=6):
            is_back = await restored(spec)
        machine = await cls.found(spec, progress)
        if is_back:
            await machine._ssh.set_clock()
            return await machine.boot()
        with progress.step("vagrant: booting the machine anew", expected_s=45):
            return await machine._boot_anew(since)

    async def _boot_anew(self, since: str) -> str:
        async def other() -> str:
            boot = await self._ssh.boot()
            if boot == since:
                raise Unreachable("it does not boot anew", hint="")
            return boot

        if await self.boot() == since:
            await self._ssh.reboot()
        return await _patiently(other)

    @asynccontextmanager
    async def _attached(self) -> AsyncIterator[AttachedGuest]:
        async with AsyncExitStack() as stack:
            yield await _patiently(lambda: stack.enter_async_context(super(VagrantMachine, self)._attached()))


async def _patiently(reach: Callable[[], Awaitable[_T]]) -> _T:
    """What *reach* returns, once it does: a kernel that has panicked boots again by itself.

    :raises Unreachable: it does not
    """
    deadline = Deadline(_CONNECT_DEADLINE_S)
    while True:
        try:
            return await reach()
        except Unreachable as error:
            if not deadline.left():
                hint = f"vagrant reload --force, in {directory()}"
                raise Unreachable(f"the Vagrant machine cannot be reached: {error.message}", hint=hint) from None
        await asyncio.sleep(_RETRY_S)


async def _vagrant(spec: str, *words: str, after: Sequence[str] = ()) -> tuple[int, str, str]:
    """A command about the machine of a kernel.

    :param after: words after the machine's name
    """
    machine = [] if "VAGRANT_CWD" in os.environ else [machine_name(spec)]
    return await output(["vagrant", *words, *machine, *after], directory(), NFHARNESS_KERNEL=spec)


def _forget_older(kept: Path, count: int = 20) -> None:
    for old in sorted(kept.glob("*.ssh"), key=lambda path: path.stat().st_mtime)[:-count]:
        old.unlink(missing_ok=True)


def _why(text: str) -> str:
    """What our own part in the Vagrantfile said, or else Vagrant's first sentence."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ours = [line.removeprefix("nfharness: error: ") for line in lines if line.startswith("nfharness: error: ")]
    return (ours or lines or ["it does not say why"])[0]

