"""``nfharness check``: the command, and below it how it shows what it does and what it found."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from harness.cli import report as tell
from harness.cli.options import backend_option, json_option, kernels_option, reference_options, targets
from harness.cli.reports import ReportFile, opened, write_all
from harness.cli.say import say
from harness.errors import ExitCode, HostError, NfharnessError
from harness.host.terminal import Terminal

if TYPE_CHECKING:
    from harness.backends.names import Backend
    from harness.conformance.collect import Collect
    from harness.conformance.judge import State
    from harness.conformance.matrix import RuleResult, Target
    from harness.conformance.rule import Rule
    from harness.conformance.selection import Selection

__all__ = ("Checking", "command", "table")

_STYLES: dict[State, str] = {
    "conformant": "green", "different": "bold red", "not_applicable": "dim", "inconclusive": "yellow", "lost": "bold magenta",
}
#: Of a difference, on a terminal: one wrong order of many hooks differs at every step.
_DETAILS = 6


def _complete_rule(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from harness.conformance import RULES  # noqa: PLC0415

    return [name for name in RULES if name.startswith(incomplete)]


@click.command("check")
@kernels_option("Kernel to check")
@backend_option
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Guests side by side.  [default: what cores and memory allow]")
@json_option
@click.option("--ktap", "as_ktap", is_flag=True, help="Print KTAP on standard output.")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write JUnit XML to FILE.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a report for a browser to FILE.")
@click.option("--github", is_flag=True, help="Annotate what is not conformant for GitHub, and add to the step's summary.")
@reference_options
@click.option("--collect", nargs=2, type=(str, click.Path(file_okay=False, path_type=Path)), metavar="GLOB DIR",
              help="Copy the files that match GLOB out of each guest before it ends, to DIR/KERNEL/NUMBER: gcov's counters.")
@click.option("--dead-is-different", is_flag=True, help="Exit status 1, not 125, for a kernel that never came up: for git bisect.")
@click.option("--list", "list_", is_flag=True, help="List core.c's functions with the rules that cover them, and what none covers.")
@click.option("--explain", is_flag=True, help="Show the rules: where they come from, their scripts, the model's answer.")
@click.argument("patterns", nargs=-1, shell_complete=_complete_rule, metavar="[RULE]...")
def command(  # noqa: PLR0917 - click passes them by name
    specs: tuple[str, ...], backend: Backend, jobs: int | None, as_json: bool, as_ktap: bool, junit: Path | None, html: Path | None,
    github: bool, like: str | None, allowed: tuple[str, ...], dead_is_different: bool,
    collect: tuple[str, Path] | None, list_: bool, explain: bool, patterns: tuple[str, ...],
) -> None:
    """Check rule by rule whether kernels do what net/netfilter/core.c promises.

    RULE is an id (order.ascending), a prefix (order) or a glob ('*.errno'); all rules by default. Each difference is written to a
    bundle, which replay runs again.

    What a kernel's hook core is found to do where kernels differ (nfharness profile) is compared with a reference, recorded on Debian's
    kernel of that series: what departs is a result (profile.netdev_egress), different unless an option of the kernel's configuration or
    --allow-profile explains it. Rules that apply to the reference and not to the kernel are named.

    Ctrl-C ends it; once a rule has run, what was found so far is reported, in every file and format, and the other rules as inconclusive.

    Exit status: 0 conformant, 1 any rule or field different or the kernel died of a rule, 125 some inconclusive, none applicable, or a
    kernel that never came up.
    """
    if as_json and as_ktap:
        raise click.UsageError("--json and --ktap both want standard output.")
    if list_ and explain:
        raise click.UsageError("--list and --explain show different things.")
    if (list_ or explain) and (as_ktap or junit or html):
        raise click.UsageError("--list and --explain check nothing: there is nothing to report in KTAP, JUnit or HTML.")
    from harness.conformance.collect import Collect  # noqa: PLC0415 - not before the options are known to be right
    from harness.conformance.selection import Selection  # noqa: PLC0415

    selection = Selection.of(patterns, like, allowed)
    rules = selection.rules
    if list_ or explain:
        from harness.cli import rules as shown  # noqa: PLC0415

        shown.list_coverage(rules, as_json) if list_ else shown.explain(rules, as_json)
        return
    style = "json" if as_json else "ktap" if as_ktap else "table"
    with ExitStack() as stack:
        files = opened(stack, {"junit": junit, "html": html})
        sys.exit(_check(selection, specs, backend, jobs=jobs, style=style, files=files, github=github,
                        dead_is_different=dead_is_different, collect=Collect(*collect) if collect else None))


def _check(
    selection: Selection, specs: Sequence[str], backend: Backend, *, jobs: int | None, style: str, files: Mapping[str, ReportFile],
    github: bool, dead_is_different: bool, collect: Collect | None,
) -> int:
    """Run the rules and report; of a check that was cut off what was found until then.

    :returns: the exit status
    """
    from harness.cli.signals import Interrupted  # noqa: PLC0415
    from harness.conformance import matrix, report  # noqa: PLC0415

    checking = Checking(selection.rules)
    try:
        asyncio.run(_run(checking, selection, specs, backend, jobs=jobs, collect=collect))
    except (Interrupted, NfharnessError) as error:
        if not any(result.seconds for result in checking.results):
            raise
        results = matrix.completed(selection.rules, checking.targets, checking.results, str(error))
        _report(checking, results, style, files, github=github)
        if report.exit_code(results) != ExitCode.DIFFERENT:
            raise
        tell(error) if isinstance(error, NfharnessError) else say(f"nfharness: {error}", error=True)
        return ExitCode.DIFFERENT
    _report(checking, checking.results, style, files, github=github)
    return report.exit_code(checking.results, dead_is_different=dead_is_different)


async def _run(
    checking: Checking, selection: Selection, specs: Sequence[str], backend: Backend, *, jobs: int | None, collect: Collect | None,
) -> None:
    from harness.conformance import matrix  # noqa: PLC0415
    from harness.conformance.profiles import compared  # noqa: PLC0415

    on = await targets(specs, backend, like=selection.like, allowed=selection.allowed, dead=True)
    try:
        with checking.of(on):
            profiles = compared(on, selection.fields, selection.named_fields)
            for result in profiles:
                checking.add(result)
            found = await matrix.run(selection.rules, on, checking.add, jobs=jobs or matrix.default_jobs(), collect=collect)
            checking.results = [*found, *profiles]
    finally:
        for one in on:
            await one.source.close()
    if not collect:
        return
    for one in on:
        taken = f"{collect.files[one.kernel.label]} files of {one.name} in {collect.directory / one.kernel.label}"
        say(f"nfharness: {taken}", error=True)


def _report(checking: Checking, results: Sequence[RuleResult], style: str, files: Mapping[str, ReportFile], *, github: bool) -> None:
    """Print the results, and write the files that were asked for.

    :raises HostError: a file could not be written; all else was
    """
    from harness.conformance import report  # noqa: PLC0415

    failure = None
    try:
        write_all(files, {"junit": lambda: report.junit(results), "html": lambda: _page(checking, results)})
    except HostError as error:
        failure = error
    if style == "json":
        print(json.dumps(report.as_json(checking.targets, results), indent=1))
    elif style == "ktap":
        say(*report.ktap(results))
    else:
        table(checking.targets, checking.rules, results, checking.seconds)
    if github:
        from harness.cli.annotated import tell_github  # noqa: PLC0415

        tell_github(results)
    if failure:
        raise failure


def _page(checking: Checking, results: Sequence[RuleResult]) -> bytes:
    from harness.cli.html import page  # noqa: PLC0415

    return page(checking.targets, checking.rules, results, checking.seconds).encode()


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _words(state: State) -> str:
    return state.replace("_", " ")


class Checking:
    """Progress on standard error: a bar for each kernel on a terminal, a line for each result elsewhere. A context.

    :ivar targets: the kernels, once they are ready
    :ivar results: so far, in the order in which they came
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.targets: Sequence[Target] = ()
        self.results: list[RuleResult] = []
        self._console = Terminal(stderr=True)
        self._live = self._console.is_terminal
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn(),
                   TextColumn("{task.fields[last]}"))
        self._bars = Bars(*columns, console=self._console, transient=True, disable=not self._live)
        self._tasks: dict[str, TaskID] = {}
        self._start = 0.0

    def of(self, targets: Sequence[Target]) -> Checking:
        """These kernels, which are ready."""
        self.targets = targets
        return self

    def __enter__(self) -> Checking:
        self._start = time.monotonic()
        for target in self.targets:
            label = target.kernel.label
            self._tasks[label] = self._bars.add_task(label, total=len(self.rules), last="")
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    @property
    def seconds(self) -> float:
        """Since the first guest was asked for."""
        return time.monotonic() - self._start

    def add(self, result: RuleResult) -> None:
        """Show one more result."""
        self.results.append(result)
        self._bars.update(self._tasks[result.kernel], advance=1, last=result.rule)
        if self._live and result.state in ("conformant", "not_applicable"):
            return
        reason = f"  {result.reason}" if result.reason else ""
        line = f"{result.kernel}  {result.rule}  {_words(result.state)}  {result.seconds:.1f} s{reason}"
        self._console.print(line, style=_STYLES[result.state] if self._live else None, highlight=False, soft_wrap=True, markup=False)


