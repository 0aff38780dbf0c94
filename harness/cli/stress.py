"""``nfharness stress``: the command, and below it how it shows what was done and what was wrong."""

from __future__ import annotations

import asyncio
import json
import secrets
import shlex
import sys
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from harness.cli.options import Seconds, append_option, backend_option, json_option, kernels_option, targets
from harness.cli.say import say
from harness.errors import ExitCode
from harness.host.terminal import Terminal

if TYPE_CHECKING:
    from harness.backends.names import Backend
    from harness.conformance.matrix import Target
    from harness.conformance.stress import Stressed

__all__ = ("command",)

_SECONDS, _LINE_S = 60.0, 10.0
_STYLES = {"conformant": "green", "different": "bold red", "inconclusive": "yellow", "lost": "bold magenta"}
_LINES = 40
"""Of a kernel's log, on a terminal."""


@click.command("stress")
@kernels_option("Kernel to put under stress")
@backend_option
@click.option("--time", "seconds", type=Seconds(), default=_SECONDS, show_default=True, metavar="S", help="How long, on each kernel.")
@click.option("--seed", type=click.IntRange(min=0, max=2**64 - 1), metavar="N",
              help="What the tasks choose by: the same seed chooses the same.  [default: another each time]")
@append_option
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Guests side by side.  [default: 1]")
@json_option
def command(  # noqa: PLR0917 - click passes them by name
    specs: tuple[str, ...], backend: Backend, seconds: float, seed: int | None, append: str, jobs: int | None,
    as_json: bool,
) -> None:
    """Let hooks come and go under traffic for a time, on two processors, and look for what the kernel complains of, loses or keeps.

    On one processor hooks of nfharness.ko are registered and unregistered, and the connections of a namespace are forgotten; on the other
    datagrams cross the same hook points, wait in a queue whose listener answers late, nft's base chains come and go, and namespaces and
    devices die. Each datagram must arrive, or be dropped by a hook, by an answer, or by a queue's books. In the end slab caches must hold
    what they held before, and kmemleak must find nothing, where the kernel has it.

    The first thing that is wrong ends it. A kernel built for that tells more: nfharness kernel build --flavour kasan, debug or kcsan; any
    kernel tells more with --append slub_debug=FZP, which poisons memory that is freed.

    Exit status: 0 nothing was wrong, 1 something was, or the kernel died, 125 nothing could be concluded.
    """
    from harness.cli.signals import Interrupted  # noqa: PLC0415 - not before the options are known to be right

    seed = secrets.randbits(32) if seed is None else seed
    found: list[Stressed] = []
    cut: Interrupted | None = None
    try:
        kernels = targets(specs, backend, dead=True, append=append)
        asyncio.run(_run(found, kernels, seconds, seed=seed, jobs=jobs or 1))
    except Interrupted as interrupted:
        if not found:
            raise
        cut = interrupted
        for one in found:
            one.doubts += [] if one.state in ("different", "lost") or one.memory else [str(interrupted)]
    if as_json:
        print(json.dumps(_as_json(seed, seconds, found), indent=1))
    else:
        _table(seed, seconds, found)
    states = {one.state for one in found}
    status: int = ExitCode.CANNOT if "inconclusive" in states else ExitCode.CONFORMANT
    if states & {"different", "lost"}:
        status = ExitCode.DIFFERENT
    if cut is not None:
        say(f"nfharness: {cut}", error=True)
        status = status if status == ExitCode.DIFFERENT else cut.exit_code
    sys.exit(status)


async def _run(found: list[Stressed], kernels: Awaitable[list[Target]], seconds: float, *, seed: int, jobs: int) -> None:
    from harness.conformance.stress import Stressed, every  # noqa: PLC0415

    on = await kernels
    try:
        found += [Stressed(one) for one in on]
        telling = _Telling(seed)
        await every(found, seconds, seed, telling.tell, jobs)
    finally:
        for one in on:
            await one.source.close()


class _Telling:
    """Progress on standard error: a line now and then."""

    def __init__(self, seed: int) -> None:
        self._console, self._told = Terminal(stderr=True), 0.0
        self._console.print(f"seed {seed}", highlight=False)

    def tell(self, one: Stressed) -> None:
        if one.seconds >= self._told + _LINE_S or one.seconds < self._told:
            self._told = one.seconds
            done = sum(one.operations.values())
            self._console.print(f"{one.target.name}  {one.seconds:.0f} s  {done:,} counted", highlight=False, markup=False, soft_wrap=True)


def _table(seed: int, asked: float, found: Sequence[Stressed]) -> None:
    """What was done on each kernel, what stays in memory, what was wrong; on standard output.

    :param asked: seconds, on each kernel
    """
    console = Terminal.wide(max(120, 48 + 18 * len(found)))
    shown = Table("", *(one.target.name for one in found), box=None, header_style="bold", pad_edge=False)
    for column in shown.columns[1:]:
        column.justify = "right"
    for kind in dict.fromkeys(kind for one in found for kind in one.operations):
        shown.add_row(kind, *(f"{one.operations.get(kind, 0):,}" for one in found))
    shown.add_row("objects in slab caches, before", *(_number(one, "objects_before") for one in found))
    shown.add_row("and after", *(_number(one, "objects_after") for one in found))
    shown.add_row("leaks that kmemleak found", *(_number(one, "leaks") for one in found))
    shown.add_row("", *(f"[{_STYLES[one.state]}]{one.state}[/]" for one in found))
    console.print(shown)
    for one in found:
        if one.state == "conformant":
            continue
        console.print(f"\n[{_STYLES[one.state]}]{one.state}[/] {one.target.kernel.release}", highlight=False)
        for line in (*filter(None, [one.died]), *one.wrong, *one.doubts, *one.log[:_LINES]):
            console.print(f"  {line}", highlight=False, soft_wrap=True, markup=False)
        again = shlex.join(["nfharness", "stress", "--kernel", one.target.name, "--time", f"{asked:.0f}", "--seed", str(seed)])
        console.print(f"  {again}", highlight=False, soft_wrap=True, markup=False)
    seconds = max((one.seconds for one in found), default=0)
    console.print(f"\nseed {seed}, {seconds:.0f} s: {', '.join(f'{one.target.name} {one.state}' for one in found)}", highlight=False,
                  markup=False, soft_wrap=True)


def _number(one: Stressed, name: str) -> str:
    """A number of the accounts; nothing if it did not come to them, and why if the kernel does not tell."""
    if one.memory is None:
        return ""
    value = one.memory[name]
    return "not told" if value is None else f"{value:,}"


def _as_json(seed: int, seconds: float, found: Sequence[Stressed]) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    return {"seed": seed, "asked_s": seconds, "kernels": [one.target.identity() for one in found], "results": [{
        "kernel": one.target.kernel.label, "state": one.state, "seconds": one.seconds, "operations": one.operations, "memory": one.memory,
        "wrong": one.wrong, "doubts": one.doubts, "died": one.died, "taint": one.taint, "places": one.places, "log": one.log,
    } for one in found]}
