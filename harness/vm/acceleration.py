"""KVM or not: proved by booting a kernel, because a ``/dev/kvm`` that opens says nothing (nested hosts where guests hang exist)."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import tempfile
from pathlib import Path

from harness.errors import HostError
from harness.vm.layers import Layer
from harness.vm.paths import cache_dir
from harness.vm.progress import Progress
from harness.vm.qemu import KVM, TCG, Accelerator, Machine, Qemu, qemu_identity
from harness.vm.store import locked, write_whole

__all__ = ("Proof", "accelerator", "proved", "remembered")

_DEVICE = Path("/dev/kvm")
_DEADLINE_S = 10
_PROOF = b"nfharness: acceleration proved"


class Proof(dict[str, str]):
    """What was found: ``accelerator`` ("kvm" or "tcg"), ``why``, and the host it holds for."""


def _host() -> dict[str, str]:
    usable = _DEVICE.exists() and os.access(_DEVICE, os.R_OK | os.W_OK)
    return {"kernel": platform.release(), "qemu": qemu_identity(), "device": str(usable)}


def _answer_file() -> Path:
    return cache_dir() / "acceleration.json"


def remembered() -> Proof | None:
    """The answer found earlier, if it still is about this host. :raises HostError: QEMU is not installed"""
    try:
        proof = Proof(json.loads(_answer_file().read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return proof if "accelerator" in proof and all(proof.get(name) == value for name, value in _host().items()) else None


async def proved(layer: Layer, progress: Progress) -> Accelerator:
    """KVM if a kernel boots with it here, TCG otherwise; the answer is kept."""
    proof = remembered()
    if proof is None:
        with locked(_answer_file().with_name(".acceleration.lock"), lambda: progress.note("waiting for another proof of acceleration")):
            proof = remembered() or Proof(_host() | await _prove(layer, progress))
            # A kernel that somebody is working on may fail to boot for reasons of its own.
            if proof["accelerator"] == "kvm" or not layer.kernel.tree:
                write_whole(_answer_file(), json.dumps(proof, indent=1))
    return accelerator(proof)


def accelerator(proof: Proof) -> Accelerator:
    """What a proof amounts to."""
    return KVM if proof["accelerator"] == "kvm" else TCG


async def _prove(layer: Layer, progress: Progress) -> dict[str, str]:
    if not _DEVICE.exists():
        return {"accelerator": "tcg", "why": f"there is no {_DEVICE}"}
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return {"accelerator": "tcg", "why": f"no permission to open {_DEVICE}"}
    machine = Machine(layer.vmlinuz, layer.initrd, (), KVM, memory=256, append="nfharness.prove")
    step = progress.step("acceleration: booting a kernel with KVM to see whether it works", expected_s=_DEADLINE_S)
    with step, tempfile.NamedTemporaryFile(prefix="nfharness-kvm-") as console:
        said = await _boot(machine, Path(console.name))
    if said is None:
        return {"accelerator": "kvm", "why": "a kernel booted with it"}
    return {"accelerator": "tcg", "why": f"{_DEVICE} opens, but {said}"}


async def _boot(machine: Machine, console: Path) -> str | None:
    """Boot; ``None`` if the guest said what it should, otherwise what happened instead."""
    qemu = Qemu(machine, console)
    try:
        await qemu.start()
    except HostError as error:
        return error.message
    try:
        async with asyncio.timeout(_DEADLINE_S):
            while _PROOF not in console.read_bytes():
                if qemu.ended:
                    return "QEMU ended before the kernel was up"
                await asyncio.sleep(0.1)
    except TimeoutError:
        return f"a kernel did not boot with it within {_DEADLINE_S} s"
    finally:
        await qemu.kill()
    return None
