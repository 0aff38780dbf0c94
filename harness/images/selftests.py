"""A kernel's own ``tools/testing/selftests``: from Debian's linux-source package for its version, or from a developer's tree."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from harness.errors import HostError, UserError
from harness.host.paths import cache_dir
from harness.host.progress import Progress
from harness.host.store import building, remove_tree
from harness.images import archive, sources
from harness.images import userland as lower
from harness.images.kernels import Kernel

__all__ = ("collection", "limit", "selftests", "tests")

_PLACE = "tools/testing/selftests"
#: What a collection's tests include from elsewhere in the tree.
_SHARED = ("kselftest", "kselftest.h", "kselftest_harness.h", "lib.mk", "lib.sh", "net/lib.sh", "net/lib", "net/forwarding/lib.sh",
           "net/udpgso.sh")  # fmt: skip
_LEFT_OUT = ("*.o", "*.ko", "drivers")
#: kselftest/runner.sh: kselftest_default_timeout.
_DEFAULT_LIMIT_S = 45
# Helpers are compiled as the collection's own Makefile has it; one that cannot be is no obstacle to the tests that do without it.
_MAKE = f"cd /build/{_PLACE}/$NAME && make --keep-going --jobs=2 all CC=x86_64-linux-gnu-gcc-14 || true"


def selftests(kernel: Kernel, progress: Progress) -> Path:
    """The directory ``selftests`` for a kernel, fetched if need be.

    :raises HostError: the archive has no sources of its version, or they are unavailable
    """
    if kernel.tree:
        found = _of_tree(Path(kernel.tree))
        if found is None:
            raise HostError(f"{kernel.tree} has no {_PLACE}", hint="name the directory of the sources, where the kernel was built in it")
        return found
    package = _package(kernel, progress)
    path = cache_dir() / "selftests" / f"{package.name}_{package.version}"
    with building(path, waiting=lambda: progress.note("waiting for another process to fetch the kernel's selftests")) as new:
        if new:
            with progress.step(f"selftests from {package.name} {package.version}", expected_s=40):
                sources.unpack(package, new, new / "extract.log", strip=3, only=f"*/{_PLACE}/*")
    return path / "selftests"


def _of_tree(tree: Path) -> Path | None:
    places = [tree / _PLACE, tree / "source" / _PLACE]
    return next((place for place in places if place.is_dir()), None)


def _package(kernel: Kernel, progress: Progress) -> archive.Package:
    """The sources of the kernel's version; the newest before it where those are gone from the archive."""
    found = sources.packages(kernel.series, progress)
    if not found:
        hint = "choose another kernel, or a tree of your own: --kernel ~/linux"
        raise HostError(f"Debian's archive has no sources of {kernel.series}", hint=hint)
    exact = [one for one in found if one.version == kernel.version]
    older = [one for one in found if one.sort_key <= kernel.sort_key]
    chosen = (exact or older or found)[-1]
    if not exact:
        progress.note(f"the archive has no sources of {kernel.version}; using those of {chosen.version}")
    return chosen


def tests(directory: Path, name: str) -> list[str]:
    """A collection's tests as its Makefile lists them: scripts, and programs that are compiled.

    :raises UserError: there is no such collection, or it has no tests but those of collections in it
    """
    place = directory / name
    if {"", ".", ".."} & set(name.split("/")) or not (place / "Makefile").is_file():
        raise UserError(f"{name} is no collection of this kernel's selftests", hint=f"one of {', '.join(_alike(directory, name))}")
    scripts = {word for word in _listed(place, "TEST_PROGS") if (place / word).is_file()}
    found = sorted(scripts | set(_programs(place, "TEST_GEN_PROGS")))
    if not found:
        raise UserError(f"{name} of this kernel's selftests has no tests but those of collections in it",
                        hint=f"one of {', '.join(_alike(directory, name))}")
    return found


def limit(directory: Path, name: str) -> float | None:
    """Seconds after which kselftest's runner ends a test of a collection; ``None`` for never."""
    settings = directory / name / "settings"
    found = re.search(r"^timeout=(\d+)", settings.read_text(), re.MULTILINE) if settings.is_file() else None
    return (float(found[1]) or None) if found else _DEFAULT_LIMIT_S


def _alike(directory: Path, name: str) -> list[str]:
    """Other collections: those that end as *name* does (``net/netfilter`` was ``netfilter`` up to 6.9), or share a word; else the top."""
    places = [path.parent for path in directory.rglob("Makefile") if path.parent not in (directory, directory / name)]
    known = sorted(str(place.relative_to(directory)) for place in places)
    words = name.split("/")
    same = [one for one in known if one.split("/")[-1] == words[-1]]
    related = same or [one for one in known if set(words) & set(one.split("/"))]
    return related or sorted({one.split("/")[0] for one in known})


def _listed(place: Path, variable: str) -> Iterator[str]:
    """The words of a variable of a Makefile."""
    for line in (place / "Makefile").read_text().replace("\\\n", " ").splitlines():
        if found := re.match(rf"\s*{variable}\s*[:+]?=(.*)", line):
            yield from found[1].partition("#")[0].split()


def _programs(place: Path, *variables: str) -> list[str]:
    """The programs of a Makefile's variables whose source is there."""
    return sorted({word for variable in variables for word in _listed(place, variable) if (place / f"{word}.c").is_file()})


def collection(directory: Path, name: str, userland: Path, progress: Progress) -> Path:
    """A directory ``selftests`` with a collection, what it includes, and its helpers, compiled in the userland for guests.

    :raises HostError: no room
    """
    parts = [directory / part for part in (name, *_SHARED) if (directory / part).exists()]
    path = cache_dir() / "collections" / f"{name.replace('/', '-')}_{_identity(directory, parts)}_{lower.key()}"
    with building(path, waiting=lambda: progress.note(f"waiting for another process to compile {name}")) as new:
        if new:
            with progress.step(f"selftests {name}: compiling", expected_s=5):
                _compile(directory, parts, name, new, userland)
    place = path / "selftests" / name
    lacking = [program for program in _programs(place, "TEST_GEN_PROGS", "TEST_GEN_FILES") if not (place / program).is_file()]
    if lacking:
        progress.note(f"{name}: not compiled: {', '.join(lacking)}; see {path / 'build.log'}")
    return path / "selftests"


def _identity(directory: Path, parts: list[Path]) -> str:
    digest = hashlib.sha256(_MAKE.encode())
    for part in parts:
        for file in sorted([part] if part.is_file() else (one for one in part.rglob("*") if one.is_file())):
            digest.update(f"{file.relative_to(directory)}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _compile(directory: Path, parts: list[Path], name: str, new: Path, userland: Path) -> None:
    upper = new / "upper"
    place = upper / "build" / _PLACE
    for part in parts:
        target = place / part.relative_to(directory)
        target.parent.mkdir(parents=True, exist_ok=True)
        if part.is_dir():
            # What links lead to, as they may lead out of what the guest gets; some lead nowhere.
            shutil.copytree(part, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_LEFT_OUT), ignore_dangling_symlinks=True)
        else:
            shutil.copy(part, target)
    lower.in_chroot(userland / "root", upper, f"NAME='{name}'\n{_MAKE}", new / "build.log", what=f"compiling {name}")
    shutil.move(place, new / "selftests")
    for leftover in ("upper", ".upper.merged", ".upper.work"):
        remove_tree(new / leftover)
