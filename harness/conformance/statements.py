"""Statements of a kernel's own ``net/netfilter/core.c``, found beside those of the one that the rules were read from."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from harness.conformance.coverage import FUNCTIONS, Branch, CoveredFunction

__all__ = ("CORE", "CoreSource", "Statement", "pinned", "read")

#: Where a kernel's sources have it.
CORE = "net/netfilter/core.c"
_MOST = 4
"""Lines of a statement that are shown."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a rule is about, in one core.c.

    :param lines: first and last
    :param what: that it does
    :param text: its lines, without what is before and behind them
    """

    function: str
    lines: tuple[int, int]
    what: str
    text: tuple[str, ...]
    file: str = CORE

    def __str__(self) -> str:
        first, last = self.lines
        where = f"{first}" if first == last else f"{first}-{last}"
        return f"{self.file}:{where} {self.function}: {self.what}"


@dataclass(frozen=True, slots=True)
class CoreSource:
    """One core.c.

    :param name: how it is called in a report
    :param lines: its text
    """

    name: str
    lines: tuple[str, ...]

    def statements(self, rule: str) -> Iterator[Statement]:
        """The statements that a rule is about, each once, as far as this core.c has them."""
        seen = set()
        for function in FUNCTIONS:
            for branch in function.branches:
                found = self.place(function, branch) if rule in branch.rules else None
                if found and found not in seen:
                    seen.add(found)
                    first, last = found
                    text = tuple(line.strip() for line in self.lines[first - 1:last] if line.strip())[:_MOST]
                    yield Statement(function.name, found, branch.what, text, self.name)

    def place(self, function: CoveredFunction, branch: Branch) -> tuple[int, int] | None:
        """First and last line of what one branch of the pinned core.c is here; ``None`` if this core.c has not even the function."""
        begin, end = self.body(function.name)
        if not end:
            return None
        first, last = function.lines
        there = _stripped(pinned().lines[first - 1:last])
        here = _stripped(self.lines[begin - 1:end])
        wanted = range(branch.lines[0] - first, branch.lines[1] - first + 1)
        found = sorted(begin + line for line in _aligned(there, here, wanted))
        return (found[0], found[-1]) if found else (begin, begin)

    def body(self, name: str) -> tuple[int, int]:
        """First and last line of a function's definition, or of the statement that declares an object; zeros if there is none."""
        named = re.compile(rf"^(?![\s#/*]).*\b{re.escape(name)}\b(?P<function>\()?")
        for number, line in enumerate(self.lines, 1):
            found = named.match(line)
            if not found or line.startswith("EXPORT") or (found["function"] and _ends(line)):  # of a function its declaration
                continue
            following = range(number, len(self.lines) + 1)
            return number, next((at for at in following if self.lines[at - 1].startswith("}") or _ends(self.lines[at - 1])), number)
        return 0, 0


def _ends(line: str) -> bool:
    return line.rstrip().endswith(";") and not line[:1].isspace()


def _stripped(lines: Sequence[str]) -> list[str]:
    return ["".join(line.split()) for line in lines]


def _aligned(there: list[str], here: list[str], wanted: range) -> Iterator[int]:
    """The numbers of the lines *here* that the wanted lines *there* have become; of the lines around them, where they are gone."""
    for tag, first, last, begin, end in difflib.SequenceMatcher(None, there, here, autojunk=False).get_opcodes():
        lines = range(max(first, wanted.start), min(last, wanted.stop))
        if not lines:
            continue
        if tag == "equal":
            yield from (begin + line - first for line in lines)
        elif tag == "replace":
            yield from (begin + _likest(there[line], here[begin:end], (line - first) / (last - first)) for line in lines)
        else:
            yield max(0, min(begin, len(here) - 1))


def _likest(line: str, among: Sequence[str], share: float) -> int:
    """Number of the line that is like another one; if none is, of the one at the same share of the way."""
    likeness = [difflib.SequenceMatcher(None, line, one).ratio() for one in among]
    best = max(range(len(among)), key=likeness.__getitem__)
    return best if likeness[best] > 0.5 else int(share * len(among))


def read(source: Path) -> CoreSource | None:
    """The core.c of a kernel's sources; ``None`` if there is none."""
    try:
        return CoreSource(CORE, tuple((source / CORE).read_text(errors="replace").splitlines()))
    except OSError:
        return None


@cache
def pinned() -> CoreSource:
    """The core.c that the rules were read from."""
    return CoreSource("the pinned core.c", tuple((files("harness.conformance") / "core.txt").read_text().splitlines()))
