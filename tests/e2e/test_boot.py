"""Guests that do not come up: an error that shows the console, soon, and no QEMU left."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from harness.backends.sources import made_ready, open_guest
from harness.errors import EmulatorFailed, HostError, KernelDied, NfharnessError
from harness.host.progress import Progress
from harness.vm import guest, qemu
from harness.vm.channel import Request
from harness.vm.code import CodeArchive, code_archive
from harness.vm.qemu import Machine


@pytest.fixture(scope="module")
def machine() -> Machine:
    """What the default kernel's guests are, without a template."""
    _, template = asyncio.run(made_ready("6.12", Progress(quiet=True)))
    return replace(template.machine, ram=None)


def _boot(machine: Machine, console: Path, code: CodeArchive | None = None) -> NfharnessError:
    async def boot() -> None:
        async with guest.booted(machine, code or code_archive(), console):
            pass

    with pytest.raises(NfharnessError) as caught:
        asyncio.run(boot())
    return caught.value


def test_a_kernel_that_panics_at_boot(machine: Machine, tmp_path: Path) -> None:
    error = _boot(replace(machine, append="rdinit=/nowhere root=/dev/nowhere"), tmp_path / "console")
    assert isinstance(error, KernelDied)
    assert "the guest died: Kernel panic - not syncing: VFS: Unable to mount root fs" in error.message
    assert "Kernel panic" in error.console_tail
    assert error.hint == f"see {tmp_path / 'console'}"


def test_an_image_that_is_no_file_system(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(1 << 20))
    error = _boot(replace(machine, disks=(tmp_path / "image", machine.disks[1])), tmp_path / "console")
    assert isinstance(error, KernelDied)
    assert error.message == "the guest died: nfharness: no userland"


def test_a_guest_that_never_answers(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "_BOOT_DEADLINE_S", 4)
    error = _boot(replace(machine, append="rdinit=/bin/busybox -- sleep 1000 console=ttyS0"), tmp_path / "console")
    assert isinstance(error, KernelDied)


def test_a_kernel_that_is_none(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "vmlinuz").write_bytes(b"none")
    error = _boot(replace(machine, kernel=tmp_path / "vmlinuz"), tmp_path / "console")
    assert isinstance(error, HostError | KernelDied)
    assert "QEMU" in error.message


def test_more_memory_than_there_is(machine: Machine, tmp_path: Path) -> None:
    error = _boot(replace(machine, memory=1 << 30), tmp_path / "console")
    assert isinstance(error, HostError)
    assert error.message.startswith("QEMU does not start: ")
    assert error.hint == "end something that takes much memory, or raise the limit: ulimit -v"


def test_a_page_of_the_ram_that_the_disk_has_no_room_for_before_the_monitor_answers(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU gets SIGBUS then, at a moment that depends on who fills the disk meanwhile."""
    monkeypatch.setattr(Machine, "arguments", lambda _machine: ["sh", "-c", "kill -BUS $$", "sh"])
    (tmp_path / "ram").touch()
    os.truncate(tmp_path / "ram", machine.memory << 20)
    error = _boot(replace(machine, ram=tmp_path / "ram", shared=True), tmp_path / "console")
    assert isinstance(error, HostError)
    assert error.message.startswith("the disk is full: "), error.message


def test_a_guest_whose_processors_stand_still_is_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "_BEAT_S", 0.1)

    async def stopped() -> None:
        async with open_guest("6.12", Progress(quiet=True)) as opened:
            monkeypatch.setattr(guest, "_SILENCE_S", 2)
            monkeypatch.setattr(qemu, "_QMP_DEADLINE_S", 2)  # asked in vain where its processors are
            assert isinstance(opened.guest, guest.VirtualGuest)
            os.kill(opened.guest.qemu.pid, signal.SIGSTOP)
            await opened.guest.output(Request(argv=["true"]))

    with pytest.raises(KernelDied, match="the guest did not answer within 2 s"):
        asyncio.run(stopped())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_a_qemu_that_is_killed_from_outside_is_not_the_kernels_death(number: signal.Signals) -> None:
    async def killed() -> None:
        async with open_guest("6.12", Progress(quiet=True)) as opened:
            assert isinstance(opened.guest, guest.VirtualGuest)
            os.kill(opened.guest.qemu.pid, number)
            await opened.guest.output(Request(argv=["sleep", "60"]))

    with pytest.raises(EmulatorFailed, match="not the kernel's"):
        asyncio.run(killed())
