"""``nfharness minimise``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import bundle_argument, complete_kernel, json_option
from harness.cli.run import exit_code

if TYPE_CHECKING:
    from harness.conformance.bundle import Bundle
    from harness.conformance.judge import Judgement
    from harness.scenario.steps import Scenario

__all__ = ("command",)


@click.command("minimise")
@click.option("--kernel", "spec", metavar="SPEC", shell_complete=complete_kernel,
              help="Another kernel than the bundle's.  [default: the bundle's own release]")
@json_option
@bundle_argument
def command(spec: str | None, as_json: bool, bundle: Path) -> None:
    """Shrink a bundle's scenario while the kernel differs from the model in the same way, and write a new bundle.

    A scenario's file will do, too. What a rule itself expects of its script counts no more once a step is gone. Ctrl-C ends it with the
    smallest that was reached.

    Exit status: 1 it differs and was shrunk, 0 there is no difference any more, 125 inconclusive.
    """
    from harness.conformance.bundle import load  # noqa: PLC0415 - not before the options are known to be right

    sys.exit(asyncio.run(_minimise(load(bundle), spec, as_json)))


async def _minimise(bundle: Bundle, spec: str | None, as_json: bool) -> int:
    from harness.cli.replay import kernel_of  # noqa: PLC0415
    from harness.conformance.bundle import save  # noqa: PLC0415
    from harness.conformance.matrix import conclusive, target  # noqa: PLC0415
    from harness.conformance.rule import Script  # noqa: PLC0415
    from harness.explore.search import Search  # noqa: PLC0415
    from harness.outcome.kind import kind  # noqa: PLC0415
    from harness.vm.executor import started  # noqa: PLC0415
    from harness.vm.progress import Progress  # noqa: PLC0415

    progress = Progress()
    on = await target(spec or kernel_of(bundle), progress)
    async with started(on.source) as executor:
        async def ask(scenario: Scenario) -> Judgement:
            return await conclusive(Script(scenario, ()), on, executor)

        judgement = await ask(bundle.scenario)
        meant = set(map(kind, bundle.differences or judgement.comparison.differences))
        alike = [one for one in judgement.comparison.differences if kind(one) in meant]
        if judgement.comparison.verdict != "different" or not alike:
            return _say(bundle, judgement, as_json, None)
        search = Search(ask, judgement, about=alike[0])
        try:
            with progress.step(f"shrinking {len(bundle.scenario.steps)} steps on {on.kernel.label}", expected_s=10):
                await search.by_leaving_out()
        finally:  # also when Ctrl-C cuts it short: what was reached by then is smaller
            smallest = search.smallest or judgement
            written = save(bundle.rule, smallest, on.identity(), executor.guest.console_tail(), seed=bundle.seed)
            status = _say(bundle, smallest, as_json, written)
        return status


def _say(bundle: Bundle, smallest: Judgement, as_json: bool, written: Path | None) -> int:
    from harness.conformance.judge import said  # noqa: PLC0415
    from harness.scenario.codec import to_json  # noqa: PLC0415

    comparison, scenario = smallest.comparison, smallest.script.scenario
    differences = list(map(said, comparison.differences))
    steps = to_json(scenario)["steps"]
    if as_json:
        click.echo(json.dumps({
            "rule": bundle.rule, "verdict": comparison.verdict, "reasons": list(comparison.reasons), "bundle": written and str(written),
            "from_steps": len(bundle.scenario.steps), "to_steps": len(scenario.steps), "scenario": to_json(scenario),
            "differences": differences,
        }, indent=1))
    elif written is None:
        gone = "the bundle's difference is not there" if bundle.differences else "nothing to shrink"
        click.echo(f"{bundle.rule}: {comparison.verdict}; {gone}")
        for line in (*comparison.reasons, *differences):
            click.echo(f"  {line}")
    else:
        click.echo(f"{bundle.rule}: from {len(bundle.scenario.steps)} steps to {len(scenario.steps)}")
        for line in (*(f"steps[{number}] {json.dumps(step)}" for number, step in enumerate(steps)), *differences):
            click.echo(f"  {line}")
        click.echo(f"  nfharness replay {written}")
    return exit_code(comparison)
