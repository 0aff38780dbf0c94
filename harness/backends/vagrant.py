"""A Vagrant machine as a source of guests: where Vagrant has it, how ssh reaches it, and its snapshot."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from harness.backends.attached import AttachedGuest, Unreachable, attached, session_command
from harness.backends.machine import BOX_MODULE, BOX_MODULE_KEY, AttachedMachine, running_kernel
from harness.boxes.vagrantfile import machine_name
from harness.errors import HostError
from harness.host import process
from harness.host.deadlines import Deadline, within
from harness.host.paths import package_file, run_dir
from harness.host.progress import Progress
from harness.images.kernels import Kernel
from harness.images.kmodule import MODULE, module, module_key
from harness.images.layers import layer
from harness.images.userland import userland
from harness.vm.channel import Request

__all__ = ("SNAPSHOT", "Ssh", "VagrantMachine", "directory", "restored", "ssh")

#: The snapshot of a machine to which it is put back where our own guest would be replaced.
SNAPSHOT = "nfharness"
_DEADLINE_S = 60
_CONNECT_DEADLINE_S = 180
_RETRY_S = 2
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Ssh:
    """The way to a machine.

    :param directory: of its Vagrantfile
    :param configuration: what ``vagrant ssh-config`` said
    :param host: the machine's name in that
    """

    directory: Path
    configuration: Path
    host: str

    def command(self, argv: Sequence[str]) -> list[str]:
        """*argv* such that it runs on the machine, as root."""
        options = ["LogLevel=ERROR", "BatchMode=yes", "ConnectTimeout=20", "ServerAliveInterval=10", "ServerAliveCountMax=4"]
        given = [part for option in options for part in ("-o", option)]
        # sudo hides which connection this is from what it starts; a tracer must know it to leave it out.
        words = ["sudo", "-n", "--", "env"]
        return ["ssh", "-F", str(self.configuration), "-T", *given, self.host,
                f'{shlex.join(words)} "SSH_CONNECTION=$SSH_CONNECTION" {shlex.join(argv)}']

    async def kernel(self) -> tuple[str, str]:
        """Release and version of its kernel, as ``uname`` says them.

        :raises Unreachable: it does not answer
        """
        release, version = (await self._said("uname -r; uname -v")).splitlines()[:2]
        return release, version

    async def boot(self) -> str:
        """What no other boot of it has.

        :raises Unreachable: it does not answer
        """
        return (await self._said("cat /proc/sys/kernel/random/boot_id")).strip()

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
        status, out, err = await _output(self.command(["sh", "-c", script]), None)
        if status:
            raise Unreachable(_last(err), hint=f"vagrant reload, in {self.directory}")
        return out


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
    return Ssh(place, Path(name), host)


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


class VagrantMachine(AttachedMachine):
    """A machine of Vagrant's, over its ssh.

    :param ssh: the command that reaches it
    """

    backend = "vagrant"

    def __init__(self, kernel: Kernel, ssh: Ssh, progress: Progress) -> None:
        super().__init__(kernel, progress)
        self._ssh = ssh

    @classmethod
    async def found(cls, spec: str, progress: Progress) -> VagrantMachine:
        """The machine of the kernel that *spec* means.

        :raises HostError: there is none that is up
        """
        with progress.step("vagrant: reaching the machine", expected_s=8):
            way = await ssh(spec)
            release, version = await _patiently(way.kernel, way.directory)
        return cls(running_kernel(release, version), way, progress)

    async def boot(self) -> str:
        """What no other boot of it has.

        :raises Unreachable: it does not answer, not even after a while
        """
        return await _patiently(self._ssh.boot, self._ssh.directory)

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
        return await _patiently(other, self._ssh.directory)

    @asynccontextmanager
    async def _attached(self) -> AsyncIterator[AttachedGuest]:
        async with AsyncExitStack() as stack:
            guest = await _patiently(lambda: stack.enter_async_context(attached(self._ssh.command(session_command()))), self._ssh.directory)
            guest.networked = True
            yield guest

    async def _kernel_object(self, guest: AttachedGuest) -> str:
        """The box's own if it is of the same sources, else one that is built here."""
        _, key, _ = await guest.output(Request(argv=["cat", BOX_MODULE_KEY]))
        if key.decode() == module_key():
            return BOX_MODULE
        if not self.kernel.packages:
            message = f"the machine runs {self.kernel.release}, which is none of Debian's: no module can be built for it"
            raise HostError(message, hint="let it use a box of 'nfharness vagrant box'")
        root = userland(self._progress)
        built = module(layer(self.kernel, root, self._progress), root, self._progress) / MODULE
        place = f"/run/nfharness/{module_key()}.ko"
        await guest.call("harness.guest.files:receive", place, stdin=built.read_bytes())
        return place


async def _patiently(reach: Callable[[], Awaitable[_T]], directory: Path) -> _T:
    """What *reach* returns, once it does: a kernel that has panicked boots again by itself.

    :raises Unreachable: it does not
    """
    deadline = Deadline(_CONNECT_DEADLINE_S)
    while True:
        try:
            return await reach()
        except Unreachable as error:
            if not deadline.left():
                hint = f"vagrant reload --force, in {directory}"
                raise Unreachable(f"the Vagrant machine cannot be reached: {error.message}", hint=hint) from None
        await asyncio.sleep(_RETRY_S)


async def _vagrant(spec: str, *words: str, after: Sequence[str] = ()) -> tuple[int, str, str]:
    """A command about the machine of a kernel.

    :param after: words after the machine's name
    """
    machine = [] if "VAGRANT_CWD" in os.environ else [machine_name(spec)]
    return await _output(["vagrant", *words, *machine, *after], directory(), NFHARNESS_KERNEL=spec)


def _forget_older(kept: Path, count: int = 20) -> None:
    for old in sorted(kept.glob("*.ssh"), key=lambda path: path.stat().st_mtime)[:-count]:
        old.unlink(missing_ok=True)


async def _output(argv: Sequence[str], cwd: Path | None, **environment: str) -> tuple[int, str, str]:
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


def _why(text: str) -> str:
    """What our own part in the Vagrantfile said, or else Vagrant's first sentence."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ours = [line.removeprefix("nfharness: error: ") for line in lines if line.startswith("nfharness: error: ")]
    return (ours or lines or ["it does not say why"])[0]


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it does not say why")
