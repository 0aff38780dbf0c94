"""QEMU: its command line, and QMP through QEMU's own library. Nothing here knows what runs in the guest."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qemu.qmp import QMPClient, QMPError

from harness.errors import HostError, KernelDied
from harness.vm import console, process
from harness.vm.store import no_room

__all__ = ("BINARY", "COMMAND_LINE", "KVM", "MEMORY", "TCG", "Accelerator", "Machine", "Qemu", "qemu_identity", "qemu_version")

BINARY = "qemu-system-x86_64"
#: What every guest's kernel is told.
COMMAND_LINE = "console=ttyS0 panic=-1 oops=panic mitigations=off no_timer_check tsc=reliable random.trust_cpu=on"
#: A guest's memory in MiB.
MEMORY = 1024
_QMP_DEADLINE_S = 20


@dataclass(frozen=True, slots=True)
class Accelerator:
    """How guest instructions run.

    :param name: as a report says it, ``kvm`` or ``tcg``
    :param option: the value of ``-accel``
    """

    name: str
    option: str


#: One thread for all processors: with ``thread=multi`` guests panic when a static key patches code that another processor runs.
TCG = Accelerator("tcg", "tcg,thread=single,tb-size=256")
KVM = Accelerator("kvm", "kvm")
#: Without cmpxchg16b: QEMU 7.2 leaves rubbish in the flags after it, depending on the instructions before, and the next interrupt is a
#: double fault; seen in kmem_cache_alloc of Debian's 6.12.95+deb12. Kernels have another way then (this_cpu_cmpxchg16b_emu).
#: Without erms: kernels that have it clear pages byte by byte (``rep stosb``), which emulated takes twice the time of a whole page fault.
_EMULATED = "max,-cx16,-erms"


@dataclass(frozen=True, slots=True)
class Machine:
    """The virtual hardware of one guest.

    :param disks: read-only images, ``/dev/vda`` first
    :param memory: size in MiB
    :param ram: file that backs the RAM; ``None`` for anonymous memory
    :param shared: whether what the guest writes goes into *ram* (while a template is made) or stays private (a restored guest)
    """

    kernel: Path
    initrd: Path
    disks: tuple[Path, ...]
    accelerator: Accelerator
    memory: int = MEMORY
    processors: int = 2
    append: str = ""
    ram: Path | None = None
    shared: bool = False

    def arguments(self) -> list[str]:
        """QEMU's command line, without the descriptors that :class:`Qemu` adds."""
        backend = f"memory-backend-file,mem-path={self.ram},share={'on' if self.shared else 'off'}" if self.ram else "memory-backend-ram"
        append = f"{COMMAND_LINE} {self.append}"
        disks = [
            part
            for number, disk in enumerate(self.disks)
            for part in (
                "-drive", f"if=none,id=disk{number},file={disk},format=raw,read-only=on,file.locking=off",
                "-device", f"virtio-blk-pci,drive=disk{number}",
            )
        ]  # fmt: skip
        return [
            BINARY,
            # Nothing that is not named here: no default devices, no user's configuration, no display, no network.
            "-nodefaults", "-no-user-config", "-display", "none", "-net", "none",
            # A guest that breaks out finds no system calls to start programs or gain privileges with.
            "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
            "-machine", "pc,usb=off,vmport=off,hpet=off,memory-backend=ram",
            "-object", f"{backend},id=ram,size={self.memory}M",
            "-m", f"{self.memory}M", "-smp", str(self.processors),
            "-accel", self.accelerator.option, "-cpu", _EMULATED if self.accelerator is TCG else "host",
            # A guest that reboots has panicked: end, so that it is noticed.
            "-no-reboot",
            "-kernel", str(self.kernel), "-initrd", str(self.initrd), "-append", append.strip(),
            *disks,
            "-device", "virtio-serial-pci,max_ports=2",
        ]  # fmt: skip


def qemu_identity() -> str:
    """Which build of QEMU is installed: another one may not read a template's state. :raises HostError: none is"""
    found = shutil.which(BINARY)
    if not found:
        raise HostError(f"{BINARY} is not installed", mend="apt-get install qemu-system-x86")
    binary = Path(found).resolve()
    return f"{binary} {binary.stat().st_size} {binary.stat().st_mtime_ns}"


def qemu_version() -> str:
    """QEMU's version as it says it. :raises HostError: QEMU is not installed"""
    qemu_identity()
    shown = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (.+)", shown)
    return found[1] if found else shown.strip()


def _ended(status: int) -> str:
    if status == 0:
        return "it was switched off, or restarted"
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return f"QEMU {how} and the console does not say why"


