"""``nfharness minimise``."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.explore import steps_of
from harness.cli.options import bundle_argument, complete_kernel, json_option
from harness.cli.run import exit_code
from harness.cli.say import say
from harness.errors import ExitCode, GuestError

if TYPE_CHECKING:
    from harness.conformance.bundle import Bundle
    from harness.explore.guests import Behaviour
    from harness.explore.search import Shortest

__all__ = ("command",)

_GUESTS = 2
"""Fresh guests that start side by side, at most."""


@click.command("minimise")
@click.option("--kernel", "spec", metavar="SPEC", shell_complete=complete_kernel,
              help="Another kernel than the bundle's.  [default: the bundle's own release; a kernel of your own must be named]")
@json_option
@bundle_argument
def command(spec: str | None, as_json: bool, bundle: Path) -> None:
    """Shrink a bundle's scenario while the kernel differs from the model in the same way, or dies, and write a new bundle.

    A scenario's file will do, too. What a rule itself expects of its script counts no more once a step is gone. What counts is what a
    fresh guest does. Ctrl-C ends it with the smallest that was reached.

    Exit status: 1 it differs and was shrunk, 0 there is no difference any more, 125 inconclusive.
    """
    from harness.conformance.bundle import load  # noqa: PLC0415 - not before the options are known to be right

    sys.exit(asyncio.run(_minimise(load(bundle), spec, as_json)))


async def _minimise(bundle: Bundle, spec: str | None, as_json: bool) -> int:
    from harness.cli.replay import kernel_of, profile_for  # noqa: PLC0415
    from harness.conformance.bundle import save  # noqa: PLC0415
    from harness.conformance.matrix import default_jobs, target  # noqa: PLC0415
    from harness.explore.guests import KernelGuests  # noqa: PLC0415
    from harness.explore.search import Search  # noqa: PLC0415
    from harness.host.progress import Progress  # noqa: PLC0415
    from harness.outcome.kind import kind  # noqa: PLC0415

    progress = Progress()
    on = await target(spec or kernel_of(bundle), progress)
    async with KernelGuests(on, profile_for(bundle, on), ahead=default_jobs(_GUESTS) - 1) as guests:
        search = Search(guests, list(map(kind, bundle.differences)))
        try:
            with progress.step(f"shrinking {len(bundle.scenario.steps)} steps on {on.kernel.label}", expected_s=10):
                await search.run(bundle.scenario, bundle.before)
        finally:  # also when Ctrl-C cuts it short: what was reached until then is smaller
            if (shortest := search.shortest) is not None:
                seen = shortest.seen
                written = save(bundle.rule, seen.judgement or seen.scenario, on.identity(), seen.console_tail, seed=bundle.seed,
                               before=shortest.before)
                _say_shortest(bundle, shortest, as_json, written)
        return ExitCode.DIFFERENT if search.shortest else _say_nothing(bundle, search.first, guests.doubt, as_json)


def _say_shortest(bundle: Bundle, shortest: Shortest, as_json: bool, written: Path) -> None:
    seen = shortest.seen
    if as_json:
        _print(bundle, seen, written, shortest)
        return
    say(f"{bundle.rule}: from {len(bundle.scenario.steps)} steps to {len(seen.scenario.steps)}",
        *(f"  {line}" for line in (*steps_of(seen.scenario, shortest.before, whole=shortest.whole), *seen.said)),
        f"  nfharness replay {shlex.quote(str(written))}")


def _say_nothing(bundle: Bundle, seen: Behaviour | None, doubt: str, as_json: bool) -> int:
    """What a fresh guest says that does not differ, or not as the bundle has it."""
    if seen is None or seen.judgement is None:
        raise GuestError(f"{bundle.rule}: nothing can be concluded: {doubt}", hint="try again")
    if as_json:
        _print(bundle, seen)
    else:
        gone = "the bundle's difference is not there" if bundle.differences else "nothing to shrink"
        comparison = seen.judgement.comparison
        say(f"{bundle.rule}: {comparison.verdict}; {gone}", *(f"  {line}" for line in (*comparison.reasons, *seen.said)))
    return exit_code(seen.judgement.comparison)


def _print(bundle: Bundle, seen: Behaviour, written: Path | None = None, shortest: Shortest | None = None) -> None:
    from harness.scenario.codec import to_json  # noqa: PLC0415

    comparison = seen.judgement.comparison if seen.judgement else None
    print(json.dumps({
        "rule": bundle.rule, "verdict": comparison.verdict if comparison else "lost",
        "reasons": list(comparison.reasons) if comparison else [], "bundle": written and str(written),
        "from_steps": len(bundle.scenario.steps), "to_steps": len(seen.scenario.steps), "scenario": to_json(seen.scenario),
        "before": list(map(to_json, shortest.before)) if shortest else [], "whole": shortest.whole if shortest else False,
        "differences": list(seen.said),
    }, indent=1))
