"""Templates: a guest that was booted and prepared once, then saved; every later guest is its RAM file mapped copy-on-write."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, get_args

from harness.host import process
from harness.host.again import tried_again
from harness.host.deadlines import slowness
from harness.host.paths import cache_dir, copies_dir, source_dir
from harness.host.progress import Progress
from harness.host.store import building, discard, files_hash, is_kept, is_writable, keep, read_record, remove_tree
from harness.images.kernels import Kernel
from harness.images.kmodule import MODULE, module, module_key
from harness.images.layers import Layer, layer_path, layers_here
from harness.images.layers import key as layer_key
from harness.images.userland import userland_path
from harness.vm import bytecode, guest
from harness.vm.acceleration import accelerator, proved, remembered
from harness.vm.code import CodeArchive, code_archive
from harness.vm.pace import must_keep_pace, reading
from harness.vm.preparation import PREPARATIONS, Saved
from harness.vm.qemu import COUNTING, KVM, TCG, Accelerator, Machine, processor_identity, qemu_identity, reads_sealed_ram

__all__ = ("Template", "base_path", "build", "forget_older_builds", "project_identity", "template", "template_path", "templates_of")

#: The code whose objects a template's memory holds, or that is compiled into its programs: another version of it needs another template.
_RESIDENT = ("agent/prepare.py", "guest/tracing.py", "guest/profile.py", "trace/*", "walks/events.py", "walks/symbol.py", *bytecode.FILES)
_KINDS: tuple[Saved, ...] = get_args(Saved)
#: Where a guest finds the module built for its kernel.
_KERNEL_OBJECT = "/run/nfharness/nfharness.ko"
_RECORD = "template.json"
_KVM_BOOT_S = 4.0


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
        """How many times as long things take on an idle host as with KVM; never below 1. A deadline asks how busy the host is."""
        return max(1.0, float(str(self.facts["cold_boot_s"])) / float(str(self.facts.get("host_slowness", 1.0))) / _KVM_BOOT_S)

    def guest(self) -> AbstractAsyncContextManager[guest.VirtualGuest]:
        """A fresh guest, with the code as it is on disk now."""
        return guest.restored(self.machine, self.state, code_archive(), guest_has=self.code)

    async def close(self) -> None:
        """Nothing of it is open."""


def base_path(saved: Template) -> Path:
    """The path of a template whatever code it holds: where one is looked for first."""
    return saved.state.parent.with_name(saved.state.parent.name.removesuffix(f"_{saved.code}"))


def project_identity() -> str:
    """Hash of all of the project that goes into a template, a kernel apart."""
    machine = Machine(Path("vmlinuz"), Path("initrd"), (Path("root.img"), Path("layer.img")), TCG)
    parts = (userland_path().name, layer_key(), module_key(), files_hash(_resident()), PREPARATIONS, machine.identity())
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _resident() -> list[Path]:
    return [path for pattern in _RESIDENT for path in source_dir().glob(pattern) if path.is_file()]


def _machine(layer: Layer, userland: Path, acceleration: Accelerator, kind: Saved, append: str) -> Machine:
    append = f"quiet loglevel=4 {append}".strip()
    machine = Machine(layer.vmlinuz, layer.initrd, (userland / "root.img", layer.image), acceleration, append=append,
                      built=layer.kernel if layer.kernel.tree else None)
    return replace(machine, accelerator=COUNTING, processors=1) if kind == "counted" else machine


def _path(layer: Layer, userland: Path, acceleration: Accelerator, kind: Saved, append: str) -> Path:
    """Where the template is, or would be: its name covers all that goes into it, QEMU's own build included, and no place of this host."""
    parts = (_machine(layer, userland, acceleration, kind, append).identity(), qemu_identity(), module_key(), files_hash(_resident()),
             PREPARATIONS[kind], processor_identity() if acceleration is KVM else "")
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
    return cache_dir() / "templates" / f"{layer.kernel.release}_{digest}"


def template_path(kernel: Kernel, kind: Saved = "template", append: str = "") -> Path | None:
    """Where the kernel's template is, or would be; ``None`` while it is not known how guests are accelerated here."""
    proof = remembered()
    if proof is None:
        return None
    return _path(Layer(kernel, layer_path(kernel)), userland_path(), accelerator(proof), kind, append)


