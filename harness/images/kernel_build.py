"""A kernel built from Debian's sources: fetched, patched, configured and compiled in one directory, a developer's tree from then on.

All that is kept about it is in ``.nfharness`` there: what it was made of, its patches, what it was configured with, and while it is being
compiled, or has not been to the end, the mark :data:`harness.images.kernel_tree.UNFINISHED`. A build that was cut off goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HostError, UserError
from harness.host import process
from harness.host.progress import Progress
from harness.host.store import building, disk_full_is_an_error, lock_of, locked, read_record, write_whole
from harness.images import archive, flavours, kernel_tree, patches, sources, treecopy
from harness.images.flavours import PLAIN
from harness.images.kernel_tree import STATE, UNFINISHED, Tree, built_path
from harness.images.kernels import DEFAULT, series_of
from harness.requirements import build_requirements, missing_packages

__all__ = ("PROFILED", "BuildOrder", "build", "command_of", "has_ccache")

#: What gcov's flavour counts unless other files are named.
PROFILED = "net/netfilter/core.c"
_RECORD = f"{STATE}/made.json"
_LOG = f"{STATE}/build.log"
#: Seconds of an idle host.
_CONFIGURING_S, _COMPILING_S = 600, 6 * 3600
_FIRST_S, _AGAIN_S = 1500, 15
#: Debian's links to ccache by the names of compilers: a make without them has the same command lines, and compiles nothing anew.
_CCACHE = Path("/usr/lib/ccache")
_MARK = "# nfharness: counted by gcov"
_COMPILED = re.compile(r"^  (?:\[M\] )?(?:CC|AS|LD|AR|BTF|MODPOST|HOSTCC|LINK|KSYMS|NM|BTFIDS|DESCEND|UPD|GEN) .*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """What is to be built; ``None`` for what a directory that was built before says.

    :param source: a series, or the version of Debian's package
    :param patches: as :func:`harness.images.patches.read` has them
    :param fragments: options beside the flavour's
    :param profiled: files that gcov is to count, of its flavour
    """

    source: str | None = None
    flavour: str | None = None
    patches: dict[str, bytes] = field(default_factory=dict)
    fragments: tuple[dict[str, str], ...] = ()
    profiled: tuple[str, ...] = (PROFILED,)


@dataclass(frozen=True, slots=True)
class _Made:
    """What a tree was made of.

    :param version: of Debian's package
    """

    series: str
    version: str
    flavour: str


def command_of(source: str, flavour: str, directory: Path | None = None) -> str:
    """The command that builds a kernel, for a hint."""
    chosen = [] if flavour == PLAIN else ["--flavour", flavour]
    return shlex.join(["nfharness", "kernel", "build", "--source", source, *chosen, *([str(directory)] if directory else [])])


def build(order: BuildOrder, directory: Path | None, progress: Progress, *, jobs: int | None = None, again: str = "") -> Tree:
    """Build a kernel, or what has changed of it since it was built last.

    :param directory: where; a place in the cache by its series and flavour if ``None``
    :param jobs: of make; as many as there are processors if ``None``
    :param again: the command that goes on with it, for a hint
    :raises UserError: no such sources, a patch that does not apply, a directory that holds something else
    :raises HostError: a program is missing, an option was dropped, the compiler failed, the disk is full
    """
    _check_programs(order)
    flavour = order.flavour or PLAIN
    tree = directory.absolute() if directory else built_path(series_of(order.source or DEFAULT), flavour)
    _check_place(tree)
    package = None if (tree / _RECORD).exists() else _package(order.source or DEFAULT, progress)
    with disk_full_is_an_error(tree):
        tree.parent.mkdir(parents=True, exist_ok=True)
        with locked(lock_of(tree), lambda: progress.note(f"waiting for another build of {tree}")):
            made = _sources(order, tree, package, progress)
            told = patches.apply(tree, tree / STATE, order.patches)
            if told:
                progress.note(f"{made.series}+{made.flavour}: {told} patch{'' if told == 1 else 'es'} applied or taken back")
            _profile(tree, order.profiled if made.flavour == "gcov" else ())
            _configure(made, order, tree, progress)
            again = again or command_of(order.source or made.series, made.flavour, directory)
            _compile(made, tree, again, jobs or len(os.sched_getaffinity(0)), progress)
    found = kernel_tree.read(str(tree))
    treecopy.check_options(found)
    return found


def _check_programs(order: BuildOrder) -> None:
    found = build_requirements(patches=bool(order.patches))
    lacking = [one.name for one in found if not one.found]
    if lacking:
        raise HostError(f"to build a kernel this host lacks {', '.join(lacking)}",
                        hint=f"apt-get install {' '.join(missing_packages(found))}")


def _check_place(tree: Path) -> None:
    """Look whether a directory may become, or is, a tree of ours.

    :raises UserError: it is neither
    """
    if re.search(r"[\s:]", str(tree)):
        raise UserError(f"{tree}: kernels build in no directory with a space or colon in its path", hint="name another DIRECTORY")
    if not tree.exists():
        return
    if not tree.is_dir():
        raise UserError(f"{tree} is a file", hint="name a directory that is not there yet")
    if any(tree.iterdir()) and not (tree / _RECORD).exists():
        raise UserError(f"{tree} holds something that 'nfharness kernel build' did not make", hint="name a directory that is not there yet")


def _sources(order: BuildOrder, tree: Path, package: archive.Package | None, progress: Progress) -> _Made:
    """The tree with its sources, unpacked if they are not there.

    :param package: to unpack then
    """
    if tree.is_dir() and not any(tree.iterdir()):
        tree.rmdir()
    with building(tree, sealed=False) as new:
        if new:
            package = package or _package(order.source or DEFAULT, progress)
            with progress.step(f"sources {package.name} {package.version}", expected_s=30):
                (new / STATE).mkdir()
                sources.unpack(package, new, new / STATE / "unpack.log")
            record = {"series": series_of(package.version), "version": package.version, "flavour": order.flavour or PLAIN}
            (new / _RECORD).write_text(json.dumps(record))
    made = _Made(**read_record(tree / _RECORD))
    if order.source not in (None, made.series, made.version) or order.flavour not in (None, made.flavour):
        asked = f"{order.source or made.series}+{order.flavour or made.flavour}"
        raise UserError(f"{tree} holds {made.version}+{made.flavour}, not {asked}", hint="name another DIRECTORY, or delete that one")
    return made


def _package(source: str, progress: Progress) -> archive.Package:
    """The newest package of a series, or the one of a version."""
    found = sources.packages(series_of(source), progress)
    matching = [one for one in found if source in (one.version, series_of(one.version))]
    if not matching:
        known = [one.version for one in found] or sources.series()
        raise UserError(f"Debian's archive has no sources of {source}", hint=f"one of {', '.join(known)}")
    return matching[-1]


def _profile(tree: Path, files: Sequence[str]) -> None:
    """Have gcov count these files and no others: a line at the end of their Makefile each (Documentation/dev-tools/gcov.rst).

    :raises UserError: no such file
    """
    wanted: dict[Path, list[str]] = {}
    for name in files:
        if not name.endswith(".c") or name.startswith("/") or ".." in name.split("/") or not (tree / name).is_file():
            raise UserError(f"{name} is no source file of this kernel", hint="name one as net/netfilter/nfnetlink_queue.c")
        wanted.setdefault(Path(name).parent, []).append(f"GCOV_PROFILE_{Path(name).stem}.o := y {_MARK}")
    kept = tree / STATE / "profiled.json"
    before = map(Path, json.loads(kept.read_text())) if kept.exists() else ()
    write_whole(kept, json.dumps(sorted({str(place) for place in (*before, *wanted)})))
    for place in map(Path, json.loads(kept.read_text())):
        makefile = tree / place / "Makefile"
        text = makefile.read_text()
        lines = [line for line in text.splitlines() if not line.endswith(_MARK)] + wanted.get(place, [])
        if (changed := "\n".join(lines) + "\n") != text:
            write_whole(makefile, changed)
            for name in wanted.get(place, []):  # kbuild sees options of the compiler that change, but make no notes that are missing
                (tree / place / name.split()[0].removeprefix("GCOV_PROFILE_")).unlink(missing_ok=True)


def _configure(made: _Made, order: BuildOrder, tree: Path, progress: Progress) -> None:
    """The tree's ``.config``, made anew if what it is made of has changed; one that was edited since stays."""
    insisted = flavours.wanted(made.flavour, order.fragments)
    identity = hashlib.sha256(flavours.merged(flavours.BASE, insisted).encode()).hexdigest()
    kept, new, preset = (tree / STATE / name for name in ("configured", "config", "preset"))
    if (tree / ".config").exists() and kept.exists() and kept.read_text() == identity:
        return
    with progress.step(f"{made.series}+{made.flavour}: configuring", expected_s=10):
        preset.write_text(flavours.BASE)
        _make(tree, ["allnoconfig", f"KCONFIG_CONFIG={new}", f"KCONFIG_ALLCONFIG={preset}"], "configuring the kernel", _CONFIGURING_S)
        write_whole(new, flavours.merged(new.read_text(), insisted))
        _make(tree, ["olddefconfig", f"KCONFIG_CONFIG={new}"], "configuring the kernel", _CONFIGURING_S)
        if newer := flavours.check(new.read_text(), insisted, tree, made.flavour):
            progress.note(f"{made.series}+{made.flavour}: its sources do not have {', '.join(f'CONFIG_{name}' for name in newer)} yet")
        if not (tree / ".config").exists() or (tree / ".config").read_text() != new.read_text():
            shutil.copy(new, tree / f"{STATE}/config.new")
            (tree / f"{STATE}/config.new").replace(tree / ".config")
        write_whole(kept, identity)


