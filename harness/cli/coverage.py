"""``nfharness coverage``: the command, and below it how it shows what rules, or tests that ran before, reach."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import click

from harness.cli.options import json_option, kernel_option
from harness.cli.reports import opened, write_all
from harness.errors import ExitCode, GuestError, UserError
from harness.host.terminal import Terminal

if TYPE_CHECKING:
    from harness.cli.check import Checking
    from harness.conformance.collect import EachRule
    from harness.conformance.gcov import Counts, Profiled
    from harness.conformance.reach import Reach
    from harness.conformance.selection import Selection

__all__ = ("command",)

_FILE = click.Path(dir_okay=False, path_type=Path)
_RULES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Counted:
    """What was counted, and what is said beside that.

    :param kind: ``rules`` or ``tests``
    :param name: the kernel, as it was asked for
    :param identity: of the kernel
    :param before: what ran before any rule or test
    :param counts: rule or test → what ran in it
    :param seconds: that the rules took; ``None`` for tests, which ran before
    :param lost: rules whose guest did not live to tell
    :param problems: what rules were not conformant, a line each
    """

    kind: str
    name: str
    identity: dict[str, Any]
    before: Counts
    counts: dict[str, Counts]
    seconds: float | None = None
    lost: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    status: int = ExitCode.CONFORMANT


@click.command("coverage")
@kernel_option
@click.option("--file", "file", default="net/netfilter/core.c", show_default=True, metavar="FILE", help="Which source file's counters.")
@click.option("--read", "directory", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR",
              help="Run nothing: report on the tests of runs with --coverage DIR, of test, kselftest or suite.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Guests side by side.  [default: what cores and memory allow]")
@json_option
@click.option("--html", type=_FILE, metavar="FILE", help="Write a page to FILE: the source, and the rules that reach each line.")
@click.option("--lcov", type=_FILE, metavar="FILE", help="Write a tracefile to FILE, for lcov's genhtml: a test for each rule.")
@click.argument("patterns", nargs=-1, metavar="[RULE]...")
def command(  # noqa: PLR0917 - click passes them by name
    spec: str, file: str, directory: Path | None, jobs: int | None, as_json: bool, html: Path | None, lcov: Path | None,
    patterns: tuple[str, ...],
) -> None:
    """Run rules on a kernel that gcov counts, and report which lines and branches of core.c each reaches.

    The kernel is one with CONFIG_GCOV_KERNEL and counters for that file: nfharness kernel build --flavour gcov. RULE is as in check.
    Counters are read before each rule and after it; what ran as the kernel booted is told apart. With --read DIR the same is reported of
    tests: nfharness kselftest net/netfilter --kernel 6.12+gcov --coverage DIR.

    Exit status: as that of check; with --read 0.
    """
    if directory and (patterns or jobs):
        raise click.UsageError("--read runs nothing: leave out RULE and --jobs.")
    from harness.conformance import reach  # noqa: PLC0415 - not before the options are known to be right
    from harness.conformance.gcov import Profiled  # noqa: PLC0415
    from harness.conformance.selection import Selection  # noqa: PLC0415
    from harness.conformance.statements import CoreSource  # noqa: PLC0415
    from harness.images.counted import counted  # noqa: PLC0415

    selection = Selection.of(patterns)
    profiled = Profiled(counted(spec), file)
    with ExitStack() as stack:
        files = opened(stack, {"html": html, "lcov": lcov})
        ran = _of_tests(profiled, directory, spec) if directory else _of_rules(profiled, selection, spec, jobs)
        # A rule that is not asked for is a reason; tests stand for none.
        asked = tuple(ran.counts) if ran.kind == "rules" else tuple(rule.id for rule in selection.rules)
        why = reach.reasons(file, CoreSource(file, profiled.text), asked)
        found = reach.Reach.of(file, profiled.text, ran.before, ran.counts, why, kind=ran.kind)
        write_all(files, {"html": lambda: _page(found, ran, profiled),
                          "lcov": lambda: reach.lcov(str(profiled.source), ran.before, ran.counts).encode()})
    if as_json:
        print(json.dumps({"kernel": ran.identity, **found.as_json(), "lost": ran.lost}, indent=1))
    else:
        _show(found, ran)
    sys.exit(ran.status)


def _of_rules(profiled: Profiled, selection: Selection, spec: str, jobs: int | None) -> _Counted:
    """Run rules, and read what each counts."""
    from harness.cli.check import Checking  # noqa: PLC0415
    from harness.conformance import report  # noqa: PLC0415
    from harness.conformance.collect import EachRule  # noqa: PLC0415

    collected, checking = EachRule(profiled.glob), Checking(selection.rules)
    asyncio.run(_run(checking, selection, spec, collected, jobs))
    before, counts = _read(profiled, collected, checking)
    bad = [f"{result.rule} {result.state}: {result.reason}" for result in checking.results
           if result.state in ("different", "lost", "inconclusive")]
    return _Counted("rules", checking.targets[0].name, checking.targets[0].identity(), before, counts, checking.seconds,
                    collected.lost, bad, report.exit_code(checking.results))


def _of_tests(profiled: Profiled, directory: Path, spec: str) -> _Counted:
    """Read what tests that ran before have counted.

    :raises UserError: the directory has no counters of this build
    :raises GuestError: they are not of this file
    """
    from harness.conformance.gcov import Counts  # noqa: PLC0415
    from harness.host.progress import Progress  # noqa: PLC0415
    from harness.images.specs import resolved  # noqa: PLC0415
    from harness.pytest_plugin.host.coverage import BEFORE, place_of  # noqa: PLC0415

    kernel, place = resolved(spec, Progress(quiet=True)), place_of(str(directory), spec)
    contents = {unquote(one.name): next(_contents(one, profiled), b"") for one in sorted(place.glob("[!.]*"))}
    if not contents:
        others = ", ".join(sorted(one.name for one in directory.iterdir())) or "nothing"
        raise UserError(f"{directory} has no counters of {kernel.label}, but {others}",
                        hint=f"nfharness test --kernel {spec} --coverage {directory}: what another build counted does not count here")
    if not any(contents.values()):
        raise GuestError(f"no counters of {profiled.file} in {place}", hint="a module's are there once a test that loads it has run")
    known = {content: profiled.read(content) for content in dict.fromkeys(contents.values())}
    counts = {test: known[content] for test, content in contents.items()}
    identity = {"name": spec, "kernel": kernel.label, "release": kernel.release, "version": kernel.version, "tree": kernel.tree}
    return _Counted("tests", spec, identity, counts.pop(BEFORE, Counts()), counts)


def _contents(place: Path, profiled: Profiled) -> Iterator[bytes]:
    """The counters of the file below a directory; one."""
    return (file.read_bytes() for file in place.glob(profiled.glob.lstrip("/")))


async def _run(checking: Checking, selection: Selection, spec: str, collected: EachRule, jobs: int | None) -> None:
    from harness.cli.options import targets  # noqa: PLC0415
    from harness.conformance import matrix  # noqa: PLC0415

    on = await targets([spec], dead=True)
    try:
        with checking.of(on):
            checking.results = await matrix.run(selection.rules, on, checking.add, jobs=jobs or matrix.default_jobs(), collect=collected)
    finally:
        for one in on:
            await one.source.close()


def _read(profiled: Profiled, collected: EachRule, checking: Checking) -> tuple[Counts, dict[str, Counts]]:
    """What ran before the rules, and in each; of guests of one template, before their first rule, the least that any had counted.

    :raises GuestError: no guest had counters of the file
    """
    from harness.conformance.gcov import Counts  # noqa: PLC0415

    contents = dict.fromkeys(content for pair in collected.changes.values() for content in pair)
    if not any(contents):
        what = "every guest died before it could be asked" if collected.lost and not contents else f"no guest has {profiled.glob}"
        raise GuestError(f"no counters of {profiled.file}: {what}",
                         hint="a module's are there once a rule that loads it has run; the kernel needs CONFIG_DEBUG_FS")
    known = {content: profiled.read(content) for content in contents}
    changes = {rule: known[after] - known[before] for rule, (before, after) in collected.changes.items()}
    order = [result.rule for result in checking.results if result.rule in changes]
    first = [known[content] for content in collected.first if content in known]
    return min(first, key=lambda counts: sum(counts.lines.values()), default=Counts()), {rule: changes[rule] for rule in order}


def _show(found: Reach, ran: _Counted) -> None:
    console = Terminal.wide(160)

    def line(text: str, style: str | None = None) -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    there, executed, taken = found.branches
    took = "" if ran.seconds is None else f" in {ran.seconds:.0f} s"
    line(f"{found.file} of {ran.name}, {len(found.ran)} {ran.kind}{took}", "bold")
    line(f"lines     {found.reached} of {len(found.lines)} reached, {_share(found.reached, len(found.lines))}")
    line(f"branches  {executed} of {there} executed, {_share(executed, there)}; {taken} taken, {_share(taken, there)}")
    gaps = list(found.gaps())
    if gaps:
        line("\nnever reached", "bold")
    function = ""
    for gap in gaps:
        if gap.function != function:
            function = gap.function
            line(function)
        line(f"  {gap.numbers:>9}  {gap.lines[0].text.strip()}")
        line(f"             {gap.reason or 'no reason is known'}", "dim")
    untaken = found.untaken()
    if untaken:
        line("\nreached, but not each of its branches", "bold")
    for one in untaken:
        line(f"  {one.number:>9}  {sum(map(bool, one.branches))} of {len(one.branches)}  {one.text.strip()}")
        if one.reason:
            line(f"             {one.reason}", "dim")
    for rule in ran.lost:
        line(f"the counters of {rule} are lost: its guest did not live to tell", "yellow")
    for problem in ran.problems:
        line(problem, "yellow")


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none there"


def _page(found: Reach, ran: _Counted, profiled: Profiled) -> bytes:
    from harness.cli.pages import rendered  # noqa: PLC0415
    from harness.conformance.report import printable  # noqa: PLC0415

    there, executed, taken = found.branches
    reached = {one: sum(one in line.rules for line in found.lines) for one in found.ran}
    return printable(rendered(
        "coverage.html", found=found, code={line.number: line for line in found.lines}, text=profiled.text, reached=reached,
        identity=ran.identity, there=there, executed=executed, taken=taken, share=_share, shown=_RULES_SHOWN,
        made=time.strftime("%Y-%m-%d %H:%M:%S %z"), seconds=ran.seconds,
    )).encode()  # fmt: skip
