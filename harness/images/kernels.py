"""Which kernels there are: a spec such as ``6.12`` becomes one exact build in Debian's archive."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from debian.debian_support import Version

from harness.errors import UserError
from harness.host.paths import cache_dir
from harness.host.progress import Progress
from harness.host.store import write_whole
from harness.images import archive

__all__ = (
    "DEFAULT", "DEFAULT_FLAVOUR", "PREFIXES", "Kernel", "catalogue", "catalogue_at_hand", "catalogue_file", "from_json", "newest",
    "resolve", "series_of",
)  # fmt: skip

DEFAULT = "6.12"
DEFAULT_FLAVOUR = "cloud"
#: Flavour → the end of the package's name. Cloud kernels lack only drivers for real hardware.
FLAVOURS = {"cloud": "-cloud-amd64", "rt": "-rt-amd64", "amd64": "-amd64"}
#: How the names of a kernel's packages begin.
PREFIXES = ("linux-image-", "linux-headers-", "linux-binary-", "linux-modules-", "linux-kbuild-", "linux-base-")
_FOREIGN_ARCHITECTURES = ("arm64", "armhf", "i386", "686", "riscv64", "ppc64el", "s390x", "mips64el", "loong64", "aarch64")


@dataclass(frozen=True, slots=True)
class Kernel:
    """One build of a kernel that can be had.

    :param release: what ``uname -r`` will say
    :param version: Debian version of its packages
    :param series: upstream series, ``6.12``
    :param packages: ``(name, version)`` of each package to unpack: image or binary and modules, headers, kbuild
    :param unlisted: names of packages that it needs and that no suite lists any more; the archive's pool may still have them
    :param tree: of a developer's own build, where it is; *version* tells it from others of the same tree then
    """

    release: str
    version: str
    series: str
    flavour: str
    packages: tuple[tuple[str, str], ...]
    unlisted: tuple[str, ...] = ()
    tree: str = ""

    @property
    def label(self) -> str:
        """What results call it: a tree's builds mostly have the same release."""
        return f"{self.release}#{self.version[:8]}" if self.tree else self.release

    @property
    def slug(self) -> str:
        """Name of its directories in the cache."""
        return f"{self.release}_{self.version}"

    @property
    def sort_key(self) -> Version:
        return Version(self.version)


def from_json(entry: dict[str, object]) -> Kernel:
    """A kernel from its ``asdict`` form.

    :raises KeyError:
    :raises TypeError: it is none
    """
    packages, unlisted = entry["packages"], entry["unlisted"]
    if not isinstance(packages, list) or not isinstance(unlisted, list):
        raise TypeError("packages")
    pinned = tuple((str(name), str(version)) for name, version in packages)
    words = {name: str(entry[name]) for name in ("release", "version", "series", "flavour", "tree")}
    return Kernel(packages=pinned, unlisted=tuple(map(str, unlisted)), **words)


def series_of(version: str) -> str:
    """``6.12.117-1`` → ``6.12``."""
    return ".".join(re.split(r"[.~+-]", version)[:2])


def catalogue(*, refresh: bool = False, progress: Progress | None = None) -> list[Kernel]:
    """Every kernel build that the suites offer, oldest first; kept in the cache until *refresh*.

    :raises HostError: nothing at hand and no network
    """
    known = catalogue_at_hand()
    if refresh or not known:
        with archive.exclusive(progress):
            archive.refresh(force=refresh, progress=progress)
            _write_catalogue()
        known = catalogue_at_hand()
    return known


def _write_catalogue() -> None:
    kernels = sorted(_from_packages(archive.packages(PREFIXES)), key=lambda kernel: kernel.sort_key)
    write_whole(catalogue_file(), json.dumps([asdict(kernel) for kernel in kernels], indent=1))


def catalogue_at_hand() -> list[Kernel]:
    """The catalogue as it lies in the cache, empty if it does not or is damaged; never asks the archive."""
    try:
        return [from_json(entry) for entry in json.loads(catalogue_file().read_text())]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []


def _from_packages(packages: list[archive.Package]) -> list[Kernel]:
    by_name: dict[str, list[archive.Package]] = {}
    for package in packages:
        by_name.setdefault(package.name, []).append(package)
    found = []
    for image in packages:
        release = image.name.removeprefix("linux-image-")
        flavour = next((name for name, end in FLAVOURS.items() if release.endswith(end)), None)
        # A metapackage depends on another image; a real one never does.
        meta = any(depend.startswith("linux-image-") for depend in image.depends)
        if image.name == release or not release[0].isdigit() or flavour is None or meta:
            continue
        headers = f"linux-headers-{release}"
        matching = [package for package in by_name.get(headers, ()) if package.version == image.version]
        parts, unlisted = _closure([image, *matching[:1]], by_name)
        if not matching:
            unlisted = (headers, *unlisted)
        found.append(Kernel(release, image.version, series_of(image.version), flavour, parts, unlisted))
    return found


