"""A template is built once more if an emulated guest dies while it boots, and only then."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import KernelDied
from harness.vm import template
from harness.vm.progress import Progress
from harness.vm.qemu import KVM, TCG, Machine

MACHINE = Machine(Path("vmlinuz"), Path("initrd"), (), TCG)


@pytest.fixture
def boots(monkeypatch: pytest.MonkeyPatch) -> list[KernelDied | None]:
    """How the next boots end; each leaves a file, and finds none of an earlier one."""
    ends: list[KernelDied | None] = []

    async def build(new: Path, _machine: Machine, _built: Path) -> None:
        (new / "ram").touch(exist_ok=False)
        end = ends.pop(0)
        if end:
            raise end

    monkeypatch.setattr(template, "build", build)
    return ends


def _build(directory: Path, machine: Machine) -> None:
    asyncio.run(template._build_twice(directory, machine, Path("nfharness.ko"), Progress(quiet=True)))


def test_a_second_boot_that_lives_is_taken(boots: list[KernelDied | None], tmp_path: Path) -> None:
    boots += [KernelDied("the guest died: Oops: double fault"), None]
    _build(tmp_path, MACHINE)
    assert boots == []


def test_a_second_death_is_the_kernels(boots: list[KernelDied | None], tmp_path: Path) -> None:
    boots += [KernelDied("first"), KernelDied("second"), None]
    with pytest.raises(KernelDied, match="second"):
        _build(tmp_path, MACHINE)


def test_where_no_emulator_can_be_at_fault_the_first_death_counts(boots: list[KernelDied | None], tmp_path: Path) -> None:
    boots += [KernelDied("first"), None]
    with pytest.raises(KernelDied, match="first"):
        _build(tmp_path, replace(MACHINE, accelerator=KVM))
