"""A kernel with every mutant: a copy of a built tree, in which core.c is another one. The tree itself is not written to.

While ``make`` runs, the copy stands where the tree is, in a mount namespace: kbuild compares command lines, and these have the tree's path.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.conformance.statements import CORE
from harness.errors import HostError
from harness.host import process
from harness.host.paths import cache_dir
from harness.host.progress import Progress
from harness.host.store import building, read_record
from harness.images import kernel_tree, treecopy
from harness.images.kernel_tree import BZIMAGE, Tree
from harness.mutate.mutant import Mutant
from harness.mutate.schemata import chosen_in, on_line, with_mutants

__all__ = ("Built", "built", "source_of")

_MAKE_S = 1800
_COPY = """
mkdir "$2"
tar -C "$1" --exclude=./.git --exclude='./.tmp_vmlinux*' --format=posix -cf - . | tar -C "$2" -xf -
"""
_MAKE = """
mount --bind "$1" "$2"
mount --bind "$3" "$4"
cd "$5"
shift 5
exec "$@"
"""
#: What was compiled is in vmlinux and the modules; a module that is older than vmlinux is no doubt here.
_SHED = """
cd "$1"
find . -name '*.ko' -exec touch {} +
find . \\( -name '*.[oa]' -o -name '.tmp_vmlinux*' \\) -not -path './tools/*' -not -path './scripts/*' -delete
"""
_PLACE = re.compile(r"core\.c:(\d+):\d+: (?:error|note):")


@dataclass(frozen=True, slots=True)
class Built:
    """A kernel with every mutant that compiles.

    :param tree: the directory that is booted
    :param mutants: by number, from 1
    :param left_out: why the others are not in it, by name
    """

    tree: Path
    mutants: tuple[Mutant, ...]
    left_out: dict[str, str]

    def number(self, mutant: Mutant) -> int:
        """What the kernel's parameter is set to."""
        return self.mutants.index(mutant) + 1


def source_of(tree: Tree) -> str:
    """core.c of a tree.

    :raises HostError: there is none
    """
    try:
        return (tree.source / CORE).read_text(errors="replace")
    except OSError as error:
        raise HostError(f"{tree.source / CORE}: {error.strerror}", hint="name a tree whose sources are there") from None


def built(spec: str, mutants: Sequence[Mutant], progress: Progress) -> Built:
    """The kernel with these mutants of a built tree, made if it is not there.

    :param spec: the directory of the tree, in place or what ``O=`` named
    :param mutants: of its core.c
    :raises UserError: no kernel tree
    :raises HostError: it is not built, its core.c does not compile here, or there is no room
    """
    tree = kernel_tree.read(spec)
    treecopy.check_options(tree)
    try:
        text = with_mutants(source_of(tree), [one.changes for one in mutants])
    except ValueError as error:
        raise HostError(f"{tree.source / CORE}: {error}", hint="name a tree whose core.c is the kernel's") from None
    made_of = (tree.identity, str(tree.build), text, *(one.name for one in mutants))
    path = cache_dir() / "mutants" / f"{tree.release}_{hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]}"
    with building(path, waiting=lambda: progress.note("waiting for another build of the same mutants")) as new:
        if new:
            _check_objects(tree)
            _Build(tree, new, progress).run(mutants)
    record = read_record(path / "record.json")
    return Built(path / "tree", tuple(one for one in mutants if one.name not in record["left_out"]), record["left_out"])


def _check_objects(tree: Tree) -> None:
    """Look whether make would make no more than core.o and vmlinux.

    :raises HostError: the objects have gone, or make or the compiler
    """
    command = tree.build / Path(CORE).parent / ".core.o.cmd"
    if not command.exists() or not command.with_name("core.o").exists():
        raise HostError(f"{tree.build} has no objects: make would compile all of it", hint=tree.make())
    for program in ("make", *shlex.split(_compiler(tree.build)[-1].removeprefix("CC="))):
        if not shutil.which(program):
            raise HostError(f"{program} is not installed, with which {tree.build} was built", hint=f"apt-get install {program}")


