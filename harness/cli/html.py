"""``check --html``: the matrix of rules and kernels as a page."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI

from harness.cli.pages import rendered
from harness.conformance.bundle import load
from harness.conformance.coverage import functions_of
from harness.conformance.judge import STATES, State, judge
from harness.conformance.matrix import RuleResult, Target
from harness.conformance.reference import FIELDS, PREFIX
from harness.conformance.report import lines_of, missed, printable
from harness.conformance.rule import Rule
from harness.errors import UserError
from harness.walks.render import render_run

__all__ = ("page",)

_MEANINGS: dict[State, str] = {
    "conformant": "the kernel does what the model and the rule say",
    "different": "the kernel departs from the model or from the rule",
    "not_applicable": "a probe says that the kernel lacks what the rule is about",
    "inconclusive": "the observation cannot be trusted: never a pass",
    "lost": "the kernel died",
}
_COLUMNS = 132
#: Of a walk, so that an array of 1024 hooks does not make megabytes.
_LINES = 160


@dataclass(frozen=True, slots=True)
class _Row:
    """A rule, or a field of the profile.

    :param sentence: what it promises, or means
    """

    id: str
    sentence: str


@dataclass(frozen=True, slots=True)
class _Cell:
    """One rule on one kernel.

    :param walks: HTML, of a difference
    :param anchor: of its details, where there are any
    """

    result: RuleResult
    target: Target
    anchor: str
    walks: Markup | None


def page(targets: Sequence[Target], rules: Sequence[Rule], results: Sequence[RuleResult], seconds: float) -> str:
    """The report's HTML.

    :param seconds: that the whole check took
    """
    found = {(result.rule, result.kernel): result for result in results}
    rows = [_Row(rule.id, rule.sentence) for rule in rules] + [
        _Row(name, FIELDS[name.removeprefix(PREFIX)]) for name in dict.fromkeys(one.rule for one in results) if name.startswith(PREFIX)]
    cells: dict[tuple[str, str], _Cell] = {}
    for row, rule in enumerate(rows):
        for column, target in enumerate(targets):
            result = found[rule.id, target.kernel.label]
            cells[rule.id, target.kernel.label] = _Cell(result, target, f"r{row}-{column}", _walks(result, target))
    counts = Counter(result.state for result in results)
    return printable(rendered(
        "check.html",
        made=time.strftime("%Y-%m-%d %H:%M:%S %z"),
        seconds=seconds,
        targets=targets,
        identities=[target.identity() for target in targets],
        rules=rows,
        lines={row.id: _lines(row.id, found) for row in rows},
        functions={row.id: functions_of(row.id) for row in rows},
        cells=cells,
        told=[cell for cell in cells.values() if cell.result.state != "conformant" or cell.result.reason],
        missed=[(next(target.name for target in targets if target.kernel.label == kernel), reference, ids)
                for (kernel, reference), ids in missed(results).items()],
        counts=counts,
        per_kernel={target.kernel.label: Counter(one.state for one in results if one.kernel == target.kernel.label) for target in targets},
        states=STATES,
        meanings=_MEANINGS,
    ))


def _lines(row: str, found: Mapping[tuple[str, str], RuleResult]) -> str:
    return lines_of(next(result.core_lines for (of, _), result in found.items() if of == row))


def _walks(result: RuleResult, target: Target) -> Markup | None:
    """The walks of a difference as ``replay`` would show them, out of its bundle; ``None`` if that is not there."""
    if result.bundle is None:
        return None
    try:
        bundle = load(result.bundle)
    except UserError:
        return None
    if bundle.observed is None:
        return None
    judged = judge(bundle.script, target.profile, bundle.observed)
    console = Console(record=True, file=io.StringIO(), width=_COLUMNS, force_terminal=True, color_system="truecolor")
    render_run(console, f"{bundle.script.scenario.name} on {target.kernel.label}", judged.comparison)
    # rich escapes what it prints.
    lines = console.export_html(code_format="{code}", inline_styles=True, theme=DIMMED_MONOKAI).split("\n")
    if len(lines) > _LINES:
        lines[_LINES:] = [f"… and {len(lines) - _LINES} more lines"]
    return Markup("\n".join(lines))  # noqa: S704
