"""QEMU: its command line, and QMP through QEMU's own library. Nothing here knows what runs in the guest."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from qemu.qmp import ExecuteError, QMPClient, QMPError

from harness.errors import EmulatorFailed, HostError, KernelDied, NfharnessError
from harness.host import process
from harness.host.deadlines import within
from harness.host.paths import cache_dir
from harness.host.store import no_room, write_whole
from harness.images.kernels import Kernel
from harness.vm import console
from harness.vm.serial import Serial

__all__ = (
    "BINARY", "COMMAND_LINE", "COUNTING", "KVM", "MEMORY", "TCG", "Accelerator", "Machine", "Qemu", "processor_identity", "qemu_identity",
    "qemu_version", "reads_sealed_ram",
)  # fmt: skip

BINARY = "qemu-system-x86_64"
#: What every guest's kernel is told. Its log holds what a kernel that warns at each registration says in a step.
COMMAND_LINE = "console=ttyS0 panic=-1 oops=panic mitigations=off no_timer_check tsc=reliable random.trust_cpu=on log_buf_len=4M"
#: A guest's memory in MiB.
MEMORY = 1024
_QMP_DEADLINE_S = 20
_END_S = 2
#: What QEMU says of a signal that it ends on in good order.
_TERMINATED = "terminating on signal"
_MORE_MEMORY = "end something that takes much memory, or raise the limit: ulimit -v"
_CRASHES = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP, signal.SIGSYS)


@dataclass(frozen=True, slots=True)
class Accelerator:
    """How guest instructions run.

    :param name: as a report says it, ``kvm`` or ``tcg``
    :param option: the value of ``-accel``
    :param icount: the value of ``-icount``: the guest's clock counts its instructions; empty: it goes with the host's
    """

    name: str
    option: str
    icount: str = ""


#: One thread for all processors: with ``thread=multi`` guests panic when a static key patches code that another processor runs.
TCG = Accelerator("tcg", "tcg,thread=single,tb-size=256")
KVM = Accelerator("kvm", "kvm")
#: An instruction takes a nanosecond of the guest's time, whatever the host is busy with; while the guest idles its clock is the host's.
COUNTING = Accelerator("tcg", TCG.option, "shift=0,sleep=on")
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
    :param sealed: *ram* is only read; for a QEMU that :func:`reads_sealed_ram`
    :param packages: read-only image that is plugged in once a restored guest runs, to lie over its root; no template depends on it
    :param built: the kernel, if a tree that may have its debug information is here
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
    sealed: bool = False
    packages: Path | None = None
    built: Kernel | None = None

    def identity(self) -> list[str]:
        """QEMU's command line, less the names of the files' directories: what decides whether a saved state can be restored."""
        disks = tuple(Path(disk.parent.name, disk.name) for disk in self.disks)
        return replace(self, kernel=Path(self.kernel.parent.name), initrd=Path(self.initrd.name), disks=disks).arguments()

    def arguments(self) -> list[str]:
        """QEMU's command line, without the descriptors that :class:`Qemu` adds."""
        share = "on" if self.shared else "off,readonly=on,rom=off" if self.sealed else "off"
        backend = f"memory-backend-file,mem-path={_value(self.ram)},share={share}" if self.ram else "memory-backend-ram"
        append = f"{COMMAND_LINE} {self.append}"
        disks = [
            part
            for number, disk in enumerate(self.disks)
            for part in (
                "-drive", f"if=none,id=disk{number},file={_value(disk)},format=raw,read-only=on,file.locking=off",
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
            "-accel", self.accelerator.option, "-cpu", "host" if self.accelerator is KVM else _EMULATED,
            *(("-icount", self.accelerator.icount) if self.accelerator.icount else ()),
            # A guest that reboots has panicked: end, so that it is noticed.
            "-no-reboot",
            "-kernel", str(self.kernel), "-initrd", str(self.initrd), "-append", append.strip(),
            *disks,
            "-device", "virtio-serial-pci,max_ports=2",
        ]  # fmt: skip


def _value(path: Path) -> str:
    """A path as the value of one of QEMU's options, which end at a comma that is not doubled."""
    return str(path).replace(",", ",,")


def qemu_identity() -> str:
    """The SHA-256 of QEMU's program: another build may not read a template's state.

    It is kept in the cache, with the file's size and time, where the cache can be written.

    :raises HostError: QEMU is not installed
    """
    found = shutil.which(BINARY)
    if not found:
        raise HostError(f"{BINARY} is not installed", hint="apt-get install qemu-system-x86")
    return _digest(Path(found).resolve())


@cache
def _digest(binary: Path) -> str:
    kept, found = cache_dir() / "qemu.json", binary.stat()
    seen = {"binary": str(binary), "size": found.st_size, "mtime_ns": found.st_mtime_ns}
    with suppress(OSError, ValueError, TypeError):
        record = json.loads(kept.read_text())
        if {name: record.get(name) for name in seen} == seen:
            return str(record["sha256"])
    with binary.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with suppress(OSError, HostError):  # the next process reads all of the program again, then
        write_whole(kept, json.dumps({**seen, "sha256": digest}))
    return digest


def processor_identity() -> str:
    """What a guest with KVM sees of this host's processor (``-cpu host``): its model and its features."""
    text = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    found = dict(re.findall(r"^(vendor_id|cpu family|model|model name|stepping|flags)\s*: (.*)$", text, re.MULTILINE))
    return f"{found.get('model name', 'unknown')} {hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:12]}"


def reads_sealed_ram() -> bool:
    """Whether QEMU maps a RAM file that it may not write to, without making the guest's memory read-only (``rom=off``, since 8.2)."""
    shown = subprocess.run([BINARY, "-object", "memory-backend-file,help"], capture_output=True, text=True, check=False).stdout
    return re.search(r"^\s*rom=", shown, re.MULTILINE) is not None


def qemu_version() -> str:
    """QEMU's version as it says it.

    :raises HostError: QEMU is not installed
    """
    qemu_identity()
    shown = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (.+)", shown)
    return found[1] if found else shown.strip()


def judged(status: int, said: str, shown: str, see: str) -> NfharnessError:
    """Whose fault it is that QEMU has ended: the guest's, which resets or halts, the host's, which kills, or QEMU's own.

    :param status: as :class:`subprocess.Popen` has it
    :param said: by QEMU, on standard error
    :param shown: the end of the guest's console
    :param see: for the hint: where all of the console is
    """
    told = f": {said.splitlines()[-1].removeprefix(f'{BINARY}: ')}" if said else ""
    by_signal = status < 0 or _TERMINATED in said
    # A guest cannot send QEMU a signal, whatever its console shows; but QEMU may crash over what a guest that panicked does.
    if (console.PANIC in shown and (not by_signal or -status in _CRASHES)) or (status == 0 and not by_signal):
        reason = console.reason(shown) or "it was switched off, or restarted"
        return KernelDied(f"the guest died: {reason}", console_tail=console.tail(shown), hint=see)
    if status > 0:
        return HostError(f"QEMU ended with status {status}{told}", hint=see)
    name = _named(-status) if status else "a signal"
    if -status in _CRASHES and told.endswith(os.strerror(errno.ENOMEM)):
        return EmulatorFailed(f"QEMU crashed, by {name}{told}: that is this host's doing, not the kernel's", hint=_MORE_MEMORY)
    if -status in _CRASHES:
        return EmulatorFailed(f"QEMU crashed, by {name}{told}: that is the emulator's fault, not the kernel's", hint=f"try again; {see}")
    hint = "look for it in this host's log (dmesg, journalctl -k): its OOM killer wants more memory, or fewer guests at once"
    return EmulatorFailed(f"QEMU was killed by {name}{told}: that is this host's doing, not the kernel's", hint=hint)


def _named(number: int) -> str:
    """A signal's name; those of real time have none in Python."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Qemu:
    """One running QEMU, controlled over QMP. All sockets are pairs that it inherits: there is no path that anyone else could open.

    :param console: gets what the guest writes there; closed with it
    """

    def __init__(self, machine: Machine, console: Serial, *, incoming: bool = False) -> None:
        self.machine = machine
        self.console = console
        self.port: socket.socket
        self._incoming = incoming
        self._qmp = QMPClient("nfharness")
        self._process: asyncio.subprocess.Process
        self._death: asyncio.Task[NfharnessError]
        self._said = ""

    async def start(self) -> None:
        """Start QEMU and connect to its monitor; the guest runs, or waits for its saved state if *incoming*."""
        monitor, monitor_theirs = socket.socketpair()
        self.port, port_theirs = socket.socketpair()
        for end in (self.port, port_theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        monitor.setblocking(False)
        console_theirs = self.console.connect()
        argv = [
            *self.machine.arguments(),
            "-chardev", f"socket,id=monitor,fd={monitor_theirs.fileno()}", "-mon", "chardev=monitor,mode=control",
            "-chardev", f"socket,id=console,fd={console_theirs.fileno()}", "-serial", "chardev:console",
            "-chardev", f"socket,id=agent,fd={port_theirs.fileno()}",
            "-device", "virtserialport,chardev=agent,name=nfharness",
            *(("-incoming", "defer") if self._incoming else ()),
        ]  # fmt: skip
        qemu_identity()
        self._process = await process.start(
            process.bound(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(monitor_theirs.fileno(), port_theirs.fileno(), console_theirs.fileno()),
            # Ctrl-C is for us to act on; QEMU must live until we have said goodbye, and dies with us in any case.
            start_new_session=True,
        )
        monitor_theirs.close()
        port_theirs.close()
        console_theirs.close()
        self._death = asyncio.create_task(self._ended())
        try:
            async with within(_QMP_DEADLINE_S):
                await self._qmp.connect(monitor)
        except (TimeoutError, QMPError, OSError, EOFError) as error:
            raise await self._failed_to_start(error) from None
        except BaseException:
            await self.kill()
            raise

    async def _failed_to_start(self, error: Exception) -> HostError:
        died = None if isinstance(error, TimeoutError) else await self._died_of_it()
        await self.kill()
        if isinstance(died, HostError) and not self._said:
            return died  # by a signal: of a full disk, of this host's killing, or crashed
        message = self._said.splitlines()[-1] if self._said else f"no answer from its monitor within {_QMP_DEADLINE_S} s ({error})"
        hint = _MORE_MEMORY if message.endswith(os.strerror(errno.ENOMEM)) else "run 'nfharness doctor'"
        return HostError(f"QEMU does not start: {message}", hint=hint)

    @property
    def pid(self) -> int:
        """QEMU's process number."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether QEMU has ended."""
        return self._process.returncode is not None

    async def execute(self, command: str, **arguments: Any) -> Any:
        """Execute one QMP command.

        :raises HostError: QEMU refuses it, or has ended
        :raises KernelDied: QEMU has ended, and that is the guest's fault
        """
        try:
            async with within(_QMP_DEADLINE_S):
                return await self._qmp.execute(command, {name.replace("_", "-"): value for name, value in arguments.items()})
        except (QMPError, TimeoutError, OSError) as error:
            if not isinstance(error, (ExecuteError, TimeoutError)) and (died := await self._died_of_it()):
                raise died from None
            raise HostError(f"QEMU's {command} failed: {error or type(error).__name__}", hint=self.console.see) from None

    async def save(self, state: Path) -> None:
        """Stop the guest and write its device state; its RAM is in the shared file already."""
        await self._migration_capabilities()
        await self.execute("stop")
        fd = os.open(state, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
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

    async def plug(self, image: Path, name: str) -> None:
        """Plug in a read-only disk, which the guest finds by its serial number *name* when it looks at its PCI bus again."""
        file = {"driver": "file", "filename": str(image), "locking": "off", "read-only": True}
        await self.execute("blockdev-add", node_name=name, driver="raw", read_only=True, file=file)
        await self.execute("device_add", id=name, driver="virtio-blk-pci", drive=name, serial=name)

    async def _migration_capabilities(self) -> None:
        wanted = [{"capability": "x-ignore-shared", "state": True}]
        await self.execute("migrate-set-capabilities", capabilities=wanted)

    async def _migrate_over(self, fd: int, command: str) -> None:
        self._qmp.send_fd_scm(fd)
        await self.execute("getfd", fdname="state")
        await self.execute(command, uri="fd:state")
        async with within(_QMP_DEADLINE_S):
            while (info := await self.execute("query-migrate")).get("status") not in ("completed", "failed", "cancelled"):
                await asyncio.sleep(0.005)
        if info["status"] != "completed":
            reason = info.get("error-desc", "no reason given")
            raise HostError(f"QEMU's {command} {info['status']}: {reason}", hint="nfharness image prune --templates")

    async def died(self) -> NfharnessError:
        """Wait for QEMU to end; what that means: :class:`KernelDied`, or a host error if the guest was not to blame."""
        return await asyncio.shield(self._death)

    async def _died_of_it(self) -> NfharnessError | None:
        """What it means that QEMU has ended, if it has just done so: its monitor notices first."""
        try:
            async with within(_END_S):
                return await self.died()
        except TimeoutError:
            return None

    async def _ended(self) -> NfharnessError:
        status = await self._process.wait()
        assert self._process.stderr is not None  # noqa: S101
        self._said = (await self._process.stderr.read()).decode(errors="replace").strip()
        if status == -signal.SIGBUS and self.machine.ram:
            # A page of the RAM file could not be allocated on disk, or lies beyond the end of a file that was cut short.
            return self._no_page(self.machine.ram)
        return judged(status, self._said, self.console.text(), self.console.see)

    def _no_page(self, ram: Path) -> HostError:
        if ram.exists() and ram.stat().st_size < self.machine.memory << 20:
            return HostError(f"{ram} is cut short", hint="nfharness image prune --templates")
        return no_room(ram)

    async def kill(self) -> None:
        """End QEMU at once. A guest has nothing to lose: its disks are read-only."""
        try:
            await process.end(self._process)
            await asyncio.shield(self._death)
        finally:
            process.disconnect(self._process)
        self.console.close()
        self.port.close()
        with suppress(Exception):
            await self._qmp.disconnect()
