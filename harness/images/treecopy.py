"""A layer's parts out of a developer's tree: what boots, its modules, and what others are built with. Nothing is written to the tree."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from harness.errors import HostError
from harness.images import config, kernel_tree
from harness.images.kernel_tree import Tree
from harness.images.kernels import Kernel
from harness.images.userland import in_chroot

__all__ = ("check_options", "copy_headers", "take")

_LEFT_OUT = shutil.ignore_patterns("*.o", "*.a", "*.cmd", "*.dtb", ".*", "gdb", "*.rs", "*.rmeta")
# As `make modules_install INSTALL_MOD_STRIP=1`; without BTF, as a module's is refused unless it was made for this very vmlinux.
_STRIP = r"""
find "/usr/lib/modules/$RELEASE" -name '*.ko' -exec strip --strip-debug -R .BTF -R .BTF.base {} +
if [ -f /boot/vmlinux ]; then objcopy -S -R .comment /boot/vmlinux; fi
"""


def take(kernel: Kernel, new: Path, userland: Path, log: Path) -> None:
    """Fill a layer from the kernel's tree: ``vmlinuz``, ``config``, and ``root/`` with headers and modules.

    :raises HostError: it lacks options, or is being built at the moment
    """
    found = kernel_tree.read(kernel.tree)
    check_options(found)
    root, modules = new / "root", new / "root/usr/lib/modules" / kernel.release
    copy_headers(found, modules / "build")
    (modules / "source").symlink_to("build")
    for name in ("modules.builtin", "modules.builtin.modinfo"):
        if (found.build / name).exists():
            shutil.copy(found.build / name, modules)
    _copy_modules(found, modules)
    shutil.copy(found.build / ".config", new / "config")
    boot = root / "boot" / found.image.name
    boot.parent.mkdir()
    shutil.copy(found.image, boot)
    if kernel_tree.read(kernel.tree).identity != kernel.version:
        raise HostError(f"{kernel.tree} has changed while it was copied", hint="wait until make has ended, then try again")
    in_chroot(userland / "root", root, f"RELEASE='{kernel.release}'\n{_STRIP}", log, what=f"stripping {kernel.label}")
    shutil.move(boot, new / "vmlinuz")


def check_options(found: Tree) -> None:
    """Look whether a tree was built with what a guest needs.

    :raises HostError: it is built without something that a guest needs, with the way to build it with that
    """
    unmet = config.unmet(found.options)
    if unmet:
        raise HostError(f"{found.build} has to be built with {', '.join(unmet)}", hint=f"merge what is needed: {found.merge()}")


def copy_headers(found: Tree, to: Path) -> None:
    """What a module is built with, sources and objects in one place: as ``scripts/package/install-extmod-build`` chooses it.

    :param to: directory to make
    """
    to.mkdir(parents=True)
    makefiles = sorted((found.source / "arch/x86").glob("Makefile*"))
    _copy_files(found.source, to, ["Makefile", *(str(path.relative_to(found.source)) for path in makefiles)])
    for name in ("scripts", "include", "arch/x86/include"):
        _copy_directory(found.source / name, to / name, leave_out=("generated", "config"))
    in_place = found.build == found.source
    for name in (*(() if in_place else ("scripts",)), "include/generated", "arch/x86/include/generated"):
        _copy_directory(found.build / name, to / name)
    objects = (".config", "include/config/auto.conf", "include/config/kernel.release", "tools/objtool/objtool", "arch/x86/module.lds")
    _copy_files(found.build, to, objects)
    (to / "Module.symvers").write_text("".join(kernel_tree.symvers(found.build)))


def _copy_files(source: Path, to: Path, names: Iterable[str]) -> None:
    for name in names:
        if (source / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, to / name)


def _copy_directory(source: Path, to: Path, *, leave_out: tuple[str, ...] = ()) -> None:
    """Copy a directory with all that is in it.

    :param leave_out: directories at its top that are not copied
    """

    def ignored(directory: str, names: list[str]) -> set[str]:
        return set(_LEFT_OUT(directory, names)) | (set(leave_out) if Path(directory) == source else set())

    shutil.copytree(source, to, symlinks=True, ignore=ignored, dirs_exist_ok=True)


def _copy_modules(found: Tree, modules: Path) -> None:
    for path in found.modules:
        (modules / "kernel" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(found.build / path, modules / "kernel" / path)
    (modules / "modules.order").write_text("".join(f"kernel/{path}\n" for path in found.modules))
