"""``results page``: tests by runs, for a browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.cli.pages import rendered
from harness.printable import printable
from harness.pytest_plugin.report.results import Result
from harness.pytest_plugin.report.runs import ResultsFile

__all__ = ("ResultRow", "results_page", "rows")

_MARKS = {"passed": "✓", "failed": "✗", "error": "!", "lost": "†", "skipped": "s", "xfailed": "x", "xpassed": "X", "flaky": "~"}


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A test on a kernel.

    :param cells: what became of it in each run; ``None`` where it was not run
    """

    test: str
    kernel: str
    cells: tuple[Result | None, ...]

    @property
    def fails(self) -> bool:
        """Whether it failed when it was run last."""
        return next((not cell.good for cell in reversed(self.cells) if cell), False)

    @property
    def turns(self) -> int:
        """How often it went from good to bad or back; where it was flaky, it was bad."""
        good = [cell.good and cell.outcome != "flaky" for cell in self.cells if cell]
        return sum(one is not other for one, other in pairwise(good))

    @property
    def since(self) -> int | None:
        """The run from which on it has failed; ``None`` if it does not fail."""
        if not self.fails:
            return None
        ran = [(number, cell) for number, cell in enumerate(self.cells) if cell]
        last_good = max((place for place, (_, cell) in enumerate(ran) if cell.good), default=-1)
        return ran[last_good + 1][0]

    @property
    def state(self) -> str:
        """``failing``, ``unsteady`` (it turned twice at least), ``fixed`` or ``steady``."""
        if self.turns > 1:
            return "unsteady"
        return "failing" if self.fails else "fixed" if self.turns else "steady"


def rows(runs: Sequence[ResultsFile]) -> list[ResultRow]:
    """A row for each test and kernel, failing ones first, then those that turned most often; a bad result hides a good one of its run."""
    cells: dict[tuple[str, str], list[Result | None]] = {}
    for number, run in enumerate(runs):
        for one in run.results:
            row = cells.setdefault((one.test, one.kernel), [None] * len(runs))
            if row[number] is None or not one.good:
                row[number] = one
    found = [ResultRow(test, kernel, tuple(row)) for (test, kernel), row in cells.items()]
    return sorted(found, key=lambda row: (not row.fails, -row.turns, row.test, row.kernel))


def results_page(runs: Sequence[ResultsFile]) -> str:
    """The page. Runs that say when they began are in that order, behind those that were cut off and do not."""
    ordered = sorted(runs, key=lambda run: run.began)
    found = rows(ordered)
    states = {state: sum(row.state == state for row in found) for state in ("failing", "unsteady", "fixed", "steady")}
    return printable(rendered("results.html", runs=ordered, rows=found, marks=_MARKS, states=states))
