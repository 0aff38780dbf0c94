"""``nfharness replay``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import complete_kernel, json_option
from harness.cli.run import exit_code

if TYPE_CHECKING:
    from harness.conformance.bundle import Bundle

__all__ = ("command",)


@click.command("replay")
@click.option("--kernel", "spec", metavar="SPEC", shell_complete=complete_kernel,
              help="Another kernel than the bundle's.  [default: the bundle's own release or tree]")
@json_option
@click.argument("bundle", type=click.Path(path_type=Path))
def command(spec: str | None, as_json: bool, bundle: Path) -> None:
    """Run a bundle's scenario again, on its kernel or on another, and say whether the outcome is the same.

    Exit status, as that of check: 0 conformant now, 1 different, 125 inconclusive.
    """
    from harness.conformance.bundle import load  # noqa: PLC0415

    sys.exit(asyncio.run(_replay(load(bundle), spec, as_json)))


async def _replay(bundle: Bundle, spec: str | None, as_json: bool) -> int:
    from harness.conformance.executor import started  # noqa: PLC0415
    from harness.conformance.judge import said  # noqa: PLC0415
    from harness.conformance.matrix import conclusive, target  # noqa: PLC0415
    from harness.vm.progress import Progress  # noqa: PLC0415

    on = await target(spec or bundle.kernel.get("tree") or bundle.kernel["release"], Progress())
    async with started(on.source) as executor:
        comparison = (await conclusive(bundle.script, on, executor)).comparison
    outcome = "inconclusive" if comparison.reasons else "same" if comparison.differences == bundle.differences else "changed"
    if as_json:
        click.echo(json.dumps({
            "rule": bundle.rule, "kernel": on.identity(), "recorded_on": _recorded_on(bundle), "outcome": outcome,
            "verdict": comparison.verdict, "reasons": list(comparison.reasons), "differences": list(map(said, comparison.differences)),
        }, indent=1))
        return exit_code(comparison)
    click.echo(f"{bundle.rule} on {on.kernel.label}: {outcome}, {comparison.verdict}"
               f" (the bundle is of {_recorded_on(bundle)}, with {len(bundle.differences)} differences)")
    for line in (*comparison.reasons, *map(said, comparison.differences)):
        click.echo(f"  {line}")
    return exit_code(comparison)


def _recorded_on(bundle: Bundle) -> str:
    return str(bundle.kernel.get("kernel") or bundle.kernel["release"])
