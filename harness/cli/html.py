"""``check --html``: the matrix of rules and kernels as one file that needs nothing else, neither network nor server."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI

import harness
from harness.conformance.bundle import load
from harness.conformance.coverage import functions_of
from harness.conformance.judge import STATES, State, judge
from harness.conformance.matrix import Result, Target
from harness.conformance.report import lines_of, printable
from harness.conformance.rule import Rule
from harness.errors import UserError
from harness.trace.render import render_run

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
class _Cell:
    """One rule on one kernel. :param walks: HTML, of a difference; :param anchor: of its details, where there are any"""

    result: Result
    target: Target
    anchor: str
    walks: Markup | None


def page(targets: Sequence[Target], rules: Sequence[Rule], results: Sequence[Result], seconds: float) -> str:
    """The report's HTML.

    :param seconds: that the whole check took
    """
    found = {(result.rule, result.kernel): result for result in results}
    cells: dict[tuple[str, str], _Cell] = {}
    for row, rule in enumerate(rules):
        for column, target in enumerate(targets):
            result = found[rule.id, target.kernel.label]
            cells[rule.id, target.kernel.label] = _Cell(result, target, f"r{row}-{column}", _walks(result, target))
    environment = Environment(
        loader=PackageLoader("harness.cli"), autoescape=select_autoescape(["html"]), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    counts = Counter(result.state for result in results)
    return printable(environment.get_template("check.html").render(
        version=harness.__version__,
        made=time.strftime("%Y-%m-%d %H:%M:%S %z"),
        seconds=seconds,
        targets=targets,
        identities=[target.identity() for target in targets],
        rules=rules,
        lines={rule.id: _lines(rule, found) for rule in rules},
        functions={rule.id: functions_of(rule.id) for rule in rules},
        cells=cells,
        told=[cell for cell in cells.values() if cell.result.state != "conformant"],
        counts=counts,
        per_kernel={target.kernel.label: Counter(one.state for one in results if one.kernel == target.kernel.label) for target in targets},
        states=STATES,
        meanings=_MEANINGS,
    ))


def _lines(rule: Rule, found: Mapping[tuple[str, str], Result]) -> str:
    return lines_of(next(result.seed_lines for (of, _), result in found.items() if of == rule.id))


def _walks(result: Result, target: Target) -> Markup | None:
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
    render_run(console, f"{bundle.script.scenario.name} on {target.kernel.label}", judged.predicted, judged.observed, judged.comparison)
    # rich escapes what it prints.
    lines = console.export_html(code_format="{code}", inline_styles=True, theme=DIMMED_MONOKAI).split("\n")
    if len(lines) > _LINES:
        lines[_LINES:] = [f"… and {len(lines) - _LINES} more lines"]
    return Markup("\n".join(lines))  # noqa: S704