class _Build:
    """One kernel.

    :param new: directory to make it in
    """

    def __init__(self, tree: Tree, new: Path, progress: Progress) -> None:
        self._tree, self._new, self._progress = tree, new, progress
        self._log, self._core = new / "build.log", new / "core.c"
        self._source = source_of(tree)

    def run(self, mutants: Sequence[Mutant]) -> None:
        with self._progress.step(f"copying {self._tree.build}", expected_s=20):
            process.run(process.bound(["sh", "-ec", _COPY, "sh", str(self._tree.build), str(self._new / "tree")]), what="copying the tree",
                        log=self._log, timeout=_MAKE_S)
        with self._progress.step(f"compiling core.c with {len(mutants)} mutants", expected_s=30):
            left_out = self._left_out(mutants)
        kept = [one for one in mutants if one.name not in left_out]
        with self._progress.step(f"linking the kernel with {len(kept)} mutants", expected_s=90):
            self._core.write_text(with_mutants(self._source, [one.changes for one in kept]))
            self._make("vmlinux" if self._tree.image.name == "vmlinux" else "bzImage")
        process.run(process.bound(["sh", "-ec", _SHED, "sh", str(self._new / "tree")]), what="tidying the copy", log=self._log, timeout=300)
        if self._tree.image.name == "vmlinux":
            (self._new / "tree" / BZIMAGE).unlink(missing_ok=True)
        if self._tree.source != self._tree.build:  # kbuild's link to it is relative where O= is below the sources
            (self._new / "tree/source").unlink(missing_ok=True)
            (self._new / "tree/source").symlink_to(self._tree.source)
        record = {"origin": str(self._tree.build), "identity": self._tree.identity, "left_out": left_out}
        (self._new / "record.json").write_text(json.dumps(record, indent=1))

    def _left_out(self, mutants: Sequence[Mutant]) -> dict[str, str]:
        """Mutants that do not compile, found by the lines of the compiler's errors, and those that this configuration leaves away."""
        left_out: dict[str, str] = {}
        while True:  # at least one is left out each time
            kept = [one for one in mutants if one.name not in left_out]
            apart = with_mutants(self._source, [one.changes for one in kept], apart=True)
            self._core.write_text(apart)
            try:
                self._make(CORE.replace(".c", ".o"))
            except process.ProgramFailed as failure:
                numbers = _blamed(failure.output.rpartition(_ATTEMPT)[2], apart) or {self._culprit(kept): failure.message}
                left_out |= {kept[number - 1].name: f"does not compile: {why}" for number, why in numbers.items()}
            else:
                self._make(CORE.replace(".c", ".i"))
                compiled = chosen_in((self._new / "tree" / CORE.replace(".c", ".i")).read_text(errors="replace"))
                absent = (one.name for number, one in enumerate(kept, 1) if number not in compiled)
                return left_out | dict.fromkeys(absent, "this configuration does not compile it")

    def _culprit(self, mutants: Sequence[Mutant]) -> int:
        """Number of the first mutant with which core.c does not compile, by halves.

        :raises HostError: it does not compile without any
        """
        compiles, fails, see = -1, len(mutants), ""
        while fails - compiles > 1:
            middle = (compiles + fails) // 2
            self._core.write_text(with_mutants(self._source, [one.changes for one in mutants[:middle]], apart=True))
            try:
                self._make(CORE.replace(".c", ".o"))
            except process.ProgramFailed as failure:
                fails, see = middle, failure.hint or ""
            else:
                compiles = middle
        if not fails:
            raise HostError("core.c does not compile here, even as it is", hint=see)
        return fails

    def _make(self, target: str) -> None:
        """Make a target of the copy, with *core.c* in the stead of the tree's.

        :raises CommandFailed: it does not compile
        """
        build, source = self._tree.build, self._tree.source
        with self._log.open("a") as log:
            print(_ATTEMPT, target, file=log)
        place = [] if source == build else [f"O={build}"]
        make = ["make", "-C", str(source), *place, *_compiler(self._new / "tree"), f"-j{os.cpu_count()}", target]
        mounts = [str(self._new / "tree"), str(build), str(self._core), str(source / CORE)]
        environment = ["env", "-u", "MAKEFLAGS", "-u", "KBUILD_OUTPUT", "LC_ALL=C"]
        process.run(process.in_namespace([*environment, "sh", "-ec", _MAKE, "sh", *mounts, str(source), *make]),
                    what=f"make {target}", log=self._log, timeout=_MAKE_S)


def _blamed(said: str, apart: str) -> dict[int, str]:
    """Mutants that errors are about, by number, with what the compiler said; of an error in a macro, those where it was expanded."""
    found: dict[int, str] = {}
    why = ""
    for line in said.splitlines():
        why = line.rpartition(" error: ")[2] if " error: " in line else why
        place = _PLACE.search(line)
        if why and place and (number := on_line(apart, int(place[1]))):
            found.setdefault(number, why)
            why = ""
    return found


#: Before what each make says in the log.
_ATTEMPT = "nfharness: make"


def _compiler(build: Path) -> list[str]:
    """The compiler as it was named when the tree was built, for make, since another name would have kbuild compile everything again.

    :raises HostError: kbuild has not left it
    """
    command = build / Path(CORE).parent / ".core.o.cmd"
    found = re.match(r"(?:saved)?cmd_\S+ := (.*?) +-Wp,", command.read_text(errors="replace"))
    if not found:
        raise HostError(f"{command}: not what kbuild writes", hint="build the tree again")
    program = shlex.split(found[1])[-1]
    return [*(["LLVM=1"] if program.endswith("clang") else []), f"CC={found[1]}"]
