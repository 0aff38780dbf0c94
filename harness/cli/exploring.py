"""How ``explore`` shows what it does and what it found."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from harness.conformance.judge import said
from harness.explore.engine import Plan
from harness.explore.hunt import Finding, Hunt
from harness.scenario.codec import to_json

__all__ = ("Exploring", "as_json", "scenario_lines", "table")

_STYLES = {"conformant": "green", "different": "bold red", "inconclusive": "yellow", "lost": "bold magenta"}
_REDRAW_S, _LINE_S = 0.25, 10.0


class Exploring:
    """Progress on standard error: a line for each kernel on a terminal, one now and then elsewhere. A context.

    :param hunts: those that have begun, more of them as time goes by
    """

    def __init__(self, plan: Plan, hunts: Sequence[Hunt]) -> None:
        self._plan, self._hunts = plan, hunts
        self._console = Console(stderr=True)
        self._telling: asyncio.Task[None]

    async def __aenter__(self) -> Exploring:
        self._console.print(f"seed {self._plan.seed}", highlight=False)
        self._telling = asyncio.create_task(self._redraw() if self._console.is_terminal else self._tell())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._telling.cancel()
        await asyncio.gather(self._telling, return_exceptions=True)

    async def _redraw(self) -> None:
        with Live(console=self._console, transient=True, auto_refresh=False) as live:
            while True:
                live.update("\n".join(map(_line, self._hunts)), refresh=True)
                await asyncio.sleep(_REDRAW_S)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(_LINE_S)
            for hunt in self._hunts:
                if hunt.doing != "done":
                    self._console.print(_line(hunt), highlight=False, soft_wrap=True, markup=False)


def _line(hunt: Hunt) -> str:
    return (f"{hunt.target.name}  {hunt.elapsed:.0f} s  {hunt.scenarios:,} scenarios  {hunt.steps:,} steps  {hunt.rate(hunt.steps):.0f}/s  "
            f"{hunt.doing}")


def table(plan: Plan, hunts: Sequence[Hunt]) -> None:
    """What came of each kernel, every difference, the totals; on standard output."""
    console = Console() if sys.stdout.isatty() else Console(width=120)
    shown = Table("kernel", "", "scenarios", "steps", "packets", "steps/s", box=None, header_style="bold", pad_edge=False)
    for column in shown.columns[2:]:
        column.justify = "right"
    for hunt in hunts:
        shown.add_row(hunt.target.name, f"[{_STYLES[hunt.state]}]{hunt.state}[/]", f"{hunt.scenarios:,}", f"{hunt.steps:,}",
                      f"{hunt.packets:,}", f"{hunt.rate(hunt.steps):.0f}")
    console.print(shown)
    for hunt in hunts:
        if hunt.finding is not None:
            _finding(console, hunt, hunt.finding)
        if hunt.inconclusive:
            console.print(f"\n{hunt.inconclusive} inconclusive on {hunt.target.name}, the last: {hunt.reasons[-1]}", style="yellow",
                          highlight=False, soft_wrap=True, markup=False)
    found = sum(hunt.finding is not None for hunt in hunts)
    seconds = max((hunt.seconds for hunt in hunts), default=0)
    console.print(f"\nseed {plan.seed}, {seconds:.0f} s: {f'{found} found' if found else 'nothing found'}", highlight=False)


def _finding(console: Console, hunt: Hunt, finding: Finding) -> None:
    shrunk = f", shrunk from {len(finding.first.steps)} steps" if finding.first != finding.scenario else ""
    console.print(f"\n[{_STYLES[hunt.state]}]{hunt.state}[/] on {hunt.target.kernel.release}{shrunk}", highlight=False)
    for line in scenario_lines(finding):
        console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
    bundle = f"nfharness replay {finding.bundle}" if finding.bundle else hunt.reasons[-1]
    console.print(f"  {escape(bundle)}", highlight=False, soft_wrap=True)


def scenario_lines(finding: Finding) -> list[str]:
    """The steps, each its JSON, and what differs."""
    document = to_json(finding.scenario)
    steps = [f"steps[{number}] {json.dumps(step)}" for number, step in enumerate(document["steps"])]
    differences = map(said, finding.judgement.comparison.differences) if finding.judgement else ()
    return [f"topology {json.dumps(document['topology'])}", *steps, *differences]


def as_json(plan: Plan, hunts: Sequence[Hunt]) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    return {"seed": plan.seed, "kernels": [hunt.target.identity() for hunt in hunts], "results": list(map(_result, hunts))}


def _result(hunt: Hunt) -> dict[str, Any]:
    finding = hunt.finding
    return {
        "kernel": hunt.target.kernel.release, "state": hunt.state,
        "scenarios": hunt.scenarios, "steps": hunt.steps, "packets": hunt.packets,
        "inconclusive": hunt.inconclusive, "reasons": list(hunt.reasons), "seconds": hunt.seconds, "steps_per_s": hunt.rate(hunt.steps),
        "finding": finding and {
            "bundle": finding.bundle and str(finding.bundle), "scenario": to_json(finding.scenario),
            "drawn_steps": len(finding.first.steps),
            "differences": list(map(said, finding.judgement.comparison.differences)) if finding.judgement else [],
        },
    }
