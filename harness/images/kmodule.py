"""nfharness.ko, built from ``kmod/`` against a kernel's headers at the host's own speed.

With the userland's compiler for a kernel of Debian's, with the compiler that built it for a developer's own where this host has that.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from harness.host import process
from harness.host.paths import cache_dir, package_file
from harness.host.progress import Progress
from harness.host.store import building, files_hash, remove_tree
from harness.images import config
from harness.images.layers import Layer
from harness.images.toolchain import Toolchain, host_toolchain
from harness.images.userland import in_chroot

__all__ = ("MODULE", "module", "module_key")

MODULE = "nfharness.ko"
_DEBUG = "nfharness-debug.ko"
# Without BTF of its own, so that it needs no pahole and loads whatever vmlinux's BTF is.
_MAKE = f"""
make -C $HEADERS M=$PWD CONFIG_DEBUG_INFO_BTF_MODULES= $ARGUMENTS modules
cp {MODULE} {_DEBUG}
$STRIP --strip-debug {MODULE}
"""
# kbuild takes no path with a space or a colon: our own mounts give short ones, and keep the headers from being written to.
_ON_HOST = f"""
mount -t tmpfs tmpfs /usr/src
mkdir /usr/src/headers /usr/src/kmod
mount --bind "$1" /usr/src/headers
mount -o remount,bind,ro /usr/src/headers
mount --bind "$2" /usr/src/kmod
cd /usr/src/kmod
HEADERS=/usr/src/headers
{_MAKE}
"""


def _sources() -> list[Path]:
    return [path for path in package_file("kmod").iterdir() if path.suffix in (".c", ".h") or path.name in ("Kbuild", "Makefile")]


def module_key() -> str:
    """Hash of the module's sources."""
    return files_hash(_sources())


def module(layer: Layer, userland: Path, progress: Progress, *, arguments: str = "") -> Path:
    """Directory with ``nfharness.ko`` (stripped), ``nfharness-debug.ko`` and ``build.log`` for a kernel, built if need be.

    :param arguments: more for make's command line, ``W=1``
    :raises HostError: it does not compile, or this host lacks the one compiler that would do
    """
    name = f"{layer.path.name}_{module_key()}" + (f"_{arguments}" if arguments else "")
    path = cache_dir() / "modules" / name
    with building(path, waiting=lambda: progress.note(f"waiting for another build of {MODULE}")) as new:
        if new:
            _build(layer, new, userland, progress, arguments)
    return path


def _build(layer: Layer, new: Path, userland: Path, progress: Progress, arguments: str) -> None:
    upper, log = new / "upper", new / "build.log"
    place = upper / "build/kmod"
    place.mkdir(parents=True)
    for source in _sources():
        shutil.copy(source, place)
    toolchain = host_toolchain(config.options((layer.path / "config").read_text())) if layer.kernel.tree else None
    using = f" with {toolchain.compiler}" if toolchain else ""
    with progress.step(f"{MODULE} for {layer.kernel.label}{using}", expected_s=6):
        if toolchain:
            _on_host(layer, place, toolchain, arguments, log)
        else:
            _in_userland(layer, upper, userland, arguments, log)
    for result in (MODULE, _DEBUG):
        shutil.move(place / result, new / result)
    for leftover in ("upper", ".upper.merged", ".upper.work"):
        remove_tree(new / leftover)


def _in_userland(layer: Layer, upper: Path, userland: Path, arguments: str, log: Path) -> None:
    # Some kernels' own .kernelvariables name a compiler that the userland does not have: the command line wins over them.
    compiler = "CC=x86_64-linux-gnu-gcc-14"
    settings = {"HEADERS": f"/usr/lib/modules/{layer.kernel.release}/build", "ARGUMENTS": f"{compiler} {arguments}", "STRIP": "strip"}
    script = "cd /build/kmod\n" + "".join(f"{name}='{value}'\n" for name, value in settings.items()) + _MAKE
    in_chroot(userland / "root", upper, script, log, what=f"building {MODULE} for {layer.kernel.label}", above=layer.root)


def _on_host(layer: Layer, place: Path, toolchain: Toolchain, arguments: str, log: Path) -> None:
    headers = layer.root / "usr/lib/modules" / layer.kernel.release / "build"
    environment = ["env", "-i", f"PATH={os.environ['PATH']}", "LC_ALL=C", f"STRIP={toolchain.strip}",
                   f"ARGUMENTS={' '.join(toolchain.arguments)} {arguments}"]  # fmt: skip
    process.run(
        process.in_namespace([*environment, "sh", "-ec", _ON_HOST, "sh", str(headers), str(place)]),
        what=f"building {MODULE} for {layer.kernel.label}",
        log=log,
        timeout=900,
    )
