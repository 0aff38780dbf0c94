"""Templates: a guest that was booted and prepared once, then saved; every later guest is its RAM file mapped copy-on-write."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from harness.vm import guest, process
from harness.vm.acceleration import accelerator, proved, remembered
from harness.vm.code import CodeArchive, code_archive, files_hash
from harness.vm.kernels import Kernel
from harness.vm.kmodule import MODULE, module, module_key
from harness.vm.layers import Layer, layer_path
from harness.vm.paths import cache_dir, source_dir
from harness.vm.progress import Progress
from harness.vm.qemu import Accelerator, Machine, qemu_identity
from harness.vm.store import building, read_record, remove_tree
from harness.vm.userland import userland_path

__all__ = ("Template", "build", "template", "template_path")

#: The code whose objects a template's memory holds (another version of it needs another template), less what is only on top of it.
_RESIDENT = ("guest/prepare.py", "guest/profile.py", "trace/*")
#: Where a guest finds the module built for its kernel.
_KERNEL_OBJECT = "/run/nfharness/nfharness.ko"
_KVM_BOOT_S = 4.0
_NOT_RESIDENT = {"walk.py", "summary.py", "render.py", "tree.py"}


@dataclass(frozen=True, slots=True)
class Template:
    """A saved guest.

    :param machine: to restore it with
    :param code: identity of the code that it holds
    :param facts: what preparing it found out: figures, the kernel's profile
    """

    machine: Machine
    state: Path
    code: str
    facts: dict[str, object]
    backend: ClassVar[str] = "qemu"

    @property
    def accelerator(self) -> str:
        return self.machine.accelerator.name

    @property
    def slowness(self) -> float:
        """How many times as long things take as with KVM; never below 1."""
        return max(1.0, float(str(self.facts["cold_boot_s"])) / _KVM_BOOT_S)

    def guest(self) -> AbstractAsyncContextManager[guest.VirtualGuest]:
        """A fresh guest, with the code as it is on disk now."""
        return guest.restored(self.machine, self.state, code_archive(), guest_has=self.code)

    async def close(self) -> None:
        """Nothing of it is open."""


def _machine(layer: Layer, userland: Path, acceleration: Accelerator) -> Machine:
    return Machine(layer.vmlinuz, layer.initrd, (userland / "root.img", layer.image), acceleration, append="quiet loglevel=4")


def _path(layer: Layer, userland: Path, acceleration: Accelerator, *, bare: bool) -> Path:
    """Where the template is, or would be: its name covers all that goes into it, QEMU's own build included."""
    resident = [path for pattern in _RESIDENT for path in source_dir().glob(pattern) if path.is_file()]
    resident = [path for path in resident if path.name not in _NOT_RESIDENT]
    parts = (_machine(layer, userland, acceleration).arguments(), qemu_identity(), module_key(), files_hash(resident), bare)
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
    return cache_dir() / "templates" / f"{layer.kernel.release}_{digest}"


def template_path(kernel: Kernel, *, bare: bool = False) -> Path | None:
    """Where the kernel's template is, or would be; ``None`` while it is not known how guests are accelerated here."""
    proof = remembered()
    if proof is None:
        return None
    return _path(Layer(kernel, layer_path(kernel)), userland_path(), accelerator(proof), bare=bare)


async def template(layer: Layer, userland: Path, progress: Progress, *, bare: bool = False) -> Template:
    """The kernel's template, booted and saved if need be.

    :param bare: nothing of ours is in the kernel: neither nfharness.ko nor the tracer
    :raises KernelDied: it panicked while it booted
    """
    acceleration = await proved(layer, progress)
    machine, path = _machine(layer, userland, acceleration), _path(layer, userland, acceleration, bare=bare)
    with building(path, waiting=lambda: progress.note(f"waiting for another template of {layer.kernel.release}")) as new:
        if new:
            built = module(layer, userland, progress) / MODULE
            kind = "bare template" if bare else "template"
            with progress.step(f"{kind}: booting {layer.kernel.release} with {acceleration.name}", expected_s=25):
                await build(new, machine, built, bare=bare)
    base, code = _read(path, machine), code_archive()
    if base.code == code.identity:
        return base
    newer = path.with_name(f"{path.name}_{code.identity}")
    with building(newer, waiting=lambda: progress.note("waiting for another process to save newer code")) as new:
        if new:
            with progress.step(f"template: newer code for {layer.kernel.release}", expected_s=3):
                await _renew(new, base, code)
            _forget_older(newer, path)
    return _read(newer, machine)


def _read(path: Path, machine: Machine) -> Template:
    record = read_record(path / "template.json")
    return Template(replace(machine, ram=path / "ram"), path / "state", record["code"], record["facts"])


async def _renew(new: Path, base: Template, code: CodeArchive) -> None:
    """Save *base* again with newer code imported: importing it in every guest would cost each a second."""
    assert base.machine.ram  # noqa: S101
    process.run(
        process.bound(["cp", "--sparse=always", "--reflink=auto", str(base.machine.ram), str(new / "ram")]),
        what="copying a template",
        log=new / "copy.log",
        timeout=300,
    )
    machine = replace(base.machine, ram=new / "ram", shared=True)
    async with guest.restored(machine, base.state, code, guest_has=base.code) as vm:
        await vm.qemu.save(new / "state")
    (new / "template.json").write_text(json.dumps({"code": code.identity, "facts": base.facts}))


def _forget_older(newest: Path, base: Path) -> None:
    """Delete what earlier code left, but for the last: a process that has just looked it up may be about to restore it."""
    older = sorted(base.parent.glob(f"{base.name}_*"), key=lambda path: path.stat().st_mtime)
    for path in [path for path in older if path != newest][:-1]:
        remove_tree(path)


async def build(new: Path, machine: Machine, built: Path, *, bare: bool = False) -> Template:
    """Boot a guest, prepare it and save it.

    :param new: empty directory; gets ``ram``, ``state``, and ``template.json`` with what was found out and how long each part took
    :param built: the module for its kernel
    :raises KernelDied: it panicked while it booted
    """
    code, start = code_archive(), time.monotonic()
    (new / "ram").touch(mode=0o600)
    os.truncate(new / "ram", machine.memory << 20)
    async with guest.booted(replace(machine, ram=new / "ram", shared=True), code) as vm:
        booted = time.monotonic()
        await vm.call("harness.guest.files:receive", _KERNEL_OBJECT, stdin=built.read_bytes())
        facts = await vm.prepare("bare" if bare else "template", _KERNEL_OBJECT)
        prepared = time.monotonic()
        await vm.qemu.save(new / "state")
        saved = time.monotonic()
    facts |= {"cold_boot_s": booted - start, "prepare_s": prepared - booted, "template_save_s": saved - prepared}
    (new / "template.json").write_text(json.dumps({"code": code.identity, "facts": facts}))
    return Template(replace(machine, ram=new / "ram"), new / "state", code.identity, facts)
