"""``nfharness check``."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import backend_option, json_option, kernels_option, targets
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.conformance import Rule
    from harness.vm.session import Backend

__all__ = ("command",)


def _complete_rule(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from harness.conformance import RULES  # noqa: PLC0415

    return [name for name in RULES if name.startswith(incomplete)]


@click.command("check")
@kernels_option("Kernel to check")
@backend_option
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Kernels side by side.  [default: what cores and memory allow]")
@json_option
@click.option("--ktap", "as_ktap", is_flag=True, help="Print KTAP on standard output.")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write JUnit XML to FILE.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a report for a browser to FILE.")
@click.option("--list", "list_", is_flag=True, help="List the seed's functions with the rules that cover them, and what none covers.")
@click.option("--explain", is_flag=True, help="Show the rules: where they come from, their scripts, the model's answer.")
@click.argument("patterns", nargs=-1, shell_complete=_complete_rule, metavar="[RULE]...")
def command(  # noqa: PLR0917 - click passes them by name
    specs: tuple[str, ...], backend: Backend, jobs: int | None, as_json: bool, as_ktap: bool, junit: Path | None, html: Path | None,
    list_: bool, explain: bool, patterns: tuple[str, ...],
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
    files = {name: path for name, path in (("junit", junit), ("html", html)) if path is not None}
    for name, path in files.items():
        if not path.parent.is_dir():
            raise UserError(f"{path}: no such directory", mend=f"give --{name} a file in a directory that is there")
    style = "json" if as_json else "ktap" if as_ktap else "table"
    sys.exit(asyncio.run(_check(rules, specs, backend, jobs=jobs, style=style, files=files)))


async def _check(
    rules: Sequence[Rule], specs: Sequence[str], backend: Backend, *, jobs: int | None, style: str, files: Mapping[str, Path],
) -> int:
    from harness.cli.checking import Checking, table  # noqa: PLC0415
    from harness.conformance import matrix, report  # noqa: PLC0415

    on = await targets(specs, backend)
    try:
        with Checking(on, rules) as checking:
            results = await matrix.run(rules, on, checking.add, jobs=jobs or matrix.default_jobs(len(on)))
    finally:
        for one in on:
            await one.source.close()
    if "junit" in files:
        files["junit"].write_bytes(report.junit(results))
    if "html" in files:
        from harness.cli.html import page  # noqa: PLC0415

        files["html"].write_text(page(on, rules, results, checking.seconds), encoding="utf-8")
    if style == "json":
        click.echo(json.dumps(report.as_json(on, results), indent=1))
    elif style == "ktap":
        click.echo("\n".join(report.ktap(results)))
    else:
        table(on, rules, results, checking.seconds)
    return report.exit_code(results)
