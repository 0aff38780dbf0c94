"""``nfharness explore``: the command, and below it how it shows what it does and what it found."""

from __future__ import annotations

import asyncio
import json
import secrets
import shlex
import sys
from collections.abc import Awaitable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from harness.cli.options import Seconds, json_option, kernels_option, reference_options, targets
from harness.cli.say import say
from harness.errors import ExitCode
from harness.host.terminal import Terminal

if TYPE_CHECKING:
    from harness.conformance.matrix import Target
    from harness.explore.engine import Plan
    from harness.explore.hunt import Discovery, Hunt, Limits
    from harness.scenario.step import Scenario

__all__ = ("Exploring", "as_json_object", "command", "steps_of", "table")

_SECONDS = 60.0
_STYLES = {"conformant": "green", "different": "bold red", "inconclusive": "yellow", "lost": "bold magenta"}
_REDRAW_S, _LINE_S = 0.25, 10.0


@click.command("explore")
@kernels_option("Kernel to explore")
@click.option("--time", "seconds", type=Seconds(), metavar="S",
              help=f"Begin no scenario after S seconds, on each kernel.  [default: {_SECONDS:.0f}, or no limit with --steps]")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Begin no scenario after N steps, on each kernel.")
@click.option("--seed", type=click.IntRange(min=0, max=2**64 - 1), metavar="N",
              help="What the scenarios are drawn with: the same seed draws the same ones.  [default: another each time]")
@click.option("--only", type=click.Choice(["direct", "packets"]),
              help="No packets: registrations, private arrays, batches; or hardly anything but packets.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Guests side by side.  [default: what cores and memory allow]")
@reference_options
@json_option
def command(  # noqa: PLR0917 - click passes them by name
    specs: tuple[str, ...], seconds: float | None, steps: int | None, seed: int | None, only: str | None, jobs: int | None,
    like: str | None, allowed: tuple[str, ...], as_json: bool,
) -> None:
    """Look for a scenario on which a kernel and the model differ.

    Scenarios are drawn at random: topologies, hooks that come and go, private arrays, verdicts, packets. One on which a kernel differs,
    or dies, runs again in a fresh guest; there it is shrunk to the shortest that still does, and written to a bundle, which replay runs
    again; the kernel's exploration ends with it. One that is right in a fresh guest is shown with the scenarios that harmed the kernel
    before it, and is inconclusive if it is right after those, too. What was found before, on whichever kernel, is tried first (it is kept
    under explore/ in the state directory, NFHARNESS_STATE).

    What the kernel is found to do where kernels differ (nfharness profile) is expected to be as in its reference, as check has it.

    Ctrl-C ends it; what was found so far is reported. Exit status: 0 nothing found, 1 a difference or a kernel that died, 125 nothing
    could be concluded.
    """
    from harness.cli.signals import Interrupted  # noqa: PLC0415 - not before the options are known to be right
    from harness.conformance.selection import Selection  # noqa: PLC0415
    from harness.explore.engine import Plan  # noqa: PLC0415
    from harness.explore.hunt import Limits  # noqa: PLC0415

    selection = Selection.of((), like, allowed)
    plan = Plan(secrets.randbits(32) if seed is None else seed, only or "all")
    limits = Limits(_SECONDS if seconds is None and steps is None else seconds, steps)
    hunts: list[Hunt] = []
    cut: Interrupted | None = None
    try:
        kernels = targets(specs, like=selection.like, allowed=selection.allowed)
        asyncio.run(_explore(hunts, kernels, plan, limits, jobs))
    except Interrupted as interrupted:
        if not hunts:
            raise
        cut = interrupted
    if as_json:
        print(json.dumps(as_json_object(plan, hunts), indent=1))
    else:
        table(plan, hunts)
    status = _exit_code(hunts)
    if cut is not None:
        say(f"nfharness: {cut}", error=True)
        status = status if status == ExitCode.DIFFERENT else cut.exit_code
    sys.exit(status)


