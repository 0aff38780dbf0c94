"""``nfharness diff``: the command, and below it what it prints."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.cli import report as tell
from harness.cli.check import Checking
from harness.cli.options import complete_kernel, json_option, reference_options, targets
from harness.cli.profile import in_words
from harness.cli.reports import ReportFile, opened, write_all
from harness.cli.say import say
from harness.errors import ExitCode, HostError, NfharnessError, UserError
from harness.host.terminal import Terminal

if TYPE_CHECKING:
    from harness.conformance.cases import Cases
    from harness.conformance.contrast import Case, KernelContrast
    from harness.conformance.contrast_notes import Note
    from harness.conformance.selection import Selection

__all__ = ("command", "show")

_WIDTH = 140
#: Lines of a case, and names of cases, on a terminal; the page and JSON have all.
_LINES, _NAMES = 8, 12


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from harness.conformance import RULES  # noqa: PLC0415 - not before something is to be completed
    from harness.conformance.reference import FIELDS, PREFIX  # noqa: PLC0415
    from harness.scenario.builtin import BUILTIN  # noqa: PLC0415

    if "/" in incomplete or incomplete.startswith((".", "~")):
        return [CompletionItem(incomplete, type="file")]
    names = (*RULES, *BUILTIN, "scenario", "find", *(f"{PREFIX}{name}" for name in FIELDS))
    return [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(incomplete)]


@click.command("diff")
@click.option("--kernel", "specs", multiple=True, metavar="SPEC", shell_complete=complete_kernel,
              help="Kernel to compare, as in run; given twice, once for each of the two.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Guests side by side.  [default: what cores and memory allow]")
@json_option
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a report for a browser to FILE.")
@reference_options
@click.option("--explained-is-different", is_flag=True, help="Exit status 1, not 0, also for what the kernels' profiles explain.")
@click.argument("patterns", nargs=-1, shell_complete=_complete, metavar="[RULE | NAME]...")
def command(  # noqa: PLR0917 - click passes them by name
    specs: tuple[str, ...], jobs: int | None, as_json: bool, html: Path | None, like: str | None, allowed: tuple[str, ...],
    explained_is_different: bool, patterns: tuple[str, ...],
) -> None:
    """Show what two kernels do differently: their profiles, the rules, the built-in scenarios, and what explore found.

    RULE is as in check; NAME is a built-in scenario, 'scenario' for all of them, 'find' for what explore and minimise have left in the
    state directory, profile.FIELD, or the file of a bundle or scenario; everything by default.

    Each case runs on both kernels. Their outcomes are compared with each other, and each with the model under that kernel's own profile.
    A difference is explained where each kernel does what the model predicts for it; then the fields of the profile that make the model
    predict it are named. A field that is not as in the reference of the kernel's series explains nothing, as in check. Times, addresses,
    and names of functions and modules are no behaviour.

    Ctrl-C ends it; what was found so far is reported.

    Exit status: 0 the two behave alike, or differ as their profiles explain; 1 something differs that nothing explains, or a kernel died
    of it; 125 something is inconclusive and nothing is different.
    """
    if len(specs) != 2:
        raise click.UsageError(f"two kernels are compared, and --kernel is given {len(specs)} times.")
    from harness.conformance.cases import Cases  # noqa: PLC0415 - not before the options are known to be right
    from harness.conformance.selection import Selection  # noqa: PLC0415

    _two(specs)
    reference = Selection.of((), like, allowed)
    cases = Cases.of(patterns)
    for note in cases.notes:
        say(f"nfharness: {note}", error=True)
    with ExitStack() as stack:
        files = opened(stack, {"html": html})
        sys.exit(_diff(specs, cases, reference, jobs=jobs, as_json=as_json, files=files, explained_is_different=explained_is_different))


def _two(specs: Sequence[str]) -> None:
    """Look whether two names mean two kernels.

    :raises UserError: they mean one, or one means none
    """
    from harness.host.progress import Progress  # noqa: PLC0415
    from harness.images.specs import resolved  # noqa: PLC0415

    labels = [resolved(spec, Progress()).label for spec in specs]
    if labels[0] == labels[1]:
        raise UserError(f"{specs[0]} and {specs[1]} are the same kernel, {labels[0]}",
                        hint="name another one: 'nfharness kernels' lists those that there are")


def _diff(
    specs: Sequence[str], cases: Cases, reference: Selection, *, jobs: int | None, as_json: bool, files: Mapping[str, ReportFile],
    explained_is_different: bool,
) -> int:
    """Compare and report; of a comparison that was cut off what was found until then.

    :returns: the exit status
    """
    from harness.cli.signals import Interrupted  # noqa: PLC0415
    from harness.conformance.contrast import exit_code  # noqa: PLC0415

    checking = Checking(cases.rules)
    runs: list[KernelContrast] = []
    try:
        asyncio.run(_run(checking, runs, specs, cases, reference, jobs=jobs))
    except (Interrupted, NfharnessError) as error:
        if not runs:
            raise
        _report(runs[0], checking.seconds, as_json, files)
        if exit_code(runs[0], explained_is_different=explained_is_different) != ExitCode.DIFFERENT:
            raise
        tell(error) if isinstance(error, NfharnessError) else say(f"nfharness: {error}", error=True)
        return ExitCode.DIFFERENT
    _report(runs[0], checking.seconds, as_json, files)
    return exit_code(runs[0], explained_is_different=explained_is_different)


async def _run(
    checking: Checking, runs: list[KernelContrast], specs: Sequence[str], cases: Cases, reference: Selection, *, jobs: int | None,
) -> None:
    """Run the cases on both.

    :param runs: gets the comparison once the kernels are ready
    """
    from harness.conformance.contrast import KernelContrast  # noqa: PLC0415
    from harness.conformance.matrix import default_jobs  # noqa: PLC0415

    first, second = on = await targets(specs, like=reference.like, allowed=reference.allowed)
    try:
        run = KernelContrast((first, second), cases.rules, cases.fields)
        runs.append(run)
        with checking.of(on):
            await run.run(checking.add, jobs=jobs or default_jobs())
    finally:
        for one in on:
            await one.source.close()


def _report(run: KernelContrast, seconds: float, as_json: bool, files: Mapping[str, ReportFile]) -> None:
    """Print what was found, and write the file that was asked for.

    :raises HostError: the file could not be written; all else was
    """
    from harness.conformance import contrast_notes  # noqa: PLC0415

    failure = None
    try:
        write_all(files, {"html": lambda: _page(run, seconds)})
    except HostError as error:
        failure = error
    if as_json:
        print(json.dumps(contrast_notes.as_json(run), indent=1))
    else:
        show(run, seconds)
    if failure:
        raise failure


def _page(run: KernelContrast, seconds: float) -> bytes:
    from harness.cli.diff_page import page  # noqa: PLC0415

    return page(run, seconds).encode()


def show(run: KernelContrast, seconds: float) -> None:
    """What differs, note by note; what is inconclusive; the totals; on standard output."""
    from harness.conformance.contrast_notes import notes, of_state  # noqa: PLC0415

    console = Terminal.wide(_WIDTH)
    first, second = run.on
    console.print(f"[bold]{escape(first.name)} → {escape(second.name)}[/]  ({first.kernel.label} → {second.kernel.label})", highlight=False)
    for case in of_state(run, "different"):
        _fault(console, run, case)
    for note in notes(run):
        _note(console, run, note)
    _rest(console, run)
    console.print(f"\n{_totals(run, seconds)}", highlight=False, soft_wrap=True)


def _plain(console: Terminal, text: str, style: str = "") -> None:
    console.print(Text(f"  {text}", style), soft_wrap=True, highlight=False)


def _fault(console: Terminal, run: KernelContrast, case: Case) -> None:
    """A case in which the two differ, and nothing explains it."""
    console.print(f"\n[bold red]different[/] [bold]{escape(case.rule.id)}[/]: {escape(case.rule.sentence)}", highlight=False)
    for reason in case.reasons[:_LINES]:
        _plain(console, reason)
    if len(case.reasons) > _LINES:
        _plain(console, f"… and {len(case.reasons) - _LINES} more")
    _sides(console, run, case)
    for result in case.results:
        if result.bundle:
            _plain(console, f"nfharness replay {shlex.quote(str(result.bundle))}")


def _note(console: Terminal, run: KernelContrast, note: Note) -> None:
    """What one field of the profile comes to."""
    from harness.conformance.contrast import OTHERS  # noqa: PLC0415
    from harness.conformance.contrast_notes import functions  # noqa: PLC0415

    title = "hooks of others" if note.cause == OTHERS else note.cause
    values = f": {' → '.join(in_words(note.field.name, note.field.values))}" if note.field and not note.field.failed else ""
    console.print(f"\n[bold yellow]{title}[/]{escape(values)}", highlight=False)
    _plain(console, f"{note.means}.")
    for fault in note.field.faults if note.field else ():
        _plain(console, f"nothing explains that: {fault}", "bold red")
    for line in (*(note.field.notes if note.field else ()), *(note.field.failed if note.field else ())):
        _plain(console, line, "dim")
    for target, cases in zip(run.on, note.only, strict=True):
        if cases:
            _plain(console, f"{target.name} only: {_listed(cases)}")
    if note.shown:
        about = ", ".join(functions(note.shown))
        _plain(console, f"seen in {_listed(note.shown)}{f' ({about})' if about else ''}")
    elif not any(note.only):
        _plain(console, "no case here shows it", "dim")
    if note.example:
        _plain(console, f"{note.example.rule.id}: {note.example.rule.sentence}", "italic")
        _sides(console, run, note.example, note.cause)


def _listed(cases: Sequence[Case]) -> str:
    names = [case.rule.id for case in cases]
    return ", ".join(names[:_NAMES]) + (f" and {len(names) - _NAMES} more" if len(names) > _NAMES else "")


def _sides(console: Terminal, run: KernelContrast, case: Case, cause: str | None = None) -> None:
    """What the first kernel did beside what the second did, and the walks.

    :param cause: only what it explains is shown
    """
    found = [one for one in case.differing if cause is None or cause in one.causes]
    lines = [(one.place, one.contrast.first, one.contrast.second, True) for one in found]
    walks = [(line.where, line.first, line.second, line.differs) for line in case.walk]
    if not lines and not walks:
        return
    table = Table("", *(one.name for one in run.on), box=None, header_style="bold", pad_edge=False)
    for some in (lines, walks):
        for where, first, second, differs in some[:_LINES]:
            style = "" if differs else "dim"
            table.add_row(Text(where, style), Text(_cut(first), style), Text(_cut(second), style))
        if len(some) > _LINES:
            table.add_row(f"… and {len(some) - _LINES} more")
    console.print(Padding(table, (0, 0, 0, 4)))


def _cut(text: str, length: int = 160) -> str:
    return text if len(text) <= length else f"{text[:length // 2]} … {text[-length // 2:]}"


def _rest(console: Terminal, run: KernelContrast) -> None:
    """What could not be concluded, and what is alike though not as the model predicts."""
    from harness.conformance.contrast_notes import of_state  # noqa: PLC0415

    for case in of_state(run, "inconclusive"):
        console.print(f"\n[yellow]inconclusive[/] {escape(case.rule.id)}", highlight=False)
        for reason in case.reasons[:_LINES]:
            _plain(console, reason)
    alike = [case for case in of_state(run, "alike") if case.reasons]
    if alike:
        console.print("\nalike, and neither as the model predicts (nfharness check): " + ", ".join(case.rule.id for case in alike),
                      style="yellow", highlight=False, soft_wrap=True, markup=False)
    if run.missed:
        console.print(f"\nnot run: {', '.join(rule.id for rule in run.missed)}", style="yellow", highlight=False, markup=False)
    if run.names:
        told = ", ".join(f"{first} is {second}" for first, second in sorted(run.names.items()))
        console.print(f"\nthe same hooks under other names: {told}", style="dim", highlight=False, markup=False)


def _totals(run: KernelContrast, seconds: float) -> str:
    """``280 cases on 2 kernels in 98 s: 12 fields of the profile differ, 60 cases differ as the profiles explain, …``."""
    from harness.conformance.contrast_notes import of_state  # noqa: PLC0415

    counts = ((len(of_state(run, "different")), "different"), (len(of_state(run, "explained")), "explained"),
              (len(of_state(run, "inconclusive")), "inconclusive"), (len(run.missed), "not run"), (len(of_state(run, "alike")), "alike"),
              (len(of_state(run, "neither")), "not applicable to either"))
    said = ", ".join(f"{count} {what}" for count, what in counts if count) or "nothing was run"
    fields = len(run.profile)
    return (f"{len(run.rules)} case{'s' * (len(run.rules) != 1)} on 2 kernels in {seconds:.0f} s: {said}; "
            f"{fields or 'no'} field{'s' * (fields > 1)} of the profile differ{'s' * (fields < 2)}")
