"""How ``check`` shows what it does and what it found."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from harness.conformance.judge import STATES, State
from harness.conformance.matrix import Result, Target
from harness.conformance.rule import Rule
from harness.outcome.profile import KernelProfile

__all__ = ("Checking", "table")

_STYLES: dict[State, str] = {
    "conformant": "green", "different": "bold red", "not_applicable": "dim", "inconclusive": "yellow", "lost": "bold magenta",
}
#: Of a difference, on a terminal: one wrong order of many hooks differs at every step.
_DETAILS = 6


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _words(state: State) -> str:
    return state.replace("_", " ")


class Checking:
    """Progress on standard error: a bar for each kernel on a terminal, a line for each result elsewhere. A context.

    :ivar targets: the kernels, once they are ready
    :ivar results: so far, in the order in which they came
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.targets: Sequence[Target] = ()
        self.results: list[Result] = []
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn(),
                   TextColumn("{task.fields[last]}"))
        self._bars = Bars(*columns, console=self._console, transient=True, disable=not self._live)
        self._tasks: dict[str, TaskID] = {}
        self._start = 0.0

    def of(self, targets: Sequence[Target]) -> Checking:
        """These kernels, which are ready."""
        self.targets = targets
        return self

    def __enter__(self) -> Checking:
        self._start = time.monotonic()
        for target in self.targets:
            label = target.kernel.label
            self._tasks[label] = self._bars.add_task(label, total=len(self.rules), last="")
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    @property
    def seconds(self) -> float:
        """Since the first guest was asked for."""
        return time.monotonic() - self._start

    def add(self, result: Result) -> None:
        """Another result."""
        self.results.append(result)
        self._bars.update(self._tasks[result.kernel], advance=1, last=result.rule)
        if self._live and result.state in ("conformant", "not_applicable"):
            return
        reason = f"  {result.reason}" if result.reason else ""
        line = f"{result.kernel}  {result.rule}  {_words(result.state)}  {result.seconds:.1f} s{reason}"
        self._console.print(line, style=_STYLES[result.state] if self._live else None, highlight=False, soft_wrap=True, markup=False)


def table(targets: Sequence[Target], rules: Sequence[Rule], results: Sequence[Result], seconds: float) -> None:
    """The matrix, why what is not conformant is not, and the totals; on standard output."""
    console = Console() if sys.stdout.isatty() else Console(width=max(120, 36 + 18 * len(targets)))
    states = {(result.rule, result.kernel): result.state for result in results}
    shown = Table("rule", *(target.name for target in targets), box=None, header_style="bold", pad_edge=False)
    for rule in rules:
        cells = (states[rule.id, target.kernel.label] for target in targets)
        shown.add_row(rule.id, *(f"[{_STYLES[state]}]{_words(state)}[/]" for state in cells))
    console.print(shown)
    _differences(console, results)
    _not_applicable(console, targets, rules, results)
    _cut_off(console, targets, results)
    count: Counter[State] = Counter(result.state for result in results)
    totals = ", ".join(f"{count[state]} {_words(state)}" for state in STATES if count[state])
    console.print(f"\n{_plural(len(rules), 'rule')} on {_plural(len(targets), 'kernel')} in {seconds:.0f} s: {totals}", highlight=False)


def _differences(console: Console, results: Sequence[Result]) -> None:
    for result in results:
        if result.state not in ("different", "inconclusive", "lost") or result.cut_off:
            continue
        console.print(f"\n[{_STYLES[result.state]}]{_words(result.state)}[/] {result.rule} on {result.kernel}", highlight=False)
        details = result.details or (result.reason,)
        for detail in details if result.state == "lost" else details[:_DETAILS]:
            console.print(f"  {escape(detail)}", highlight=False, soft_wrap=True)
        if result.state != "lost" and len(details) > _DETAILS:
            console.print(f"  … and {len(details) - _DETAILS} more, which replay shows")
        if result.bundle:
            console.print(f"  nfharness replay {result.bundle}", highlight=False, soft_wrap=True)


def _not_applicable(console: Console, targets: Sequence[Target], rules: Sequence[Rule], results: Sequence[Result]) -> None:
    """One line for each probe and kernel."""
    lacking: dict[tuple[str, str], list[str]] = {}
    skipped = {(result.rule, result.kernel) for result in results if result.state == "not_applicable"}
    for target in targets:
        profile: KernelProfile = target.profile
        for rule in rules:
            if (rule.id, target.kernel.label) in skipped:
                lacking.setdefault((target.name, rule.lacking(profile) or "?"), []).append(rule.id)
    if lacking:
        console.print()
    for (name, probe), ids in lacking.items():
        console.print(f"not applicable to {name}, where the probe {probe} says no: {', '.join(ids)}", style="dim", highlight=False,
                      soft_wrap=True)


def _cut_off(console: Console, targets: Sequence[Target], results: Sequence[Result]) -> None:
    """What a check that was cut off did not come to, and why not."""
    for target in targets:
        missed = [result for result in results if result.kernel == target.kernel.label and result.cut_off]
        if missed:
            console.print(f"\n{_plural(len(missed), 'rule')} on {target.name} {missed[0].reason}", style="yellow", highlight=False,
                          soft_wrap=True, markup=False)
