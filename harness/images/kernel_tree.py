"""A developer's own kernel: a built tree, in-tree or with ``O=``. It is read, never written to."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HostError, NfharnessError, UserError
from harness.host.paths import cache_dir, run_dir
from harness.host.store import write_whole
from harness.images import config, flavours
from harness.images.config import options
from harness.images.elf import NotElf, read_vmlinux
from harness.images.kernels import Kernel, series_of

__all__ = ("BZIMAGE", "STATE", "UNFINISHED", "Tree", "built_path", "built_specs", "from_anywhere", "is_current", "means_tree",
           "merge_command", "read", "symvers")  # fmt: skip

BZIMAGE = "arch/x86/boot/bzImage"
#: In a tree that nfharness built: what it keeps about that, and the mark of a build that is under way or was cut off; the command in it
#: makes it whole.
STATE = ".nfharness"
UNFINISHED = f"{STATE}/unfinished"
#: ``6.12+gcov``: one that nfharness built in its cache.
_BUILT = re.compile(r"(?P<series>\d+\.\d+)\+(?P<flavour>[a-z]+)")
#: What a build leaves that its modules are built with, beside the options of the objtool and the image.
_PARTS = (".config", "include/config/auto.conf", "include/config/kernel.release", "include/generated/autoconf.h",
          "include/generated/utsrelease.h", "scripts/basic/fixdep", "scripts/mod/modpost")  # fmt: skip
#: Modules for real hardware stay behind: a guest has none, and a distribution's tree has gigabytes of them.
_HARDWARE = ("sound/", "drivers/")
_NOT_HARDWARE = ("drivers/block/", "drivers/char/", "drivers/net/", "drivers/vhost/", "drivers/virtio/")
_HARDWARE_YET = ("drivers/net/ethernet/", "drivers/net/wireless/", "drivers/net/wwan/", "drivers/net/usb/")
#: Sources that decide what is checked: newer than the build, they have been edited since.
_LOOKED_AT = ("net/netfilter", "include/net/netfilter", "include/linux/netfilter.h")


#: A build writes ``Module.symvers`` right after ``vmlinux.symvers``, and both agree.
_SAME_BUILD_S = 1


@dataclass(frozen=True, slots=True)
class Tree:
    """One build.

    :param build: where the objects are
    :param source: where the sources are; the same place unless it was built with ``O=``
    :param options: those that it was built with
    :param image: bzImage, or a vmlinux that boots by itself (PVH)
    :param modules: those of its modules that a guest may have a use for, relative to *build*
    :param identity: of this very build: another one of the same tree has another
    """

    build: Path
    source: Path
    release: str
    options: Mapping[str, str]
    image: Path
    modules: tuple[Path, ...]
    identity: str

    def kernel(self) -> Kernel:
        """The build as a kernel, named by its series."""
        return Kernel(self.release, self.identity, series_of(self.release), "tree", (), tree=str(self.build))

    def make(self, target: str = "") -> str:
        """The command that builds it, for a hint."""
        return make_command(self.source, self.build, target)

    def merge(self) -> str:
        """The commands that configure it as nfharness needs it and build it, for a hint."""
        return merge_command(self.source, self.build)

    def doubts(self) -> Iterator[str]:
        """What a developer may have forgotten, a line each."""
        built = self.image.stat().st_mtime
        files = (file for place in _LOOKED_AT for file in [self.source / place, *sorted((self.source / place).rglob("*.[ch]"))])
        edited = next((file for file in files if file.is_file() and file.stat().st_mtime > built), None)
        if edited:
            yield f"{edited.relative_to(self.source)} is newer than the build, which is what runs: {self.make()}"
        if self.modules and max((self.build / one).stat().st_mtime for one in self.modules) < built:
            yield f"its modules are older than its vmlinux: {self.make('modules')}"


def make_command(source: Path, build: Path, target: str = "") -> str:
    """``make -C SOURCE O=BUILD TARGET``."""
    place = ["make", "-C", str(source), *([] if source == build else [f"O={build}"])]
    return shlex.join([*place, f"-j{os.cpu_count()}", *target.split()])


def merge_command(source: Path, build: Path) -> str:
    """Shell commands that configure a tree as nfharness needs it and build it."""
    fragment = run_dir() / "nfharness.config"
    write_whole(fragment, "\n".join(config.fragment()) + "\n")
    merge = [source / "scripts/kconfig/merge_config.sh", "-m", "-O", build, build / ".config", fragment]
    return f"{shlex.join(map(str, merge))} && {make_command(source, build, 'olddefconfig')} && {make_command(source, build)}"


def built_path(series: str, flavour: str) -> Path:
    """Where a kernel that nfharness built is in the cache, or would be."""
    return cache_dir() / "built" / f"{series}+{flavour}"


def built_specs() -> list[str]:
    """Kernels that nfharness built in its cache, as ``--kernel`` takes them."""
    return sorted(path.name for path in (cache_dir() / "built").glob("[!.]*") if _built(path.name))


def _built(spec: str) -> Path | None:
    """Where the kernel is that a spec such as ``6.12+gcov`` means; ``None`` if it is no such spec."""
    found = _BUILT.fullmatch(spec)
    return built_path(*found.groups()) if found and found["flavour"] in flavours.names() else None


def means_tree(spec: str) -> bool:
    """Whether a spec is a tree's: it has a slash, begins as a path does, is no version and there is such a file, or nfharness built it."""
    if _built(spec):
        return True
    return "/" in spec or spec in (".", "..") or spec.startswith("~") or (not spec[:1].isdigit() and spec != "" and Path(spec).exists())


