"""A kernel's own ``tools/testing/selftests``: from Debian's linux-source package for its version, or from a developer's tree."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import HostError, UserError
from harness.vm import archive, process
from harness.vm.kernels import Kernel
from harness.vm.paths import cache_dir
from harness.vm.progress import Progress
from harness.vm.store import building, remove_tree

__all__ = ("collection", "scripts", "selftests")

_PLACE = "tools/testing/selftests"
#: What a collection's scripts include from elsewhere in the tree.
_SHARED = ("kselftest", "kselftest.h", "lib.mk", "lib.sh", "net/lib.sh", "net/lib", "net/forwarding/lib.sh", "net/udpgso.sh")


def selftests(kernel: Kernel, progress: Progress) -> Path:
    """The directory ``selftests`` for a kernel, fetched if need be.

    :raises HostError: the archive has no sources of its version, or they cannot be had
    """
    if kernel.tree:
        found = _of_tree(Path(kernel.tree))
        if found is None:
            raise HostError(f"{kernel.tree} has no {_PLACE}", mend="name the directory of the sources, where the kernel was built in it")
        return found
    package = _package(kernel, progress)
    path = cache_dir() / "selftests" / f"{package.name}_{package.version}"
    with building(path, waiting=lambda: progress.note("waiting for another process to fetch the kernel's selftests")) as new:
        if new:
            with progress.step(f"selftests from {package.name} {package.version}", expected_s=40):
                _extract(package, new)
    return path / "selftests"


def _of_tree(tree: Path) -> Path | None:
    places = [tree / _PLACE, tree / "source" / _PLACE]
    return next((place for place in places if place.is_dir()), None)


def _package(kernel: Kernel, progress: Progress) -> archive.Package:
    """The sources of the kernel's version; the newest before it where those are gone from the archive."""
    archive.refresh(progress=progress)
    name = f"linux-source-{kernel.series}"
    found = sorted((one for one in archive.packages([name]) if one.name == name), key=lambda one: one.sort_key)
    if not found:
        raise HostError(f"Debian's archive has no {name}", mend="choose another kernel, or a tree of your own: --kernel ~/linux")
    exact = [one for one in found if one.version == kernel.version]
    older = [one for one in found if one.sort_key <= kernel.sort_key]
    chosen = (exact or older or found)[-1]
    if not exact:
        progress.note(f"the archive has no sources of {kernel.version}; using those of {chosen.version}")
    return chosen


def _extract(package: archive.Package, new: Path) -> None:
    log = new / "extract.log"
    (deb,) = archive.download([package], new / "debs")
    process.run(process.bound(["dpkg-deb", "-x", str(deb), str(new / "unpacked")]), what=f"unpacking {deb.name}", log=log, timeout=600)
    (tarball,) = (new / "unpacked/usr/src").glob("linux-source-*.tar.xz")
    command = ["tar", "-xJf", str(tarball), "-C", str(new), "--strip-components=3", "--wildcards", "--no-same-owner", f"*/{_PLACE}/*"]
    process.run(process.bound(command), what=f"unpacking {tarball.name}", log=log, timeout=900)
    for leftover in ("debs", "unpacked"):
        remove_tree(new / leftover)


def scripts(directory: Path, name: str) -> list[str]:
    """The shell tests of a collection, as its Makefile lists them. :raises UserError: there is no such collection"""
    place = directory / name
    if not (place / "Makefile").is_file():
        known = sorted(str(path.parent.relative_to(directory)) for path in directory.rglob("Makefile"))
        raise UserError(f"{name} is no collection of this kernel's selftests", mend=f"one of {', '.join(known[:60])}")
    words = (place / "Makefile").read_text().replace("\\\n", " ").splitlines()
    listed = [word for line in words if line.replace(" ", "").startswith(("TEST_PROGS+=", "TEST_PROGS:=", "TEST_PROGS="))
              for word in line.partition("=")[2].split()]
    return sorted({word for word in listed if (place / word).is_file()})


def collection(directory: Path, name: str, target: Path) -> None:
    """Copy a collection and what it includes to *target*, a directory ``selftests``."""
    for part in (name, *_SHARED):
        source = directory / part
        if source.is_dir():
            shutil.copytree(source, target / part, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.o", "*.ko", "drivers"))
        elif source.is_file():
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / part)
