"""``nfharness mutate``: the command, and below it how it shows what came of the mutants."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from harness.cli import report as tell
from harness.cli.options import json_option
from harness.cli.reports import ReportFile, opened, write_all
from harness.cli.say import say
from harness.errors import ExitCode, HostError, NfharnessError, UserError
from harness.host.terminal import Terminal

if TYPE_CHECKING:
    from harness.conformance.matrix import Target
    from harness.mutate.campaign import Campaign
    from harness.mutate.kept import MutantResult
    from harness.mutate.mutant import Mutant
    from harness.mutate.report import Judged

__all__ = ("command",)

_STYLES = {"survives": "bold red", "unclear": "yellow", "unproved": "bold red", "unfinished": "yellow", "not run": "yellow",
           "unseen": "dim", "equivalent": "dim", "caught": "green"}
_SHOWN = 200
"""Characters of what was reported, in a line."""


@click.command("mutate")
@click.option("--source", required=True, metavar="DIRECTORY",
              help="A built kernel tree, in place or what O= named. It is copied; nothing is written to it.")
@click.option("--only", "functions", multiple=True, metavar="FUNCTION", help="Mutants of this function; may be given several times.")
@click.option("--operator", "operators", multiple=True, metavar="OPERATOR",
              help="Mutants of this kind, as --list names them; may be given several times.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N of these that compile.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Mutants side by side.  [default: what cores and memory allow]")
@click.option("--again", is_flag=True, help="Run these mutants again, whatever is known of them.")
@click.option("--list", "list_", is_flag=True, help="List the mutants and run none; nothing is built.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write core.c with its mutants, and who caught which, as a page for a browser to FILE.")
@json_option
def command(  # noqa: PLR0917 - click passes them by name
    source: str, functions: tuple[str, ...], operators: tuple[str, ...], limit: int | None, jobs: int | None, again: bool, list_: bool,
    html: Path | None, as_json: bool,
) -> None:
    """Look whether the rules of a check catch what is wrong: mutants of net/netfilter/core.c.

    A mutant is a core.c with one statement wrong: a comparison, a call that is missing, a lock, a result. All that compile are built into
    one kernel, where a parameter chooses; each is chosen in a fresh guest, and the rules run there, those of its lines first, until one
    is different or the kernel dies. What no rule tells, nor the profile, survives: of that the whole check has run.

    Only rules that are conformant without a mutant count. A mutant that nothing can tell from what is right is equivalent if nfharness has
    a proof. What was found is kept (under mutants/ in the state directory, NFHARNESS_STATE) until core.c or the rules change, and a run
    that was cut off goes on there.

    Exit status: 0 all caught or equivalent, 1 any survives, 125 something could not be concluded.
    """
    if list_ and html:
        raise click.UsageError("--list runs nothing: there is nothing to report in HTML.")
    from harness.images import kernel_tree  # noqa: PLC0415 - not before the options are known to be right
    from harness.mutate.build import source_of  # noqa: PLC0415
    from harness.mutate.generate import mutants  # noqa: PLC0415

    text = source_of(kernel_tree.read(source))
    every = mutants(text)
    chosen = _chosen(every, functions, operators)
    if list_:
        _list(chosen[:limit], every, as_json=as_json)
        return
    with ExitStack() as stack:
        files = opened(stack, {"html": html})
        sys.exit(_Run(source, text, every, chosen, files, limit=limit, again=again, jobs=jobs, as_json=as_json).status())


def _chosen(every: Sequence[Mutant], functions: Sequence[str], operators: Sequence[str]) -> list[Mutant]:
    """The mutants that the command line means.

    :raises UserError: a function that has no mutant, or no such operator
    """
    from harness.mutate.generate import OPERATORS  # noqa: PLC0415
    from harness.scenario.reader import quote, suggest  # noqa: PLC0415

    known = dict.fromkeys(one.function for one in every)
    for option, what, given, there in (("--only", "function", functions, known), ("--operator", "operator", operators, OPERATORS)):
        for name in given:
            if name not in there:
                raise UserError(f"{option} {quote(name)}: no {what} with a mutant", hint=suggest(name, list(there), what=f"{what}s"))
    return [one for one in every if (not functions or one.function in functions) and (not operators or one.operator in operators)]


def _list(chosen: Sequence[Mutant], every: Sequence[Mutant], *, as_json: bool) -> None:
    from harness.mutate.equivalents import proofs  # noqa: PLC0415
    from harness.mutate.generate import OPERATORS  # noqa: PLC0415

    if as_json:
        known = {name: proof.why for name, proof in proofs(every).items()}
        print(json.dumps([{"name": one.name, "function": one.function, "line": one.line, "operator": one.operator, "original": one.original,
                           "mutated": one.mutated, "why": known.get(one.name, "")} for one in chosen], indent=1))
        return
    say(*(str(one) for one in chosen))
    say("")
    for name in OPERATORS:
        if count := sum(one.operator == name for one in chosen):
            say(f"{name:13} {count:4}  {OPERATORS[name].what}")
    say(f"{len(chosen)} mutants of {len({one.function for one in chosen})} functions, as far as they compile")


class _Run:
    """One run.

    :param text: core.c
    :param every: all of its mutants: they are built, whichever are chosen
    :param limit: of those chosen that compile
    """

    def __init__(
        self, source: str, text: str, every: Sequence[Mutant], chosen: Sequence[Mutant], files: dict[str, ReportFile], *,
        limit: int | None, again: bool, jobs: int | None, as_json: bool,
    ) -> None:
        from harness.mutate.equivalents import proofs  # noqa: PLC0415

        self._source, self._text, self._every, self._chosen, self._files = source, text, every, chosen, files
        self._limit, self._again, self._jobs, self._as_json = limit, again, jobs, as_json
        self._left_out: dict[str, str] = {}
        self._known: dict[str, MutantResult] = {}
        self._proofs = proofs(every)
        self._campaign: Campaign | None = None

    def status(self) -> int:
        """Run the mutants and report; of a run that was cut off what was found until then.

        :returns: the exit status
        """
        from harness.cli.signals import Interrupted  # noqa: PLC0415
        from harness.mutate.report import exit_code  # noqa: PLC0415

        try:
            asyncio.run(self._run())
        except (Interrupted, NfharnessError) as error:
            if self._campaign is None or not self._known:
                raise
            status = exit_code(self._report(self._campaign))
            say("nfharness: the same command goes on where this run ended", error=True)
            if status != ExitCode.DIFFERENT:
                raise
            tell(error) if isinstance(error, NfharnessError) else say(f"nfharness: {error}", error=True)
            return status
        assert self._campaign is not None  # noqa: S101
        return exit_code(self._report(self._campaign))

    async def _run(self) -> None:
        from harness.conformance.matrix import default_jobs, target  # noqa: PLC0415
        from harness.conformance.statements import CORE, CoreSource  # noqa: PLC0415
        from harness.host.progress import Progress  # noqa: PLC0415
        from harness.mutate.build import built  # noqa: PLC0415
        from harness.mutate.campaign import Campaign, baseline  # noqa: PLC0415
        from harness.mutate.kept import Kept  # noqa: PLC0415

        made = built(self._source, self._every, Progress())
        self._left_out = {one.name: made.left_out[one.name] for one in self._chosen if one.name in made.left_out}
        self._chosen = [one for one in self._chosen if one.name not in made.left_out][:self._limit]
        if not self._chosen:
            raise HostError("none of these mutants compiles with this configuration", hint="choose others: --list names them")
        kept, jobs = Kept(made.tree.parent), self._jobs or default_jobs()
        if self._again:
            kept.forget(one.name for one in self._chosen)
        on = await target(str(made.tree), Progress())
        try:
            known = await baseline(on, kept, jobs, Progress())
            self._campaign = Campaign(on, made, CoreSource(CORE, tuple(self._text.splitlines())), known, kept)
            self._known = {one.name: verdict for one in self._chosen if (verdict := kept.verdict(one.name))}
            with _Progress("mutants", len(self._chosen), len(self._known)) as bar:
                await self._campaign.run(self._chosen, self._proofs.keys(), jobs, lambda one, verdict: self._add(one, verdict, bar))
        finally:
            await on.source.close()

    def _add(self, mutant: Mutant, verdict: MutantResult, bar: _Progress) -> None:
        from harness.mutate.report import Judged  # noqa: PLC0415

        again = mutant.name in self._known
        self._known[mutant.name] = verdict
        outcome = Judged(mutant, verdict, self._proofs.get(mutant.name)).outcome
        how = f"by {verdict.by}" if verdict.by else verdict.how
        bar.add(f"{mutant}", f"{outcome}  {verdict.seconds:.1f} s  {how[:_SHOWN]}", again=again, quiet=outcome == "caught")

    def _report(self, campaign: Campaign) -> list[Judged]:
        """Print what came of the mutants that are in the kernel, and write the page.

        :raises HostError: the page could not be written
        """
        from harness.mutate.report import Judged, as_json  # noqa: PLC0415

        judged = [Judged(one, self._known.get(one.name), self._proofs.get(one.name)) for one in self._chosen]
        if self._as_json:
            print(json.dumps(as_json(self._source, campaign.on, judged, self._left_out, campaign.silent), indent=1))
        else:
            _table(campaign.on, judged, self._left_out, campaign.silent)
        write_all(self._files, {"html": lambda: self._page(campaign.on, judged)})
        return judged

    def _page(self, on: Target, judged: Sequence[Judged]) -> bytes:
        from harness.cli.mutate_page import page  # noqa: PLC0415

        return page(self._source, on, self._text, judged, self._left_out).encode()


class _Progress:
    """Progress on standard error: a bar on a terminal, a line for each elsewhere. A context."""

    def __init__(self, what: str, total: int, done: int) -> None:
        self._console = Terminal(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn(),
                   TextColumn("{task.fields[last]}", markup=False))
        self._bars = Bars(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task = self._bars.add_task(what, total=total, completed=done, last="")

    def __enter__(self) -> _Progress:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def add(self, what: str, how: str, *, again: bool, quiet: bool) -> None:
        """Show what became of one more mutant.

        :param how: what came of it
        :param again: more of one that was added before
        :param quiet: on a terminal the bar is enough
        """
        self._bars.update(self._task, advance=0 if again else 1, last=what[:60])
        if not (quiet and self._console.is_terminal):
            self._console.print(f"{what}\n    {how}", highlight=False, soft_wrap=True, markup=False)


def _table(on: Target, judged: Sequence[Judged], left_out: dict[str, str], silent: dict[str, str]) -> None:
    """What is not caught, each with its line; a row for each function; the totals; on standard output."""
    from harness.mutate.report import STATES, counted, pace  # noqa: PLC0415

    console = Terminal.wide(120)
    shown = Table("function", "mutants", *(state for state in counted(judged)), box=None, header_style="bold", pad_edge=False)
    for column in shown.columns[1:]:
        column.justify = "right"
    for name in dict.fromkeys(one.mutant.function for one in judged):
        own = [one for one in judged if one.mutant.function == name]
        found = counted(own)
        cells = (f"[{_STYLES[state]}]{found[state]}[/]" if state in found else "" for state in counted(judged))
        shown.add_row(name, str(len(own)), *cells)
    console.print(shown)
    for state in STATES:
        for one in judged:
            if one.outcome == state and state not in ("caught", "not run"):
                console.print(f"\n[{_STYLES[state]}]{state}[/]", end="  ", highlight=False)
                console.print(str(one.mutant), highlight=False, soft_wrap=True, markup=False)
                if one.why:
                    console.print(f"  {one.why}", style="dim", highlight=False, soft_wrap=True, markup=False)
    console.print()
    for rule, came in silent.items():
        console.print(f"{rule} counts for nothing: it is {came} without a mutant, too", style="yellow", highlight=False, markup=False)
    if left_out:
        console.print(f"{len(left_out)} mutants are left out, which do not compile or not with this configuration; --json has which",
                      style="dim", highlight=False)
    figures = pace(judged)
    pattern = "; {mean_s:.1f} s a mutant, {most_s:.0f} s the longest, at a load of {load:.1f} for each processor"
    took = pattern.format_map(figures) if figures else ""
    totals = ", ".join(f"{count} {state}" for state, count in counted(judged).items())
    console.print(f"{len(judged)} mutants on {on.kernel.release}: {totals}{took}", highlight=False, soft_wrap=True)