async def _explore(
    hunts: list[Hunt], kernels: Awaitable[list[Target]], plan: Plan, limits: Limits, jobs: int | None,
) -> None:
    """Search on all kernels until a limit is reached.

    :param hunts: gets one for each kernel, before it begins
    """
    from harness.explore.hunt import explore  # noqa: PLC0415

    found = await kernels
    async with Exploring(plan, hunts):
        await explore(found, plan, limits, hunts, jobs=jobs)


def _exit_code(hunts: Sequence[Hunt]) -> int:
    states = {hunt.state for hunt in hunts}
    if states & {"different", "lost"}:
        return ExitCode.DIFFERENT
    return ExitCode.CANNOT if "inconclusive" in states else ExitCode.CONFORMANT


class Exploring:
    """Progress on standard error: a line for each kernel on a terminal, one now and then elsewhere. A context.

    :param hunts: those that have begun, more of them as time goes by
    """

    def __init__(self, plan: Plan, hunts: Sequence[Hunt]) -> None:
        self._plan, self._hunts = plan, hunts
        self._console = Terminal(stderr=True)
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
    console = Terminal.wide(120)
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
    came = f"{found} found" if found else "nothing found" if any(hunt.scenarios for hunt in hunts) else "no scenario ended"
    console.print(f"\nseed {plan.seed}, {seconds:.0f} s: {came}", highlight=False)


def _finding(console: Terminal, hunt: Hunt, finding: Discovery) -> None:
    shrunk = f", shrunk from {len(finding.first.steps)} steps" if finding.first != finding.scenario else ""
    console.print(f"\n[{_STYLES[hunt.state]}]{hunt.state}[/] on {hunt.target.kernel.release}{shrunk}", highlight=False)
    shortest = finding.shortest
    for line in (*steps_of(finding.scenario, shortest.before, whole=shortest.whole), *shortest.seen.said):
        console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
    bundle = f"nfharness replay {shlex.quote(str(finding.bundle))}" if finding.bundle else hunt.reasons[-1]
    console.print(f"  {escape(bundle)}", highlight=False, soft_wrap=True)


def steps_of(scenario: Scenario, before: Sequence[Scenario], *, whole: bool) -> Iterator[str]:
    """The steps, each its JSON, of scenarios that a fresh guest is given.

    :param before: what must run first, in the same guest
    :param whole: whether every step counts
    """
    if before:
        yield "the kernel is right until other scenarios have run in the same guest, and harmed it:"
    for first in before:
        yield from _lines(first)
    if before:
        yield "then it differs:"
    yield from _lines(scenario)
    if not whole:
        yield "time was up before it was as short as can be: not every step may count"


def _lines(scenario: Scenario) -> Iterator[str]:
    from harness.scenario.codec import to_json  # noqa: PLC0415

    document = to_json(scenario)
    yield f"topology {json.dumps(document['topology'])}"
    yield from (f"steps[{number}] {json.dumps(step)}" for number, step in enumerate(document["steps"]))


def as_json_object(plan: Plan, hunts: Sequence[Hunt]) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    return {"seed": plan.seed, "kernels": [hunt.target.identity() for hunt in hunts], "results": list(map(_result, hunts))}


def _result(hunt: Hunt) -> dict[str, Any]:
    from harness.scenario.codec import to_json  # noqa: PLC0415

    finding = hunt.finding
    return {
        "kernel": hunt.target.kernel.release, "state": hunt.state,
        "scenarios": hunt.scenarios, "steps": hunt.steps, "packets": hunt.packets,
        "inconclusive": hunt.inconclusive, "unconfirmed": hunt.unconfirmed, "reasons": list(hunt.reasons),
        "seconds": hunt.seconds, "steps_per_s": hunt.rate(hunt.steps),
        "finding": finding and {
            "bundle": finding.bundle and str(finding.bundle), "scenario": to_json(finding.scenario),
            "before": list(map(to_json, finding.shortest.before)), "whole": finding.shortest.whole,
            "drawn_steps": len(finding.first.steps), "differences": list(finding.shortest.seen.said),
        },
    }