def _closure(
    roots: list[archive.Package], by_name: dict[str, list[archive.Package]]
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Roots and what they depend on among the kernel's own packages, each in the root's version or else the newest; what is not listed."""
    chosen: dict[str, archive.Package] = {}
    unlisted: set[str] = set()
    waiting = list(roots)
    while waiting:
        package = waiting.pop()
        if package.name in chosen:
            continue
        chosen[package.name] = package
        for depend in package.depends:
            name = depend.split(" ")[0]
            candidates = by_name.get(name, [])
            if candidates:
                same = [candidate for candidate in candidates if candidate.version == roots[0].version]
                waiting.append(same[0] if same else max(candidates, key=lambda candidate: candidate.sort_key))
            elif name.startswith(PREFIXES):
                unlisted.add(name)
    return tuple(sorted((package.name, package.version) for package in chosen.values())), tuple(sorted(unlisted))


def resolve(spec: str, *, at_hand: Callable[[Kernel], bool] = lambda _kernel: True, progress: Progress | None = None) -> Kernel:
    """The kernel that *spec* means: ``6.12``, ``6.12-rt``, ``6.12.117-1`` or a release as ``uname -r`` has it.

    The catalogue is fetched anew (at most once a day) if it does not know *spec* or its answer is not *at_hand*: a run of what is
    already here needs no network. A build of which every package is listed goes before a newer one of which not.

    :raises UserError: no such kernel
    """
    kernel = _newest(catalogue(progress=progress), spec)
    if kernel is None or not at_hand(kernel):
        with archive.exclusive(progress):
            archive.refresh(progress=progress)
            if _stale():
                _write_catalogue()
        kernel = _newest(catalogue(), spec)
    if kernel is None:
        raise _unknown(spec)
    return kernel


def newest(spec: str, among: Callable[[Kernel], bool]) -> Kernel | None:
    """The newest of the kernels that *spec* may mean and *among* holds for, from the catalogue at hand."""
    return _newest([kernel for kernel in catalogue() if among(kernel)], spec)


def catalogue_file() -> Path:
    """The catalogue's file; another shape of its entries is another file."""
    shape = hashlib.sha256(repr(Kernel.__dataclass_fields__.keys()).encode()).hexdigest()[:8]
    return cache_dir() / "apt" / f"kernels-{shape}.json"


def _stale() -> bool:
    kept, stamp = catalogue_file(), cache_dir() / "apt" / "refreshed"
    return not kept.exists() or kept.stat().st_mtime < stamp.stat().st_mtime


def _newest(kernels: list[Kernel], spec: str) -> Kernel | None:
    """A release is taken as it is; a series or version may carry ``-rt``, ``-amd64`` or ``-cloud`` (the default)."""
    suffix = next((name for name in FLAVOURS if spec.endswith(f"-{name}")), None)
    flavour, base = suffix or DEFAULT_FLAVOUR, spec.removesuffix(f"-{suffix}")
    matching = [
        kernel
        for kernel in kernels
        if kernel.release == spec or (kernel.flavour == flavour and base in (kernel.series, kernel.version))
    ]
    return max(matching, key=lambda kernel: (not kernel.unlisted, kernel.sort_key), default=None)


def _unknown(spec: str) -> UserError:
    foreign = next((name for name in _FOREIGN_ARCHITECTURES if spec.endswith(f"-{name}")), None)
    if foreign:
        return UserError(f"{spec!r} is a kernel for {foreign}; nfharness runs amd64 kernels", hint="name the series alone, as in 6.12")
    known = catalogue()
    names = sorted({kernel.series for kernel in known}, key=Version) + sorted({kernel.version for kernel in known})
    if "," in spec and all(_newest(known, part.strip()) for part in spec.split(",")):
        return UserError(f"no kernel {spec!r} in Debian's suites", hint="name each kernel by itself: --kernel 5.10 --kernel 6.12")
    close = difflib.get_close_matches(spec, names, 3, 0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return UserError(f"no kernel {spec!r} in Debian's suites", hint=f"{hint}see 'nfharness kernels'")