def table(targets: Sequence[Target], rules: Sequence[Rule], results: Sequence[RuleResult], seconds: float) -> None:
    """The matrix, why what is not conformant is not, and the totals; on standard output."""
    from harness.conformance.judge import STATES  # noqa: PLC0415

    console = Terminal.wide(max(120, 36 + 18 * len(targets)))
    states = {(result.rule, result.kernel): result.state for result in results}
    shown = Table("rule", *(target.name for target in targets), box=None, header_style="bold", pad_edge=False)
    for row in dict.fromkeys(result.rule for result in results):
        cells = (states[row, target.kernel.label] for target in targets)
        shown.add_row(row, *(f"[{_STYLES[state]}]{_words(state)}[/]" for state in cells))
    console.print(shown)
    _differences(console, targets, results)
    _departures(console, targets, results)
    _not_applicable(console, targets, results)
    _cut_off(console, targets, results)
    count: Counter[State] = Counter(result.state for result in results)
    totals = ", ".join(f"{count[state]} {_words(state)}" for state in STATES if count[state])
    if rules and not any(count[state] for state in STATES if state != "not_applicable"):
        totals += ": nothing was checked"
    console.print(f"\n{_plural(len(rules), 'rule')} on {_plural(len(targets), 'kernel')} in {seconds:.0f} s: {totals}", highlight=False)