def from_anywhere(spec: str) -> str:
    """A spec that means the same in another working directory."""
    return str(Path(spec).expanduser().absolute()) if means_tree(spec) and not _built(spec) else spec


def _directory(spec: str) -> Path:
    """The directory that a spec names, absolute and without symbolic links.

    :raises UserError: there is none
    """
    built = _built(spec)
    path = built or Path(spec).expanduser()
    try:
        path = path.resolve(strict=True)
    except FileNotFoundError:
        if built:
            series, _, flavour = spec.partition("+")
            chosen = "" if flavour == flavours.PLAIN else f" --flavour {flavour}"
            raise HostError(f"{spec} is not built", hint=f"nfharness kernel build --source {series}{chosen}") from None
        raise UserError(f"{spec}: no such directory", hint="name a built kernel tree, or a series as in 'nfharness kernels'") from None
    except OSError as error:
        raise UserError(f"{spec}: {error.strerror}", hint="name a built kernel tree that you can read") from None
    if not path.is_dir():
        inside = next((parent for parent in path.parents if (parent / "include/config/kernel.release").exists()), None)
        hint = f"--kernel {shlex.quote(str(inside))}" if inside else "name the tree's directory"
        raise UserError(f"{spec} is a file, not a kernel tree", hint=hint)
    return path


def read(spec: str) -> Tree:
    """The build in the directory that *spec* names.

    :raises UserError: no kernel tree, not one for amd64, or not to be read
    :raises HostError: it is not built, or not wholly
    """
    build = _directory(spec)
    try:
        return _read(build)
    except OSError as error:
        raise UserError(f"{error.filename or build}: {error.strerror}", hint="name a built kernel tree that you can read") from None


def is_current(kernel: Kernel) -> bool:
    """Whether a kernel's tree still holds that build."""
    try:
        return read(kernel.tree).identity == kernel.version
    except NfharnessError:
        return False


def _read(build: Path) -> Tree:
    source = _source(build)
    _check_architecture(source, build)
    if not (build / ".config").exists():
        elsewhere = "make defconfig, then make; if it was built with O=, name that directory"
        raise HostError(f"{build} is not built: it has no .config", hint=elsewhere)
    if (build / UNFINISHED).exists():
        raise HostError(f"{build} is half built: its build is under way, or was cut off", hint=(build / UNFINISHED).read_text())
    configured = options((build / ".config").read_text())
    if not (build / "vmlinux").exists() and not (build / BZIMAGE).exists():
        raise _to_be_built(source, build, configured, f"is not built: it has neither vmlinux nor {BZIMAGE}")
    found = options((build / "include/config/auto.conf").read_text()) if (build / "include/config/auto.conf").exists() else {}
    parts = [*_PARTS, *(["tools/objtool/objtool"] if {"OBJTOOL", "STACK_VALIDATION"} & found.keys() else [])]
    lacking = [name for name in parts if not (build / name).exists()]
    if not any((build / name).exists() for name in ("scripts/module.lds", "arch/x86/module.lds")):
        lacking.append("scripts/module.lds")
    if not any((build / name).exists() for name in ("Module.symvers", "vmlinux.symvers")):
        lacking.append("Module.symvers")
    if lacking:
        raise _to_be_built(source, build, configured, f"is half built: it lacks {', '.join(lacking)}")
    if configured != found:
        raise _to_be_built(source, build, configured, "was configured anew since it was built")
    image, build_id = _image(source, build)
    modules = _modules(build, found, make_command(source, build, "modules"))
    release = (build / "include/config/kernel.release").read_text().strip()
    return Tree(build, source, release, found, image, modules, _identity(build, image, build_id, modules))


def _to_be_built(source: Path, build: Path, configured: Mapping[str, str], why: str) -> HostError:
    """The error for what is no build; what its configuration lacks is told before it is built in vain."""
    unmet = config.unmet(configured)
    if unmet:
        return HostError(f"{build} {why}; it has to be built with {', '.join(unmet)}",
                         hint=f"merge what is needed: {merge_command(source, build)}")
    return HostError(f"{build} {why}", hint=make_command(source, build))