def templates_of(kernel: Kernel) -> list[Path]:
    """Where a kernel's templates are, or would be: of each kind, and with what any that is here has on its command line."""
    here = (cache_dir() / "templates").glob(f"{kernel.release}_*/{_RECORD}")
    appended = {"", *(read_record(record).get("append", "") for record in here)}
    return [path for kind in _KINDS for append in sorted(appended) if (path := template_path(kernel, kind, append))]


def forget_older_builds(kernel: Kernel) -> None:
    """Delete what earlier builds of a tree left, but for the last: another process may just be about to use it."""
    for older in [one for one in layers_here() if one.kernel.tree == kernel.tree and one.kernel != kernel][:-1]:
        templates = [path for saved in templates_of(older.kernel) for path in (saved, *saved.parent.glob(f"{saved.name}_*"))]
        modules = (cache_dir() / "modules").glob(f"{older.path.name}_*")
        if any(is_kept(path / _RECORD) for path in templates):
            continue
        for place in filter(Path.is_dir, (*templates, *modules, older.path)):
            discard(place)


async def template(layer: Layer, userland: Path, progress: Progress, kind: Saved = "template", append: str = "") -> Template:
    """The kernel's template, booted and saved if need be.

    :param kind: where one with everything is there, a lean one is not made
    :param append: more for the kernel's command line
    :raises KernelDied: it panicked while it booted
    """
    acceleration = await proved(layer, progress)
    if kind == "lean" and _path(layer, userland, acceleration, "template", append).is_dir():
        kind = "template"
    machine, path = _machine(layer, userland, acceleration, kind, append), _path(layer, userland, acceleration, kind, append)
    with building(path, waiting=lambda: progress.note(f"waiting for another template of {layer.kernel.release}")) as new:
        if new:
            what = "template" if kind == "template" else f"{kind} template"
            with progress.step(f"{what}: booting {layer.kernel.release} with {acceleration.name}", expected_s=25):
                await tried_again(lambda: build(new, machine, layer, userland, kind, append=append), progress)
            if kind == "template":
                _forget_lean(_path(layer, userland, acceleration, "lean", append))
    base, code = _readable(_read(path, machine), progress), code_archive()
    if base.code == code.identity or not is_writable(path.parent):
        # Where nothing newer can be saved each guest takes the newer code over, which costs it a second.
        return base
    newer = path.with_name(f"{path.name}_{code.identity}")
    with building(newer, waiting=lambda: progress.note("waiting for another process to save newer code")) as new:
        if new:
            with progress.step(f"template: newer code for {layer.kernel.release}", expected_s=3):
                await tried_again(lambda: _renew(new, base, code), progress)
            _forget_older(newer, path)
    return _readable(_read(newer, machine), progress)


def _readable(saved: Template, progress: Progress) -> Template:
    """The template such that QEMU can map its RAM: in a cache of another user, or mounted read-only, as it lies there or as a copy."""
    ram = saved.machine.ram
    if ram is None or is_writable(ram):
        return saved
    if reads_sealed_ram():
        return replace(saved, machine=replace(saved.machine, sealed=True))
    # A template that is made anew there has the same name and another RAM.
    path = copies_dir() / f"{ram.parent.name}_{ram.stat().st_mtime_ns:x}"
    with building(path, waiting=lambda: progress.note("waiting for another process to copy a template")) as new:
        if new:
            with progress.step(f"template: copying its RAM, as {ram} cannot be written", expected_s=2):
                _copy(ram, new)
    return replace(saved, machine=replace(saved.machine, ram=path / "ram"))


def _copy(ram: Path, new: Path) -> None:
    command = ["cp", "--sparse=always", "--reflink=auto", str(ram), str(new / "ram")]
    process.run(process.bound(command), what="copying a template", log=new / "copy.log", timeout=300)


def _read(path: Path, machine: Machine) -> Template:
    """The template of that path, which stays as long as this process lives."""
    with suppress(OSError):  # what is not there, the next line tells
        keep(path / _RECORD)
    record = read_record(path / _RECORD)
    return Template(replace(machine, ram=path / "ram"), path / "state", record["code"], record["facts"])


