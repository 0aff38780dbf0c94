"""``nfharness coverage``: the command, and below it how it shows what the rules reach."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import json_option, kernel_option
from harness.cli.reports import opened, write_all
from harness.errors import GuestError, HostError
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


@click.command("coverage")
@kernel_option
@click.option("--file", "file", default="net/netfilter/core.c", show_default=True, metavar="FILE", help="Which source file's counters.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Guests side by side.  [default: what cores and memory allow]")
@json_option
@click.option("--html", type=_FILE, metavar="FILE", help="Write a page to FILE: the source, and the rules that reach each line.")
@click.option("--lcov", type=_FILE, metavar="FILE", help="Write a tracefile to FILE, for lcov's genhtml: a test for each rule.")
@click.argument("patterns", nargs=-1, metavar="[RULE]...")
def command(  # noqa: PLR0917 - click passes them by name
    spec: str, file: str, jobs: int | None, as_json: bool, html: Path | None, lcov: Path | None, patterns: tuple[str, ...],
) -> None:
    """Run rules on a kernel that gcov counts, and report which lines and branches of core.c each reaches.

    The kernel is one with CONFIG_GCOV_KERNEL and counters for that file: nfharness kernel build --flavour gcov. RULE is as in check.
    Counters are read before each rule and after it; what ran as the kernel booted is told apart.

    Exit status: as that of check.
    """
    from harness.cli.check import Checking  # noqa: PLC0415 - not before the options are known to be right
    from harness.conformance import reach, report  # noqa: PLC0415
    from harness.conformance.collect import EachRule  # noqa: PLC0415
    from harness.conformance.gcov import Profiled  # noqa: PLC0415
    from harness.conformance.selection import Selection  # noqa: PLC0415
    from harness.conformance.statements import CoreSource  # noqa: PLC0415
    from harness.images import kernel_tree  # noqa: PLC0415

    selection = Selection.of(patterns)
    if not kernel_tree.means_tree(spec):
        raise HostError(f"{spec} is Debian's kernel, which gcov does not count",
                        hint=f"nfharness kernel build --source {spec} --flavour gcov, then nfharness coverage --kernel {spec}+gcov")
    profiled = Profiled(kernel_tree.read(spec), file)
    collected, checking = EachRule(profiled.glob), Checking(selection.rules)
    with ExitStack() as stack:
        files = opened(stack, {"html": html, "lcov": lcov})
        asyncio.run(_run(checking, selection, spec, collected, jobs))
        before, counts = _read(profiled, collected, checking)
        why = reach.reasons(file, CoreSource(file, profiled.text), tuple(counts))
        found = reach.Reach.of(file, profiled.text, before, counts, why)
        write_all(files, {"html": lambda: _page(found, checking, profiled),
                          "lcov": lambda: reach.lcov(str(profiled.source), before, counts).encode()})
    if as_json:
        print(json.dumps({"kernel": checking.targets[0].identity(), **found.as_json(), "lost": collected.lost}, indent=1))
    else:
        _show(found, checking, collected)
    sys.exit(report.exit_code(checking.results))


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


def _show(found: Reach, checking: Checking, collected: EachRule) -> None:
    console = Terminal.wide(160)

    def line(text: str, style: str | None = None) -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    there, executed, taken = found.branches
    line(f"{found.file} of {checking.targets[0].name}, {len(found.ran)} rules in {checking.seconds:.0f} s", "bold")
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
    for rule in collected.lost:
        line(f"the counters of {rule} are lost: its guest did not live to tell", "yellow")
    states = [result for result in checking.results if result.state in ("different", "lost", "inconclusive")]
    for result in states:
        line(f"{result.rule} {result.state}: {result.reason}", "yellow")


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none there"


def _page(found: Reach, checking: Checking, profiled: Profiled) -> bytes:
    from harness.cli.pages import rendered  # noqa: PLC0415
    from harness.conformance.report import printable  # noqa: PLC0415

    there, executed, taken = found.branches
    reached = {rule: sum(rule in line.rules for line in found.lines) for rule in found.ran}
    return printable(rendered(
        "coverage.html", found=found, code={line.number: line for line in found.lines}, text=profiled.text, reached=reached,
        identity=checking.targets[0].identity(), there=there, executed=executed, taken=taken, share=_share, shown=_RULES_SHOWN,
        made=time.strftime("%Y-%m-%d %H:%M:%S %z"), seconds=checking.seconds,
    )).encode()  # fmt: skip
