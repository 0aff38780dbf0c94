"""``nfharness cost``: the command, and below it its table."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from harness.cli.options import json_option, kernels_option
from harness.errors import ExitCode
from harness.host.terminal import Terminal
from harness.images.kernels import DEFAULT

if TYPE_CHECKING:
    from harness.bench.cost import Costs

__all__ = ("command",)


@click.command("cost")
@kernels_option("Kernel to measure")
@click.option("--guests", type=click.IntRange(min=1), default=3, show_default=True, metavar="N", help="Fresh guests for each kernel.")
@click.option("--worse", type=click.FloatRange(min=0, min_open=True), metavar="PERCENT",
              help="Exit status 1 if the last kernel takes as many percent more than the first for anything: for git bisect.")
@json_option
def command(specs: tuple[str, ...], guests: int, worse: float | None, as_json: bool) -> None:
    """Count the instructions that a packet, a hook's call and a registration take, on one kernel or on several side by side.

    The emulator counts, in guests with one processor whose clock are its instructions: the figures do not depend on what this host is busy
    with. They say nothing of caches, branches or locks.

    Exit status: 0 measured, 1 worse than --worse allows, 125 this host or guest cannot do it.
    """
    if worse is not None and len(set(specs)) < 2:
        raise click.UsageError("--worse compares the last kernel with the first: give two with --kernel.")
    from harness.bench.cost import costs  # noqa: PLC0415 - not before the options are known to be right
    from harness.host.progress import Progress  # noqa: PLC0415

    found = asyncio.run(costs(specs or (DEFAULT,), guests, Progress()))
    if as_json:
        print(json.dumps(_as_json(found), indent=1))
    else:
        _table(found, guests)
    more = max(found[0].to(found[-1]).values())
    sys.exit(ExitCode.DIFFERENT if worse is not None and 100 * more >= worse else ExitCode.CONFORMANT)


def _table(found: Sequence[Costs], guests: int) -> None:
    """A row for each figure, a column for each kernel, behind the first one by how much they differ; on standard output."""
    from harness.bench.cost import FIGURES  # noqa: PLC0415

    console = Terminal.wide(max(120, 72 + 24 * len(found)))
    shown = Table("instructions of", *(one.name for one in found), box=None, header_style="bold", pad_edge=False)
    for column in shown.columns[1:]:
        column.justify = "right"
    for name, what in FIGURES.items():
        cells = [f"{one.figures[name].median:,.1f}" for one in found]
        cells[1:] = [f"{cell}  {found[0].to(one)[name]:+.1%}" for cell, one in zip(cells[1:], found[1:], strict=True)]
        shown.add_row(what, *cells)
    console.print(shown)
    spread = max(one.figures[name].spread for one in found for name in FIGURES)
    console.print(f"\nthe median of {guests} guests each; between the least and the most at most {spread:.2%}", highlight=False)


def _as_json(found: Sequence[Costs]) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    return {"kernels": [{
        "name": one.name, "release": one.kernel.release, "version": one.kernel.version,
        "figures": {name: {"instructions": cost.median, "samples": cost.samples, "spread": cost.spread}
                    for name, cost in one.figures.items()},
        "to_the_first": found[0].to(one),
    } for one in found]}