async def _renew(new: Path, base: Template, code: CodeArchive) -> None:
    """Save *base* again with newer code imported: importing it in every guest would cost each a second."""
    assert base.machine.ram  # noqa: S101
    (new / "state").unlink(missing_ok=True)
    _copy(base.machine.ram, new)
    machine = replace(base.machine, ram=new / "ram", shared=True)
    async with guest.restored(machine, base.state, code, guest_has=base.code) as vm:
        await vm.qemu.save(new / "state")
    record = read_record(base.state.with_name(_RECORD)) | {"code": code.identity}
    (new / _RECORD).write_text(json.dumps(record))


def _forget_older(newest: Path, base: Path) -> None:
    """Delete what earlier code left and nobody uses, but for the last: a process that has just looked it up may be about to restore it."""
    older = sorted(base.parent.glob(f"{base.name}_*"), key=lambda path: path.stat().st_mtime)
    for path in [path for path in older if path != newest][:-1]:
        if not is_kept(path / _RECORD):
            remove_tree(path)


def _forget_lean(path: Path) -> None:
    """Delete the lean template as that, and what it became with newer code, where one with everything is there and nobody uses it."""
    for lean in [path, *path.parent.glob(f"{path.name}_*")]:
        if lean.is_dir() and not is_kept(lean / _RECORD):
            discard(lean)


async def build(new: Path, machine: Machine, layer: Layer, userland: Path, kind: Saved = "template", *, append: str = "") -> Template:
    """Boot a guest, prepare it and save it. Meanwhile this host compiles what goes into its kernel.

    :param new: directory, which gets ``ram``, ``state``, and ``template.json`` with what was found out and how long each part took
    :param append: what *machine*'s command line has beside the usual, for the record
    :raises KernelDied: it panicked while it booted
    :raises EmulatorFailed: its clock is wrong
    :raises HostError: something does not compile
    """
    code, start = code_archive(), time.monotonic()
    for remains in new.iterdir():
        remains.unlink()
    (new / "ram").touch(mode=0o644)
    os.truncate(new / "ram", machine.memory << 20)
    with _beside() as begin:
        archive = begin(bytecode.ready_made, code, userland, new)
        built = begin(module, layer, userland, Progress(quiet=True))
        async with guest.booted(replace(machine, ram=new / "ram", shared=True), code, archive=archive) as vm:
            booted, busy = time.monotonic(), slowness()
            began = await reading(vm)
            source = await vm.place(bare=kind == "bare", modules=True)
            programs = begin(bytecode.programs, source, layer, userland, new) if source else None
            imported = await vm.import_all(PREPARATIONS[kind])
            kernel_object = (await built) / MODULE
            await vm.call("harness.guest.files:receive", _KERNEL_OBJECT, stdin=kernel_object.read_bytes())
            facts = await vm.prepare(PREPARATIONS[kind], _KERNEL_OBJECT, await programs if programs else None)
            if kind != "counted":  # its clock counts instructions
                facts["clock_pace"] = must_keep_pace(began, await reading(vm))
            prepared = time.monotonic()
            await vm.qemu.save(new / "state")
            saved = time.monotonic()
    made = Template(replace(machine, ram=new / "ram"), new / "state", code.identity, facts)
    if not facts.pop("bare"):
        facts |= await _probed(made)
    facts |= {"import_s": imported, "cold_boot_s": booted - start, "prepare_s": prepared - booted, "template_save_s": saved - prepared,
              "host_slowness": busy, "probe_s": time.monotonic() - saved}
    (new / _RECORD).write_text(json.dumps({"code": code.identity, "facts": facts, "append": append}))
    return made


@contextmanager
def _beside() -> Iterator[Callable[..., asyncio.Future[Any]]]:
    """What begins a function in a thread. All threads are over when the block ends, however it ends: their directory may go then.

    A task that waits for a thread would not do: an interruption cancels every task, and no thread.
    """
    with ThreadPoolExecutor() as pool:
        def begin(function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
            future = asyncio.get_running_loop().run_in_executor(pool, function, *arguments)
            future.add_done_callback(lambda done: done.cancelled() or done.exception())  # where nobody waits for it, nobody is told
            return future

        yield begin


async def _probed(made: Template) -> dict[str, Any]:
    """What a copy of the saved guest finds out about its kernel: the warnings that this provokes, and their taint, go with the copy."""
    async with guest.restored(made.machine, made.state, code_archive(), guest_has=made.code) as vm:
        found: dict[str, Any] = json.loads(await vm.call("harness.guest.profile:tell"))
    return found
