"""``nfharness check``."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import report as tell
from harness.cli.options import backend_option, json_option, kernels_option, targets
from harness.cli.reports import ReportFile
from harness.errors import ExitCode, HostError, NfharnessError

if TYPE_CHECKING:
    from harness.cli.checking import Checking
    from harness.conformance import Rule
    from harness.conformance.matrix import Result
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

    Ctrl-C ends it; what was found so far is reported, in every file and format, and the other rules as inconclusive.

    Exit status: 0 conformant or not applicable, 1 any rule different, 125 none different but some inconclusive or lost.
    """
    if as_json and as_ktap:
        raise click.UsageError("--json and --ktap both want standard output.")
    if list_ and explain:
        raise click.UsageError("--list and --explain show different things.")
    if (list_ or explain) and (as_ktap or junit or html):
        raise click.UsageError("--list and --explain check nothing: there is nothing to report in KTAP, JUnit or HTML.")
    from harness.conformance import chosen  # noqa: PLC0415 - not before the options are known to be right

    rules = chosen(patterns)
    if list_ or explain:
        from harness.cli import rules as shown  # noqa: PLC0415

        shown.list_coverage(rules, as_json) if list_ else shown.explain(rules, as_json)
        return
    style = "json" if as_json else "ktap" if as_ktap else "table"
    with ExitStack() as stack:
        files = {name: stack.enter_context(closing(ReportFile(path, name))) for name, path in (("junit", junit), ("html", html)) if path}
        if len(files) == 2 and files["junit"].is_same(files["html"]):
            raise click.UsageError("--junit and --html name the same file.")
        sys.exit(_check(rules, specs, backend, jobs=jobs, style=style, files=files))


def _check(
    rules: Sequence[Rule], specs: Sequence[str], backend: Backend, *, jobs: int | None, style: str, files: Mapping[str, ReportFile],
) -> int:
    """Run the rules and report; of a check that was cut off what it had found by then. :returns: the exit status"""
    from harness.cli.checking import Checking  # noqa: PLC0415
    from harness.cli.signals import Interrupted  # noqa: PLC0415
    from harness.conformance import matrix, report  # noqa: PLC0415

    checking = Checking(rules)
    try:
        asyncio.run(_run(checking, specs, backend, jobs))
    except (Interrupted, NfharnessError) as error:
        if not any(result.seconds for result in checking.results):
            raise
        results = matrix.completed(rules, checking.targets, checking.results, str(error))
        _report(checking, results, style, files)
        if report.exit_code(results) != ExitCode.DIFFERENT:
            raise
        tell(error) if isinstance(error, NfharnessError) else print(f"nfharness: {error}", file=sys.stderr)
        return ExitCode.DIFFERENT
    _report(checking, checking.results, style, files)
    return report.exit_code(checking.results)


async def _run(checking: Checking, specs: Sequence[str], backend: Backend, jobs: int | None) -> None:
    from harness.conformance import matrix  # noqa: PLC0415

    on = await targets(specs, backend)
    try:
        with checking.of(on):
            checking.results = await matrix.run(checking.rules, on, checking.add, jobs=jobs or matrix.default_jobs(len(on)))
    finally:
        for one in on:
            await one.source.close()


def _report(checking: Checking, results: Sequence[Result], style: str, files: Mapping[str, ReportFile]) -> None:
    """:raises HostError: a file could not be written; all else was"""
    from harness.cli.checking import table  # noqa: PLC0415
    from harness.conformance import report  # noqa: PLC0415

    failures = []
    made = {"junit": lambda: report.junit(results), "html": lambda: _page(checking, results)}
    for name, file in files.items():
        try:
            file.write(made[name]())
        except HostError as error:
            failures.append(error)
    if style == "json":
        click.echo(json.dumps(report.as_json(checking.targets, results), indent=1))
    elif style == "ktap":
        click.echo("\n".join(report.ktap(results)))
    else:
        table(checking.targets, checking.rules, results, checking.seconds)
    if failures:
        raise failures[0]


def _page(checking: Checking, results: Sequence[Result]) -> bytes:
    from harness.cli.html import page  # noqa: PLC0415

    return page(checking.targets, checking.rules, results, checking.seconds).encode()