def _differences(console: Terminal, targets: Sequence[Target], results: Sequence[RuleResult]) -> None:
    names = {target.kernel.label: target.name for target in targets}
    for result in results:
        if result.state not in ("different", "inconclusive", "lost") or result.cut_off:
            continue
        console.print(f"\n[{_STYLES[result.state]}]{_words(result.state)}[/] {result.rule} on {result.kernel}", highlight=False)
        for number, line in enumerate(result.promise):
            console.print(f"  {line}", style="dim" if number else "italic", highlight=False, soft_wrap=True, markup=False)
        details = result.details or (result.reason,)
        for detail in details if result.state == "lost" else details[:_DETAILS]:
            console.print(f"  {escape(detail)}", highlight=False, soft_wrap=True)
        if result.state != "lost" and len(details) > _DETAILS:
            console.print(f"  … and {len(details) - _DETAILS} more, which replay shows")
        for command_line in _again(result, names[result.kernel]):
            console.print(f"  {escape(shlex.join(command_line))}", highlight=False, soft_wrap=True)


def _again(result: RuleResult, kernel: str) -> Iterator[tuple[str, ...]]:
    """The commands that show a difference, or a death, once more.

    :param kernel: as it was asked for
    """
    if result.bundle:
        yield ("nfharness", "replay", str(result.bundle))
    if result.state != "lost" or not result.asked:
        return
    if result.bundle:
        yield ("nfharness", "minimise", str(result.bundle))
    yield ("nfharness", "check", result.rule, "--kernel", kernel)
    yield ("nfharness", "shell", "--kernel", kernel)


def _departures(console: Terminal, targets: Sequence[Target], results: Sequence[RuleResult]) -> None:
    """Where profiles depart from their references and something explains it."""
    from harness.conformance.reference import PREFIX  # noqa: PLC0415

    names = {target.kernel.label: target.name for target in targets}
    explained = [result for result in results if result.rule.startswith(PREFIX) and result.state == "conformant" and result.reason]
    if explained:
        console.print()
    for result in explained:
        console.print(f"{result.rule} of {names[result.kernel]}: {result.reason}", style="dim", highlight=False, soft_wrap=True,
                      markup=False)


def _not_applicable(console: Terminal, targets: Sequence[Target], results: Sequence[RuleResult]) -> None:
    """One line for each reason and kernel; then the rules that apply to the reference, by name."""
    from harness.conformance.report import missed  # noqa: PLC0415

    names = {target.kernel.label: target.name for target in targets}
    reasons: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if result.state == "not_applicable":
            reasons.setdefault((result.kernel, result.reason.partition(";")[0]), []).append(result.rule)
    if reasons:
        console.print()
    for (kernel, reason), ids in reasons.items():
        console.print(f"not applicable to {names[kernel]}, where {reason}: {', '.join(ids)}", style="dim", highlight=False, soft_wrap=True,
                      markup=False)
    for (kernel, reference), ids in missed(results).items():
        console.print(f"{_plural(len(ids), 'rule')} of {reference} not applicable to {names[kernel]}: {', '.join(ids)}", style="yellow",
                      highlight=False, soft_wrap=True, markup=False)


def _cut_off(console: Terminal, targets: Sequence[Target], results: Sequence[RuleResult]) -> None:
    """What a check that was cut off did not come to, and why not."""
    for target in targets:
        missed = [result for result in results if result.kernel == target.kernel.label and result.cut_off]
        if missed:
            console.print(f"\n{_plural(len(missed), 'rule')} on {target.name} {missed[0].reason}", style="yellow", highlight=False,
                          soft_wrap=True, markup=False)
