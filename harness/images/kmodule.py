"""Modules, built against a kernel's headers at the host's own speed: nfharness.ko from ``kmod/``, and a user's from a Kbuild directory.

With the userland's compiler for a kernel of Debian's, with the compiler that built it for a developer's own where this host has that.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import UserError
from harness.host import process
from harness.host.paths import cache_dir, package_file
from harness.host.progress import Progress
from harness.host.store import building, files_hash, remove_tree
from harness.images import config
from harness.images.layers import Layer
from harness.images.toolchain import Toolchain, host_toolchain
from harness.images.userland import in_chroot

__all__ = ("MODULE", "module", "module_key", "own_modules")

MODULE = "nfharness.ko"
_DEBUG = "-debug.ko"
#: What kbuild writes beside the sources.
_BUILT = re.compile(r".*\.(o|ko|mod|mod\.c|cmd|a|dwo|order|symvers)|\..*|__pycache__")
_MOST_BYTES = 64 << 20
_ERROR = re.compile(r"\S+:\d+:\d+: (?:fatal )?error: .*|ERROR: modpost: .*|\S+: .*No rule to make target .*")
# Without BTF, so that it needs no pahole and loads whatever vmlinux's BTF is.
_MAKE = f"""
make -C $HEADERS M=$PWD CONFIG_DEBUG_INFO_BTF_MODULES= $ARGUMENTS modules
for module in $(find . -name '*.ko'); do
	cp $module ${{module%.ko}}{_DEBUG}
	$STRIP --strip-debug $module
done
"""
#: Where the sources are while they are built.
_IN_USERLAND, _HERE = "/build/kmod", "/usr/src/kmod"
# kbuild takes no path with a space or a colon: our own mounts give short ones, and keep the headers from being written to.
_ON_HOST = f"""
mount -t tmpfs tmpfs /usr/src
mkdir /usr/src/headers {_HERE}
mount --bind "$1" /usr/src/headers
mount -o remount,bind,ro /usr/src/headers
mount --bind "$2" {_HERE}
cd {_HERE}
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
            _build(MODULE, package_file("kmod"), _sources(), layer, new, userland, progress, arguments)
    return path


def own_modules(directory: Path, layer: Layer, userland: Path, progress: Progress) -> list[Path]:
    """The modules (``*.ko``, stripped) of a user's Kbuild directory for a kernel, built if need be; nothing is written to the directory.

    :raises UserError: there is no such directory, it is too large, it does not compile, or it makes no module
    :raises HostError: this host lacks the one compiler that would do
    """
    sources = sorted(_own_sources(directory))
    digest = hashlib.sha256()
    for source in sources:
        digest.update(f"{source.relative_to(directory)}\0".encode() + source.read_bytes())
    path = cache_dir() / "own-modules" / f"{layer.path.name}@{directory.resolve().name}@{digest.hexdigest()[:16]}"
    with building(path, waiting=lambda: progress.note(f"waiting for another build of {directory}")) as new:
        if new:
            try:
                _build(str(directory), directory, sources, layer, new, userland, progress, "")
            except process.ProgramFailed as error:
                said = [line.replace(f"{_IN_USERLAND}/", f"{directory}/").replace(f"{_HERE}/", f"{directory}/")
                        for line in _ERROR.findall(error.output)]
                more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
                raise UserError(f"{directory} does not build for {layer.kernel.label}: {said[0] + more if said else error.message}",
                                hint=error.hint) from None
            if not any(new.glob("*.ko")):
                raise UserError(f"{directory} builds no module", hint="its Kbuild or Makefile names one: obj-m := mine.o")
    return sorted(one for one in path.glob("*.ko") if not one.name.endswith(_DEBUG))


def _own_sources(directory: Path) -> Iterator[Path]:
    if not any((directory / name).is_file() for name in ("Kbuild", "Makefile")):
        raise UserError(f"{directory} has no Kbuild and no Makefile", hint="name the directory of a module's sources")
    size = 0
    for where, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if not _BUILT.fullmatch(name)]
        for name in names:
            file = Path(where, name)
            if _BUILT.fullmatch(name) or not file.is_file():
                continue
            size += file.stat().st_size
            if size > _MOST_BYTES:
                raise UserError(f"{directory} has more than {_MOST_BYTES >> 20} MiB of sources", hint="give a module its own directory")
            yield file


def _build(  # noqa: PLR0917 - what is built, for what, and where
    what: str, root: Path, sources: Sequence[Path], layer: Layer, new: Path, userland: Path, progress: Progress, arguments: str,
) -> None:
    """Build the modules of some sources; they and ``build.log`` are in *new* then.

    :param root: of the sources, whose paths below it stay
    """
    upper, log = new / "upper", new / "build.log"
    place = upper / _IN_USERLAND[1:]
    for source in sources:
        copy = place / source.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
    toolchain = host_toolchain(config.options((layer.path / "config").read_text())) if layer.kernel.tree else None
    using = f" with {toolchain.compiler}" if toolchain else ""
    said = f"building {what} for {layer.kernel.label}"
    with progress.step(f"{what} for {layer.kernel.label}{using}", expected_s=6):
        if toolchain:
            _on_host(layer, place, toolchain, arguments, log, what=said)
        else:
            _in_userland(layer, upper, userland, arguments, log, what=said)
    for result in place.rglob("*.ko"):
        shutil.move(result, new / result.name)
    for leftover in ("upper", ".upper.merged", ".upper.work"):
        remove_tree(new / leftover)


def _in_userland(layer: Layer, upper: Path, userland: Path, arguments: str, log: Path, *, what: str) -> None:
    # Some kernels' own .kernelvariables name a compiler that the userland does not have: the command line wins over them.
    compiler = "CC=x86_64-linux-gnu-gcc-14"
    settings = {"HEADERS": f"/usr/lib/modules/{layer.kernel.release}/build", "ARGUMENTS": f"{compiler} {arguments}", "STRIP": "strip"}
    script = f"cd {_IN_USERLAND}\n" + "".join(f"{name}='{value}'\n" for name, value in settings.items()) + _MAKE
    in_chroot(userland / "root", upper, script, log, what=what, above=layer.root)


def _on_host(layer: Layer, place: Path, toolchain: Toolchain, arguments: str, log: Path, *, what: str) -> None:
    headers = layer.root / "usr/lib/modules" / layer.kernel.release / "build"
    environment = ["env", "-i", f"PATH={os.environ['PATH']}", "LC_ALL=C", f"STRIP={toolchain.strip}",
                   f"ARGUMENTS={' '.join(toolchain.arguments)} {arguments}"]  # fmt: skip
    process.run(
        process.in_namespace([*environment, "sh", "-ec", _ON_HOST, "sh", str(headers), str(place)]),
        what=what,
        log=log,
        timeout=900,
    )
