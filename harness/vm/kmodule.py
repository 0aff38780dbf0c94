"""nfharness.ko, built from ``kmod/`` against a kernel's headers with the userland's compiler, at the host's own speed."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.vm.code import files_hash
from harness.vm.layers import Layer
from harness.vm.paths import cache_dir, package_file
from harness.vm.progress import Progress
from harness.vm.store import building, remove_tree
from harness.vm.userland import in_chroot

__all__ = ("MODULE", "module", "module_key")

MODULE = "nfharness.ko"
# Some kernels' own .kernelvariables name a compiler that the userland does not have: the command line wins over them.
# Without BTF of its own, so that it needs no pahole and loads whatever vmlinux's BTF is.
_SCRIPT = """
cd /build/kmod
make -C /usr/lib/modules/$RELEASE/build M=/build/kmod CC=x86_64-linux-gnu-gcc-14 CONFIG_DEBUG_INFO_BTF_MODULES= $ARGUMENTS modules
cp nfharness.ko nfharness-debug.ko
strip --strip-debug nfharness.ko
"""


def _sources() -> list[Path]:
    return [path for path in package_file("kmod").iterdir() if path.suffix in (".c", ".h") or path.name in ("Kbuild", "Makefile")]


def module_key() -> str:
    """Hash of the module's sources."""
    return files_hash(_sources())


def module(layer: Layer, userland: Path, progress: Progress, *, arguments: str = "") -> Path:
    """Directory with ``nfharness.ko`` (stripped), ``nfharness-debug.ko`` and ``build.log`` for a kernel, built if need be.

    :param arguments: more for make's command line, ``W=1``
    :raises HostError: it does not compile
    """
    name = f"{layer.path.name}_{module_key()}" + (f"_{arguments}" if arguments else "")
    path = cache_dir() / "modules" / name
    with building(path, waiting=lambda: progress.note(f"waiting for another build of {MODULE}")) as new:
        if new:
            _build(layer, new, userland, progress, arguments)
    return path


def _build(layer: Layer, new: Path, userland: Path, progress: Progress, arguments: str) -> None:
    upper, log = new / "upper", new / "build.log"
    (upper / "build/kmod").mkdir(parents=True)
    for source in _sources():
        shutil.copy(source, upper / "build/kmod")
    script = f"RELEASE='{layer.kernel.release}' ARGUMENTS='{arguments}'\n{_SCRIPT}"
    with progress.step(f"nfharness.ko for {layer.kernel.release}", expected_s=6):
        in_chroot(userland / "root", upper, script, log, what=f"building nfharness.ko for {layer.kernel.release}", above=layer.root)
    for result in (MODULE, "nfharness-debug.ko"):
        shutil.move(upper / "build/kmod" / result, new / result)
    for leftover in ("upper", ".upper.merged", ".upper.work"):
        remove_tree(new / leftover)
