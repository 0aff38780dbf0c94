"""``nfharness results``: runs of tests, as ``pytest --report-jsonl`` wrote them, compared."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from harness.cli.options import json_option
from harness.cli.reports import opened, write_all
from harness.cli.say import say
from harness.errors import ExitCode
from harness.host.terminal import Terminal
from harness.pytest_plugin.report.runs import ResultChange, ResultsFile, changes, files_of

__all__ = ("command",)

_STYLES = {"new failure": "bold red", "unsteady": "magenta", "still failing": "yellow", "fixed": "green"}
_FILE = click.Path(path_type=Path)


@click.group("results")
def command() -> None:
    """Compare runs of tests, which pytest --report-jsonl FILE wrote."""


@command.command("diff")
@json_option
@click.argument("first", type=_FILE)
@click.argument("second", type=_FILE)
def diff(as_json: bool, first: Path, second: Path) -> None:
    """Show what is otherwise in the run SECOND than in FIRST: new failures, what is fixed, what fails still, what takes more than twice as
    long and a second more, and tests that are new or gone. A test that both failed and passed within SECOND is unsteady.

    Exit status: 0 no new failure, 1 one at least, or an unsteady test, 125 a run that did not come to its end, without one.
    """
    runs = ResultsFile.read(first), ResultsFile.read(second)
    found = list(changes(*runs))
    counts = Counter(change.kind for change in found)
    if as_json:
        whole = [run.whole for run in runs]
        print(json.dumps({"changes": [asdict(change) for change in found], "counts": counts, "whole": whole}, indent=1))
    else:
        _print(found, counts)
    for run in runs:
        if not run.whole:
            say(f"nfharness: {run.path} has no summary: its run was cut off", error=True)
    failed = counts["new failure"] or counts["unsteady"]
    sys.exit(ExitCode.DIFFERENT if failed else ExitCode.CONFORMANT if all(run.whole for run in runs) else ExitCode.CANNOT)


def _print(found: list[ResultChange], counts: Counter[str]) -> None:
    if found:
        table = Table("", "kernel", "test", "before", "now", box=None, pad_edge=False, header_style="bold")
        for change in found:
            slower = change.kind == "slower"
            before, now = ((f"{seconds:.1f} s" for seconds in change.seconds) if slower else map(", ".join, (change.before, change.after)))
            table.add_row(change.kind, change.kernel, change.test, before, f"{now}: {change.message}" if change.message else now,
                          style=_STYLES.get(change.kind))
        Terminal.wide(200).print(table)
    say(", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing has changed")


@command.command("page")
@click.option("--html", required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the page to FILE.")
@click.argument("runs", type=_FILE, nargs=-1, required=True)
def page(html: Path, runs: tuple[Path, ...]) -> None:
    """Write a page of tests by runs, the latest run on the right: what fails, since when, and what fails now and then.

    RUNS are files, or directories with files that end with .jsonl. A run that was cut off is shown as such.
    """
    files = files_of(runs)
    found = [ResultsFile.read(path) for path in files]
    from harness.cli.results_page import results_page  # noqa: PLC0415 - jinja2 and what it needs

    with ExitStack() as stack:
        write_all(opened(stack, {"html": html}, files), {"html": lambda: results_page(found).encode("utf-8", "backslashreplace")})
