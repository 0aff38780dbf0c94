"""KVM or not: proved by booting a kernel, because a ``/dev/kvm`` that opens says nothing (nested hosts where guests hang exist)."""

from __future__ import annotations

import asyncio
import json
import os
import platform
from pathlib import Path

from harness.errors import HostError
from harness.host.deadlines import within
from harness.host.paths import cache_dir
from harness.host.progress import Progress
from harness.host.store import is_writable, locked, write_whole
from harness.images.layers import Layer
from harness.vm.qemu import KVM, TCG, Accelerator, Machine, Qemu, qemu_identity
from harness.vm.serial import Serial

__all__ = ("Acceleration", "accelerator", "proved", "remembered")

_DEVICE = Path("/dev/kvm")
_DEADLINE_S = 10
_PROOF = "nfharness: acceleration proved"


class Acceleration(dict[str, str]):
    """What was found: ``accelerator`` ("kvm" or "tcg"), ``why``, and the host it holds for."""


def _host() -> dict[str, str]:
    usable = _DEVICE.exists() and os.access(_DEVICE, os.R_OK | os.W_OK)
    return {"kernel": platform.release(), "qemu": qemu_identity(), "device": str(usable)}


def _answer_file() -> Path:
    return cache_dir() / "acceleration.json"


def remembered() -> Acceleration | None:
    """The answer found earlier, if it still is about this host.

    :raises HostError: QEMU is not installed
    """
    try:
        proof = Acceleration(json.loads(_answer_file().read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return proof if "accelerator" in proof and all(proof.get(name) == value for name, value in _host().items()) else None


async def proved(layer: Layer, progress: Progress) -> Accelerator:
    """KVM if a kernel boots with it here, TCG otherwise; the answer is kept."""
    proof = remembered()
    if proof is None and not is_writable(cache_dir()):
        proof = Acceleration(await _prove(layer, progress))
    if proof is None:
        with locked(_answer_file().with_name(".acceleration.lock"), lambda: progress.note("waiting for another proof of acceleration")):
            proof = remembered() or Acceleration(_host() | await _prove(layer, progress))
            # A developer's kernel may fail to boot for other reasons.
            if proof["accelerator"] == "kvm" or not layer.kernel.tree:
                write_whole(_answer_file(), json.dumps(proof, indent=1))
    return accelerator(proof)


def accelerator(proof: Acceleration) -> Accelerator:
    """What a proof amounts to."""
    return KVM if proof["accelerator"] == "kvm" else TCG


async def _prove(layer: Layer, progress: Progress) -> dict[str, str]:
    if not _DEVICE.exists():
        return {"accelerator": "tcg", "why": f"there is no {_DEVICE}"}
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return {"accelerator": "tcg", "why": f"no permission to open {_DEVICE}"}
    machine = Machine(layer.vmlinuz, layer.initrd, (), KVM, memory=256, append="nfharness.prove")
    step = progress.step("acceleration: booting a kernel with KVM to see whether it works", expected_s=_DEADLINE_S)
    with step:
        said = await _boot(machine)
    if said is None:
        return {"accelerator": "kvm", "why": "a kernel booted with it"}
    return {"accelerator": "tcg", "why": f"{_DEVICE} opens, but {said}"}


async def _boot(machine: Machine) -> str | None:
    """Boot; ``None`` if the guest said what it should, otherwise what happened instead."""
    qemu = Qemu(machine, Serial())
    try:
        await qemu.start()
    except HostError as error:
        return error.message
    try:
        async with within(_DEADLINE_S) as deadline:
            while _PROOF not in qemu.console.text():
                if qemu.ended:
                    return "QEMU ended before the kernel was up"
                await asyncio.sleep(0.1)
    except TimeoutError:
        return f"a kernel did not boot with it {deadline}"
    finally:
        await qemu.kill()
    return None
