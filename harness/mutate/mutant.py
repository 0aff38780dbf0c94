"""What a mutant of ``net/netfilter/core.c`` is: text of it, and what stands in its place in a wrong kernel."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

__all__ = ("Mutant", "Replacement", "named")


@dataclass(frozen=True, slots=True)
class Replacement:
    """One text of core.c, and another in its place.

    :param first: offset of the first character that is replaced
    :param end: offset behind the last one
    :param wrong: what takes its place: statements where it ends with ``;`` or ``}``, else an expression
    """

    first: int
    end: int
    wrong: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A wrong core.c.

    :param name: function, operator and a hash of the texts: the same as long as the statement and its function are
    :param line: of the first change
    :param original: the statements that are changed, on one line; of an ``if`` or a loop without their bodies
    :param mutated: the same with the changes
    """

    name: str
    function: str
    line: int
    operator: str
    original: str
    mutated: str
    changes: tuple[Replacement, ...]

    def __str__(self) -> str:
        return f"{self.function}:{self.line} {self.operator}: {self.original} → {self.mutated}"


def named(mutants: Sequence[Mutant]) -> Iterator[Mutant]:
    """The mutants with their names, those of like texts numbered."""
    seen: dict[str, int] = {}
    for one in mutants:
        digest = hashlib.sha256(f"{one.original}\n{one.mutated}".encode()).hexdigest()[:6]
        name = f"{one.function}:{one.operator}:{digest}"
        seen[name] = seen.get(name, 0) + 1
        yield replace(one, name=name if seen[name] == 1 else f"{name}.{seen[name]}")
