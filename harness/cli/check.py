"""``nfharness check``."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import complete_kernel, json_option
from harness.errors import UserError
from harness.vm.kernels import DEFAULT

if TYPE_CHECKING:
    from harness.conformance import Rule
    from harness.conformance.matrix import Target
    from harness.vm.progress import Progress

__all__ = ("command",)


def _complete_rule(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from harness.conformance import RULES  # noqa: PLC0415

    return [name for name in RULES if name.startswith(incomplete)]


@click.command("check")
@click.option("--kernel", "specs", multiple=True, metavar="SPEC", shell_complete=complete_kernel,
              help=f"Kernel to check, as in run; may be given several times.  [default: {DEFAULT}]")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Kernels side by side.  [default: what cores and memory allow]")
@json_option
@click.option("--ktap", "as_ktap", is_flag=True, help="Print KTAP on standard output.")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write JUnit XML to FILE.")
@click.option("--list", "list_", is_flag=True, help="List the seed's functions with the rules that cover them, and what none covers.")
@click.option("--explain", is_flag=True, help="Show the rules: where they come from, their scripts, the model's answer.")
@click.argument("patterns", nargs=-1, shell_complete=_complete_rule, metavar="[RULE]...")
def command(  # noqa: PLR0917 - click passes them by name
    specs: tuple[str, ...], jobs: int | None, as_json: bool, as_ktap: bool, junit: Path | None, list_: bool, explain: bool,
    patterns: tuple[str, ...],
) -> None:
    """Check rule by rule whether kernels do what net/netfilter/core.c promises.

    RULE is an id (order.ascending), a prefix (order) or a glob ('*.errno'); all rules by default. Each difference is written to a
    bundle, which replay runs again.

    Exit status: 0 conformant or not applicable, 1 any rule different, 125 none different but some inconclusive or lost.
    """
    if as_json and as_ktap:
        raise click.UsageError("--json and --ktap both want standard output.")
    from harness.conformance import chosen  # noqa: PLC0415 - not before the options are known to be right

    rules = chosen(patterns)
    if list_ or explain:
        from harness.cli import rules as shown  # noqa: PLC0415

        shown.list_coverage(rules, as_json) if list_ else shown.explain(rules)
        return
    if junit is not None and not junit.parent.is_dir():
        raise UserError(f"{junit}: no such directory", mend="give --junit a file in a directory that is there")
    style = "json" if as_json else "ktap" if as_ktap else "table"
    sys.exit(asyncio.run(_check(rules, specs or (DEFAULT,), jobs=jobs, style=style, junit=junit)))


async def _check(rules: Sequence[Rule], specs: Sequence[str], *, jobs: int | None, style: str, junit: Path | None) -> int:
    from harness.cli.checking import Checking, table  # noqa: PLC0415
    from harness.conformance import matrix, report  # noqa: PLC0415
    from harness.vm.progress import Progress  # noqa: PLC0415

    targets = await _targets(specs, Progress())
    with Checking(targets, rules) as checking:
        results = await matrix.run(rules, targets, checking.add, jobs=jobs or matrix.default_jobs(len(targets)))
    if junit is not None:
        junit.write_bytes(report.junit(results))
    if style == "json":
        click.echo(json.dumps(report.as_json(targets, results), indent=1))
    elif style == "ktap":
        click.echo("\n".join(report.ktap(results)))
    else:
        table(targets, rules, results, checking.seconds)
    return report.exit_code(results)


async def _targets(specs: Sequence[str], progress: Progress) -> list[Target]:
    """The kernels asked for, each once."""
    from harness.conformance.matrix import target  # noqa: PLC0415

    found: dict[str, Target] = {}
    for spec in specs:
        one = await target(spec, progress)
        found.setdefault(one.kernel.label, one)
    return list(found.values())
