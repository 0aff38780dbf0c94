"""Vagrant, as far as it is ours to call: where its machine is, and how ssh reaches it."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HostError
from harness.vm.paths import package_file, run_dir

__all__ = ("SNAPSHOT", "Ssh", "Unreachable", "directory", "machine_name", "restored", "ssh")

#: The snapshot of a machine to which it is put back where a guest of our own would be replaced.
SNAPSHOT = "nfharness"
_DEADLINE_S = 60


class Unreachable(HostError):
    """Nobody answers there now."""


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
        """Release and version of its kernel, as ``uname`` says them. :raises Unreachable: it does not answer"""
        release, version = (await self._said("uname -r; uname -v")).splitlines()[:2]
        return release, version

    async def boot(self) -> str:
        """What no other boot of it has. :raises Unreachable: it does not answer"""
        return (await self._said("cat /proc/sys/kernel/random/boot_id")).strip()

    async def reboot(self) -> None:
        """Let it boot anew at once, in a second. :raises Unreachable: it does not answer"""
        await self._said("sync; (sleep 1; reboot -f) </dev/null >/dev/null 2>&1 &")

    async def set_clock(self) -> None:
        """Give it our time. :raises Unreachable: it does not answer"""
        await self._said(f"date --set @{time.time():.3f}")

    async def _said(self, script: str) -> str:
        status, out, err = await _output(self.command(["sh", "-c", script]), None)
        if status:
            raise Unreachable(_last(err), mend=f"vagrant reload, in {self.directory}")
        return out


def directory() -> Path:
    """Where the Vagrantfile is: ``VAGRANT_CWD``, as for Vagrant itself, else the project's own."""
    return Path(os.environ.get("VAGRANT_CWD") or package_file("vagrant"))


def machine_name(spec: str) -> str:
    """What the project's Vagrantfile calls the machine of a kernel."""
    return "kernel-" + re.sub(r"[^A-Za-z0-9.]+", "-", spec).strip("-")


async def ssh(spec: str) -> Ssh:
    """How to reach the machine of the kernel that *spec* means. :raises HostError: no Vagrant, or no machine that is up"""
    if not shutil.which("vagrant"):
        raise HostError("vagrant is not installed", mend="see 'nfharness doctor --backend vagrant'")
    place = directory()
    status, out, err = await _vagrant(spec, "ssh-config")
    if status:
        up = f"cd {place} && NFHARNESS_KERNEL={spec} vagrant up"
        raise HostError(f"the Vagrant machine of kernel {spec} is not up: {_why(err)}", mend=up)
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
                        mend=f"vagrant snapshot delete {SNAPSHOT}, in {directory()}")
    return True


async def _vagrant(spec: str, *words: str, after: Sequence[str] = ()) -> tuple[int, str, str]:
    """A command about the machine of a kernel. :param after: words after the machine's name"""
    machine = [] if "VAGRANT_CWD" in os.environ else [machine_name(spec)]
    return await _output(["vagrant", *words, *machine, *after], directory(), NFHARNESS_KERNEL=spec)


def _forget_older(kept: Path, count: int = 20) -> None:
    for old in sorted(kept.glob("*.ssh"), key=lambda path: path.stat().st_mtime)[:-count]:
        old.unlink(missing_ok=True)


async def _output(argv: Sequence[str], cwd: Path | None, **environment: str) -> tuple[int, str, str]:
    running = await asyncio.create_subprocess_exec(
        *argv, cwd=cwd, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        async with asyncio.timeout(_DEADLINE_S):
            out, err = await running.communicate()
    except TimeoutError:
        raise HostError(f"{argv[0]} did not answer within {_DEADLINE_S} s", mend=f"try it by hand: {shlex.join(argv)}") from None
    finally:
        if running.returncode is None:
            running.kill()
    assert running.returncode is not None  # noqa: S101
    return running.returncode, out.decode(errors="replace"), err.decode(errors="replace")


def _why(text: str) -> str:
    """What our own part in the Vagrantfile said, or else Vagrant's first sentence."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ours = [line.removeprefix("nfharness: error: ") for line in lines if line.startswith("nfharness: error: ")]
    return (ours or lines or ["it does not say why"])[0]


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it does not say why")
