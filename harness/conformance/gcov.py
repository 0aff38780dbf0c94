"""gcov's counters of one file, as gcc's own ``gcov`` reads them: how often each line ran and each branch was taken.

A kernel with ``CONFIG_GCOV_KERNEL`` shows them in debugfs (``kernel/gcov/fs.c``); what they count is in ``core.gcno``, which the compiler
left beside ``core.o``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HostError, UserError
from harness.host import process
from harness.host.scratch import scratch
from harness.images import toolchain
from harness.images.counted import must_count
from harness.images.kernel_build import command_of
from harness.images.kernel_tree import Tree
from harness.images.kernels import series_of

__all__ = ("Counts", "Profiled", "parsed")

_DEBUGFS = "/sys/kernel/debug/gcov"
_READING_S = 60


@dataclass(frozen=True, slots=True)
class Counts:
    """How often what ran.

    :param lines: number of each line that has code → times
    :param branches: number of each line that branches → times each of its branches was taken, in the compiler's order
    :param functions: number of a line → its function
    """

    lines: Mapping[int, int] = field(default_factory=dict)
    branches: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    functions: Mapping[int, str] = field(default_factory=dict)

    def __add__(self, other: Counts) -> Counts:
        return self._with(other, 1)

    def __sub__(self, other: Counts) -> Counts:
        return self._with(other, -1)

    def _with(self, other: Counts, sign: int) -> Counts:
        """The sum, or with a *sign* of -1 the difference.

        :raises ValueError: they are not of one build
        """
        lines = {line: self.lines.get(line, 0) + sign * other.lines.get(line, 0) for line in sorted({*self.lines, *other.lines})}
        branches = {}
        for line in sorted({*self.branches, *other.branches}):
            mine = self.branches.get(line) or (0,) * len(other.branches[line])
            theirs = other.branches.get(line) or (0,) * len(mine)
            branches[line] = tuple(one + sign * two for one, two in zip(mine, theirs, strict=True))
        return Counts(lines, branches, {**other.functions, **self.functions})


def parsed(document: Mapping[str, Any], file: str) -> Counts | None:
    """Counts of one source file out of gcov's JSON; ``None`` if it has nothing about the file.

    A line is in it once for each function that its code went into, and counts as often. Names in it are relative to the directory that
    the compiler ran in, which may have moved since.
    """
    found = [one for one in document["files"] if f"/{one['file']}".endswith(f"/{file}")]
    lines: dict[int, int] = {}
    branches: dict[int, tuple[int, ...]] = {}
    functions: dict[int, str] = {}
    for entry in (line for one in found for line in one["lines"]):
        number = entry["line_number"]
        lines[number] = lines.get(number, 0) + entry["count"]
        if entry["branches"]:
            branches[number] = branches.get(number, ()) + tuple(branch["count"] for branch in entry["branches"])
        functions.setdefault(number, entry.get("function_name", ""))
    return Counts(lines, branches, functions) if found else None


class Profiled:
    """One file of a kernel that gcov counts.

    :param tree: the build
    :param file: relative to the sources, ``net/netfilter/core.c``
    :raises HostError: the kernel counts nothing, or not this file; its compiler's gcov is not here
    :raises UserError: there is no such file
    """

    def __init__(self, tree: Tree, file: str) -> None:
        must_count(tree)
        if not file.endswith(".c") or not (tree.source / file).is_file():
            raise UserError(f"{file} is no source file of {tree.source}", hint="name one as net/netfilter/nfnetlink_queue.c")
        self._notes = (tree.build / file).with_suffix(".gcno")
        if not self._notes.is_file():
            raise HostError(f"{file} is built without counters: {self._notes} is not there",
                            hint=f"{command_of(series_of(tree.release), 'gcov')} --profile {file}; in a tree of your own "
                                 f"GCOV_PROFILE_{Path(file).stem}.o := y in {Path(file).parent / 'Makefile'}")  # fmt: skip
        self._program = toolchain.gcov(tree.options)
        self._compiler = tree.options.get("CC_VERSION_TEXT", "")
        self._tree = tree
        self.file = file
        self.source = tree.source / file
        self.text = tuple(self.source.read_text(errors="replace").splitlines())

    @property
    def glob(self) -> str:
        """Where a guest has its counters; under the path that the tree had when it was built."""
        return f"{_DEBUGFS}/**/{Path(self.file).with_suffix('.gcda')}"

    def read(self, counters: bytes) -> Counts:
        """What counters say; of none at all (a module that is not there yet) that nothing ran.

        :raises HostError: they are another build's or another compiler's, or no counters
        """
        if not counters:
            return Counts()
        with scratch("gcov") as place:
            shutil.copy(self._notes, place)
            data = place / self._notes.with_suffix(".gcda").name
            data.write_bytes(counters)
            command = [self._program, "--json-format", "--stdout", "--branch-probabilities", data.name]
            try:
                done = process.captured(process.bound(command), _READING_S, cwd=place)
            except TimeoutError as late:
                raise HostError(f"{self._program} did not end {late}", hint="try again") from None
        return self._understood(done.stdout, done.stderr)

    def _understood(self, out: str, said: str) -> Counts:
        again = f"build the tree once more, and check what it boots: {self._tree.make()}"
        if "version" in said and "prefer" in said:
            raise HostError(f"counters of {self.file} are another compiler's than {self._program}'s: {said.strip().splitlines()[0]}",
                            hint=f"the kernel was built by {self._compiler}: install its gcov, or {again}")
        if "stamp mismatch" in said:
            raise HostError(f"counters of {self.file} are not of the build that is in {self._tree.build} now", hint=again)
        try:
            # What it cannot read, gcov mentions, and counts as nothing that ran.
            found = parsed(json.loads("" if ".gcda:" in said else out), self.file)
        except (ValueError, KeyError, TypeError):
            why = said.strip() or "no JSON"
            raise HostError(f"{self._program} does not understand counters of {self.file}: {why}", hint=again) from None
        if found is None:
            raise HostError(f"{self._notes} has nothing about {self.file}", hint=again)
        return found