def _source(build: Path) -> Path:
    """Where the sources of a build are: its ``source`` link, the makefile that kbuild left in it, or itself."""
    makefile = build / "Makefile"
    text = makefile.read_text(errors="replace") if makefile.is_file() else ""
    if re.search(r"^VERSION = \d", text, re.MULTILINE) and (build / "arch").is_dir():
        return build
    included = re.search(r"^include (\S.*)/Makefile$", text, re.MULTILINE) or re.search(r"^MAKEARGS := -C (\S+)", text, re.MULTILINE)
    for place in (build / "source", *([Path(included[1])] if included else [])):
        if (place / "Makefile").is_file() and (place / "include/linux/netfilter.h").is_file():
            return place.resolve()
    if included:
        raise HostError(f"{build} was built from {included[1]}, where no kernel's sources are any more", hint="build it again")
    raise UserError(f"{build} is not a kernel tree", hint="name the directory of a built kernel: the tree, or what O= named")


def _check_architecture(source: Path, build: Path) -> None:
    path = build / ".config"
    text = path.read_text(errors="replace") if path.exists() else ""
    found = options(text)
    if not text or found.get("X86_64") == "y":
        return
    if "X86_32" in found:
        raise UserError(f"{build} is configured for 32-bit x86", hint="nfharness runs amd64 kernels; merge what is needed: "
                        + merge_command(source, build))
    other = re.search(r"^# Linux/(\S+)", text, re.MULTILINE)
    raise UserError(f"{build} is configured for {other[1] if other else 'another architecture'}",
                    hint="nfharness runs amd64 kernels: make ARCH=x86_64 defconfig")


def _image(source: Path, build: Path) -> tuple[Path, str]:
    """What to boot, and what tells this build from others. vmlinux where it can: it is what make has made last."""
    vmlinux, bzimage = build / "vmlinux", build / BZIMAGE
    if not vmlinux.exists():
        return bzimage, hashlib.sha256(bzimage.read_bytes()).hexdigest()
    try:
        facts = read_vmlinux(vmlinux)
    except NotElf as error:
        raise HostError(f"{vmlinux}: {error}", hint=make_command(source, build)) from None
    if facts.pvh:
        return vmlinux, facts.build_id
    if not bzimage.exists() or bzimage.stat().st_mtime < vmlinux.stat().st_mtime:
        which = "older than its vmlinux" if bzimage.exists() else "not there"
        message = f"{build} is half built: {BZIMAGE} is {which}, and vmlinux cannot be booted without CONFIG_PVH"
        raise HostError(message, hint=make_command(source, build, "bzImage"))
    return bzimage, facts.build_id


def _modules(build: Path, found: Mapping[str, str], todo: str) -> tuple[Path, ...]:
    """The modules that ``make modules_install`` would take; kbuild's own list has ``.o`` since 6.3, ``.ko`` before."""
    if "m" not in found.values():
        return ()
    order = build / "modules.order"
    if not order.exists():
        raise HostError(f"{build} is half built: its modules are missing", hint=todo)
    listed = [Path(line.strip()).with_suffix(".ko") for line in order.read_text().splitlines() if line.strip()]
    listed = [path for path in listed if _is_for_guests(path.as_posix())]
    missing = next((path for path in listed if not (build / path).exists()), None)
    if missing:
        raise HostError(f"{build} is half built: its module {missing} is missing", hint=todo)
    return tuple(listed)


def _is_for_guests(module: str) -> bool:
    return not module.startswith(_HARDWARE) or (module.startswith(_NOT_HARDWARE) and not module.startswith(_HARDWARE_YET))


def _identity(build: Path, image: Path, build_id: str, modules: tuple[Path, ...]) -> str:
    """The build id of vmlinux tells kernels apart; modules, exports and configuration can change without it."""
    digest = hashlib.sha256(build_id.encode())
    for path in [image, *(build / one for one in modules)]:
        now = path.stat()
        digest.update(f"{path.name} {now.st_size} {now.st_mtime_ns}\n".encode())
    for line in symvers(build):
        digest.update(line.encode())
    digest.update((build / "include/config/auto.conf").read_bytes())
    return digest.hexdigest()[:16]


def symvers(build: Path) -> Iterator[str]:
    """Exported symbols, a line each and each symbol once: vmlinux's own as it is now, then the modules' from the last ``make modules``.

    A ``vmlinux.symvers`` that is older than ``Module.symvers`` is of an earlier build, of a kernel version perhaps that left one.
    """
    own, all_ = build / "vmlinux.symvers", build / "Module.symvers"
    exports = [all_] if not own.exists() else [own] if not all_.exists() else [own, all_]
    if len(exports) == 2 and all_.stat().st_mtime > own.stat().st_mtime + _SAME_BUILD_S:
        exports.reverse()
    seen: set[str] = set()
    for path in exports:
        lines = [line.split("\t") for line in path.read_text().splitlines(keepends=True)]
        lines = [line for line in lines if line[1] not in seen and not (seen and line[2:3] == ["vmlinux"])]
        seen |= {line[1] for line in lines}
        yield from ("\t".join(line) for line in lines)