class Qemu:
    """One running QEMU, controlled over QMP. All sockets are pairs that it inherits: there is no path that anyone else could open.

    :param console_file: gets the guest's console
    """

    def __init__(self, machine: Machine, console_file: Path, *, incoming: bool = False) -> None:
        self.machine = machine
        self.console_file = console_file
        self.port: socket.socket
        self._incoming = incoming
        self._qmp = QMPClient("nfharness")
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        """Start QEMU and connect to its monitor; the guest runs, or waits for its saved state if *incoming*."""
        monitor, monitor_theirs = socket.socketpair()
        self.port, port_theirs = socket.socketpair()
        for end in (self.port, port_theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        monitor.setblocking(False)
        argv = [
            *self.machine.arguments(),
            "-chardev", f"socket,id=monitor,fd={monitor_theirs.fileno()}", "-mon", "chardev=monitor,mode=control",
            "-chardev", f"file,id=console,path={self.console_file},append=on", "-serial", "chardev:console",
            "-chardev", f"socket,id=agent,fd={port_theirs.fileno()}",
            "-device", "virtserialport,chardev=agent,name=nfharness",
            *(("-incoming", "defer") if self._incoming else ()),
        ]  # fmt: skip
        qemu_identity()
        self.console_file.parent.mkdir(parents=True, exist_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            *process.bound(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(monitor_theirs.fileno(), port_theirs.fileno()),
            # Ctrl-C is for us to act on; QEMU must live until we have said goodbye, and dies with us in any case.
            start_new_session=True,
        )
        monitor_theirs.close()
        port_theirs.close()
        try:
            async with asyncio.timeout(_QMP_DEADLINE_S):
                await self._qmp.connect(monitor)
        except (TimeoutError, QMPError, OSError, EOFError) as error:
            raise await self._failed_to_start(error) from None
        except BaseException:
            await self.kill()
            raise

    async def _failed_to_start(self, error: Exception) -> HostError:
        await self.kill()
        assert self._process.stderr is not None  # noqa: S101
        said = (await self._process.stderr.read()).decode(errors="replace").strip()
        message = said.splitlines()[-1] if said else f"no answer from its monitor within {_QMP_DEADLINE_S} s ({error})"
        return HostError(f"QEMU does not start: {message}", mend="run 'nfharness doctor'")

    @property
    def pid(self) -> int:
        """QEMU's process number."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether QEMU has ended."""
        return self._process.returncode is not None

    async def execute(self, command: str, **arguments: Any) -> Any:
        """One QMP command. :raises HostError: QEMU refuses it or is gone"""
        try:
            async with asyncio.timeout(_QMP_DEADLINE_S):
                return await self._qmp.execute(command, {name.replace("_", "-"): value for name, value in arguments.items()})
        except (QMPError, TimeoutError, OSError) as error:
            raise HostError(f"QEMU's {command} failed: {error or type(error).__name__}", mend=f"see {self.console_file}") from None

    async def save(self, state: Path) -> None:
        """Stop the guest and write its device state; its RAM is in the shared file already."""
        await self._migration_capabilities()
        await self.execute("stop")
        fd = os.open(state, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            await self._migrate_over(fd, "migrate")
        finally:
            os.close(fd)

    async def load(self, state: Path) -> None:
        """Take over a saved device state and let the guest run."""
        await self._migration_capabilities()
        fd = os.open(state, os.O_RDONLY)
        try:
            await self._migrate_over(fd, "migrate-incoming")
        finally:
            os.close(fd)
        # It was saved while it was stopped, and comes back as it was saved.
        await self.execute("cont")

    async def _migration_capabilities(self) -> None:
        wanted = [{"capability": "x-ignore-shared", "state": True}]
        await self.execute("migrate-set-capabilities", capabilities=wanted)

    async def _migrate_over(self, fd: int, command: str) -> None:
        self._qmp.send_fd_scm(fd)
        await self.execute("getfd", fdname="state")
        await self.execute(command, uri="fd:state")
        async with asyncio.timeout(_QMP_DEADLINE_S):
            while (info := await self.execute("query-migrate")).get("status") not in ("completed", "failed", "cancelled"):
                await asyncio.sleep(0.005)
        if info["status"] != "completed":
            reason = info.get("error-desc", "no reason given")
            raise HostError(f"QEMU's {command} {info['status']}: {reason}", mend="nfharness image prune --templates")

    async def died(self) -> KernelDied | HostError:
        """Wait for QEMU to end; what that means for the guest. A host error if the guest was not to blame."""
        status = await self._process.wait()
        assert self._process.stderr is not None  # noqa: S101
        said = (await self._process.stderr.read()).decode(errors="replace").strip()
        if status == -signal.SIGBUS and self.machine.ram:
            # A page of the RAM file could not be allocated on disk, or lies beyond the end of a file that was cut short.
            return self._no_page(self.machine.ram)
        text = console.text(self.console_file)
        reason = console.reason(text) or (f"QEMU: {said.splitlines()[-1]}" if said else _ended(status))
        return KernelDied(f"the guest died: {reason}", console_tail=console.tail(text), mend=f"see {self.console_file}")

    def _no_page(self, ram: Path) -> HostError:
        if ram.exists() and ram.stat().st_size < self.machine.memory << 20:
            return HostError(f"{ram} is cut short", mend="nfharness image prune --templates")
        return no_room(ram)

    async def kill(self) -> None:
        """End QEMU at once. A guest has nothing to lose: its disks are read-only."""
        if self._process.returncode is None:
            # Not Process.kill(): that polls, and would take the exit status away from asyncio's own watcher.
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self.port.close()
        with suppress(Exception):
            await self._qmp.disconnect()
