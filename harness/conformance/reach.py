"""Which lines and branches of a source file rules or tests reach, which of them reach each, and why none reaches the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from harness.conformance.coverage import FUNCTIONS
from harness.conformance.gcov import Counts
from harness.conformance.statements import CORE, CoreSource

__all__ = ("CodeLine", "Gap", "Reach", "lcov", "reasons")

#: Of those that did not run, by name.
_RULES = 6


@dataclass(frozen=True, slots=True)
class CodeLine:
    """One line that has code.

    :param count: how often it ran, before the rules and in them
    :param before: of that, before any rule or test: as the kernel booted, and as its template was made ready
    :param branches: how often each of its branches was taken
    :param rules: those, or the tests, in which it ran
    :param reason: of a line that never ran, or that has a branch that was never taken: why; empty where nothing is known
    """

    number: int
    function: str
    text: str
    count: int
    before: int
    branches: tuple[int, ...]
    rules: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Lines of one function, one after the other, that never ran for the same reason."""

    function: str
    lines: tuple[CodeLine, ...]
    reason: str

    @property
    def numbers(self) -> str:
        first, last = self.lines[0].number, self.lines[-1].number
        return f"{first}" if first == last else f"{first}-{last}"


@dataclass(frozen=True, slots=True)
class Reach:
    """What of a file was reached.

    :param ran: rules, or tests, whose counters are known
    :param kind: what they are, ``rules`` or ``tests``
    """

    file: str
    lines: tuple[CodeLine, ...]
    ran: tuple[str, ...]
    kind: str = "rules"

    @classmethod
    def of(cls, file: str, text: Sequence[str], before: Counts, rules: Mapping[str, Counts], why: Mapping[int, str], *,
           kind: str = "rules") -> Reach:
        """Make the reach of a file from gcov's counters.

        :param text: the file's lines
        :param before: what ran before any rule or test
        :param rules: rule or test → what ran in it
        :param why: number of a line → the reason if it is not reached
        """
        total = sum(rules.values(), before)
        lines = []
        for number, count in total.lines.items():
            reached = tuple(rule for rule, counts in rules.items() if counts.lines.get(number, 0) > 0)
            branches = total.branches.get(number, ())
            reason = why.get(number, "") if not count or not all(branches) else ""
            shown, early = text[number - 1] if number <= len(text) else "", before.lines.get(number, 0)
            lines.append(CodeLine(number, total.functions.get(number, ""), shown, count, early, branches, reached, reason))
        return cls(file, tuple(lines), tuple(rules), kind)

    @property
    def reached(self) -> int:
        """Lines that ran."""
        return sum(line.count > 0 for line in self.lines)

    @property
    def branches(self) -> tuple[int, int, int]:
        """Branches that there are, those of lines that ran, and those that were taken."""
        return (sum(len(line.branches) for line in self.lines), sum(len(line.branches) for line in self.lines if line.count),
                sum(taken > 0 for line in self.lines for taken in line.branches))  # fmt: skip

    def gaps(self) -> Iterator[Gap]:
        """What never ran."""
        for (ran, function, reason), lines in groupby(self.lines, lambda line: (line.count > 0, line.function, line.reason)):
            if not ran:
                yield Gap(function, tuple(lines), reason)

    def untaken(self) -> list[CodeLine]:
        """Lines that ran, and have a branch that was never taken."""
        return [line for line in self.lines if line.count and not all(line.branches)]

    def as_json(self) -> dict[str, Any]:
        """What ``coverage --json`` prints of it."""
        there, executed, taken = self.branches
        return {
            "file": self.file,
            "lines": {"total": len(self.lines), "reached": self.reached},
            "branches": {"total": there, "executed": executed, "taken": taken},
            self.kind: list(self.ran),
            "source": [{"line": line.number, "function": line.function, "count": line.count, f"before_{self.kind}": line.before,
                        "branches": list(line.branches), self.kind: list(line.rules), "reason": line.reason or None}
                       for line in self.lines],
        }  # fmt: skip


def reasons(file: str, core: CoreSource, ran: Sequence[str]) -> dict[int, str]:
    """Number of a line → why it may not be reached, as far as ``coverage`` knows it; of core.c alone.

    :param core: the kernel's own
    :param ran: rules that ran
    """
    found: dict[int, str] = {}
    branches: dict[int, list[str]] = {}
    functions: dict[int, list[str]] = {}
    for function in FUNCTIONS if file == CORE else ():
        begin, end = core.body(function.name)
        for number in range(begin, end + 1) if end else ():
            functions[number] = [rule for rule in function.rules if rule not in ran]
        for branch in function.branches:
            place = core.place(function, branch)
            for number in range(place[0], place[1] + 1) if place else ():
                if branch.uncovered:
                    found.setdefault(number, branch.uncovered)
                else:
                    branches.setdefault(number, []).extend(rule for rule in branch.rules if rule not in ran)
    for number, rules in {**functions, **branches}.items():
        if rules and number not in found:
            found[number] = f"promised by rules that did not run: {_some(list(dict.fromkeys(rules)))}"
    return found


def _some(rules: Sequence[str]) -> str:
    more = f" and {len(rules) - _RULES} more" if len(rules) > _RULES else ""
    return f"{', '.join(rules[:_RULES])}{more}"


def lcov(file: str, before: Counts, rules: Mapping[str, Counts]) -> str:
    """A tracefile as lcov and genhtml read it, with a test for each rule or test; ``geninfo(1)`` has the format.

    :param file: its path
    """
    return "".join(_record(name, file, counts) for name, counts in {"boot": before, **rules}.items())


def _record(name: str, file: str, counts: Counts) -> str:
    test = "".join(character if character.isalnum() else "_" for character in name)
    lines = [f"TN:{test}", f"SF:{file}"]
    for number, taken in counts.branches.items():
        ran = counts.lines.get(number, 0) > 0
        lines += [f"BRDA:{number},0,{which},{times if ran else '-'}" for which, times in enumerate(taken)]
    lines += [f"DA:{number},{count}" for number, count in counts.lines.items()]
    lines += [f"LF:{len(counts.lines)}", f"LH:{sum(count > 0 for count in counts.lines.values())}", "end_of_record"]
    return "\n".join(lines) + "\n"
