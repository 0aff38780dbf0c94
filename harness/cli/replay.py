"""``nfharness replay``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import backend_option, bundle_argument, complete_kernel, json_option
from harness.cli.run import exit_code
from harness.vm.kernels import DEFAULT

if TYPE_CHECKING:
    from harness.conformance.bundle import Bundle
    from harness.vm.session import Backend

__all__ = ("command", "kernel_of")


@click.command("replay")
@click.option("--kernel", "spec", metavar="SPEC", shell_complete=complete_kernel,
              help="Another kernel than the bundle's.  [default: the bundle's own release or tree]")
@backend_option
@json_option
@bundle_argument
def command(spec: str | None, backend: Backend, as_json: bool, bundle: Path) -> None:
    """Run a bundle's scenario again, on its kernel or on another, and say whether the outcome is the same.

    A scenario's file will do, too; there is no earlier outcome then.

    Exit status, as that of check: 0 conformant now, 1 different, 125 inconclusive.
    """
    from harness.conformance.bundle import load  # noqa: PLC0415

    sys.exit(asyncio.run(_replay(load(bundle), spec, backend, as_json)))


async def _replay(bundle: Bundle, spec: str | None, backend: Backend, as_json: bool) -> int:
    from harness.conformance.judge import said  # noqa: PLC0415
    from harness.conformance.matrix import conclusive, target  # noqa: PLC0415
    from harness.vm.executor import started  # noqa: PLC0415
    from harness.vm.progress import Progress  # noqa: PLC0415

    on = await target(spec or kernel_of(bundle), Progress(), backend)
    try:
        async with started(on.source) as executor:
            comparison = (await conclusive(bundle.script, on, executor)).comparison
    finally:
        await on.source.close()
    outcome = "inconclusive" if comparison.reasons else "same" if comparison.differences == bundle.differences else "changed"
    recorded_on = bundle.kernel.get("kernel") or bundle.kernel.get("release")
    if as_json:
        click.echo(json.dumps({
            "rule": bundle.rule, "kernel": on.identity(), "recorded_on": recorded_on, "outcome": outcome if recorded_on else None,
            "verdict": comparison.verdict, "reasons": list(comparison.reasons), "differences": list(map(said, comparison.differences)),
        }, indent=1))
        return exit_code(comparison)
    said_before = f" (the bundle is of {recorded_on}, with {len(bundle.differences)} differences)" if recorded_on else ""
    click.echo(f"{bundle.rule} on {on.kernel.label}: {f'{outcome}, ' if recorded_on else ''}{comparison.verdict}{said_before}")
    for line in (*comparison.reasons, *map(said, comparison.differences)):
        click.echo(f"  {line}")
    return exit_code(comparison)


def kernel_of(bundle: Bundle) -> str:
    """What ``--kernel`` would call the bundle's kernel."""
    return str(bundle.kernel.get("tree") or bundle.kernel.get("release") or DEFAULT)
