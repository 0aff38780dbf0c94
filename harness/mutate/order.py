"""Which rules are asked first: those that prove the lines that a mutant changes, then those of its function; quick ones before slow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from harness.conformance.coverage import FUNCTIONS, Branch, CoveredFunction
from harness.conformance.rule import Rule
from harness.conformance.statements import CoreSource
from harness.mutate.mutant import Mutant

__all__ = ("Order",)


class Order:
    """The order of the rules for each mutant of a core.c.

    :param core: the core.c that is mutated
    :param rules: those that count
    :param seconds: that each took on the kernel without a mutant, by id
    """

    def __init__(self, core: CoreSource, rules: Sequence[Rule], seconds: Mapping[str, float]) -> None:
        self._core, self._seconds = core, seconds
        self._rules = {rule.id: rule for rule in rules}
        self._branches = [(function, branch, core.place(function, branch)) for function in FUNCTIONS for branch in function.branches]

    def of(self, mutant: Mutant) -> tuple[list[Rule], list[Rule]]:
        """The rules of its lines and of its function; then all others."""
        far: dict[str, int] = {}
        for distance, branch in self._near(mutant):
            for rule in branch.rules:
                far[rule] = min(distance, far.get(rule, distance))
        near = sorted((rule for rule in far if rule in self._rules), key=lambda rule: (far[rule], self._seconds.get(rule, 0.0)))
        others = sorted((rule for rule in self._rules if rule not in far), key=lambda rule: self._seconds.get(rule, 0.0))
        return [self._rules[name] for name in near], [self._rules[name] for name in others]

    def _near(self, mutant: Mutant) -> Iterator[tuple[int, Branch]]:
        """Branches that are about its function, each with the lines between; if there are none, those of its callers."""
        known = any(function.name == mutant.function or _names(branch.what, mutant.function) for function, branch, _ in self._branches)
        for function, branch, place in self._branches:
            if _names(branch.what, mutant.function) or (not known and self._calls(function, mutant.function)):
                yield 0, branch
            elif function.name == mutant.function and place:
                first, last = place
                yield max(0, first - mutant.line, mutant.line - last), branch

    def _calls(self, function: CoveredFunction, name: str) -> bool:
        first, last = self._core.body(function.name)
        return any(_names(line, name) for line in self._core.lines[max(0, first - 1):last])


def _names(text: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text) is not None