def _compile(made: _Made, tree: Path, again: str, jobs: int, progress: Progress) -> None:
    """vmlinux and modules; while that goes on, and if it is cut off, the tree is marked."""
    mark, log = tree / UNFINISHED, tree / _LOG
    if mark.exists():
        _sweep(tree)
    first = not (tree / "vmlinux").exists()
    write_whole(mark, again)
    cached = "" if has_ccache() else ", without ccache" if first else ""

    def compiled() -> str:
        lines = _COMPILED.findall(log.read_text(errors="replace")) if log.exists() else []
        return f"{len(lines)} steps, {lines[-1].split()[-1]}" if lines else ""

    with progress.step(f"{made.series}+{made.flavour}: compiling{cached}", expected_s=_FIRST_S if first else _AGAIN_S, detail=compiled):
        _make(tree, [f"-j{jobs}", "vmlinux", "modules"], f"compiling {made.series}+{made.flavour}", _COMPILING_S)
    mark.unlink()


def _make(tree: Path, arguments: Sequence[str], what: str, timeout_s: float) -> None:
    """Run make; it and all that it starts end with us."""
    log = tree / _LOG
    log.unlink(missing_ok=True)
    path = f"{_CCACHE}:{os.environ['PATH']}" if has_ccache() else os.environ["PATH"]
    # By the names of files, not by the directory that they are in: another tree of the same sources finds them in ccache.
    command = ["env", "LC_ALL=C", f"PATH={path}", "CCACHE_NOHASHDIR=1", "make", *arguments]
    process.run(process.in_namespace(command), what=what, log=log, timeout=timeout_s, cwd=tree)


def has_ccache() -> bool:
    """Whether compilers are called through ccache."""
    return (_CCACHE / "gcc").exists()


def _sweep(tree: Path) -> None:
    """Delete what a make that was killed was writing: kbuild writes ``.core.o.cmd`` once ``core.o`` is whole, and looks only at times."""
    for command in tree.rglob(".*.cmd"):
        target = command.with_name(command.name[1:].removesuffix(".cmd"))
        if target.is_file() and target.stat().st_mtime_ns > command.stat().st_mtime_ns:
            target.unlink()
