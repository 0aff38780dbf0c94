"""``nfharness explore``."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from harness.cli.options import Seconds, json_option, kernels_option, targets
from harness.errors import ExitCode

if TYPE_CHECKING:
    from harness.explore.engine import Plan
    from harness.explore.hunt import Hunt, Limits

__all__ = ("command",)

_SECONDS = 60.0


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
@json_option
def command(  # noqa: PLR0917 - click passes them by name
    specs: tuple[str, ...], seconds: float | None, steps: int | None, seed: int | None, only: str | None, jobs: int | None, as_json: bool,
) -> None:
    """Look for a scenario on which a kernel and the model differ.

    Scenarios are drawn at random: topologies, hooks that come and go, private arrays, verdicts, packets. One on which a kernel differs
    is shrunk to the shortest that still does, and written to a bundle, which replay runs again; the kernel's exploration ends with it.
    What was found before, on whichever kernel, is tried first (it is kept under explore/ in the state directory, NFHARNESS_STATE).

    Ctrl-C ends it; what was found so far is reported. Exit status: 0 nothing found, 1 a difference, 125 a kernel died, or nothing could
    be concluded.
    """
    from harness.cli import exploring  # noqa: PLC0415 - not before the options are known to be right
    from harness.cli.signals import Interrupted  # noqa: PLC0415
    from harness.explore.engine import Plan  # noqa: PLC0415
    from harness.explore.hunt import Limits  # noqa: PLC0415

    plan = Plan(secrets.randbits(32) if seed is None else seed, only or "all")
    limits = Limits(_SECONDS if seconds is None and steps is None else seconds, steps)
    hunts: list[Hunt] = []
    cut: Interrupted | None = None
    try:
        asyncio.run(_explore(hunts, specs, plan, limits, jobs))
    except Interrupted as interrupted:
        if not hunts:
            raise
        cut = interrupted
    if as_json:
        click.echo(json.dumps(exploring.as_json(plan, hunts), indent=1))
    else:
        exploring.table(plan, hunts)
    status = _exit_code(hunts)
    if cut is not None:
        print(f"nfharness: {cut}", file=sys.stderr)
        status = status or cut.exit_code
    sys.exit(status)


async def _explore(hunts: list[Hunt], specs: Sequence[str], plan: Plan, limits: Limits, jobs: int | None) -> None:
    """:param hunts: gets one for each kernel, before it begins"""
    from harness.cli.exploring import Exploring  # noqa: PLC0415
    from harness.explore.hunt import explore  # noqa: PLC0415

    found = await targets(specs)
    async with Exploring(plan, hunts):
        await explore(found, plan, limits, hunts, jobs=jobs)


def _exit_code(hunts: Sequence[Hunt]) -> int:
    states = {hunt.state for hunt in hunts}
    if "different" in states:
        return ExitCode.DIFFERENT
    return ExitCode.CANNOT if states & {"lost", "inconclusive"} else ExitCode.CONFORMANT
