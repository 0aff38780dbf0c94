"""``nfharness trace``."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import backend_option, json_option, kernel_option
from harness.errors import ExitCode, UserError

if TYPE_CHECKING:
    from harness.outcome.types import Outcome
    from harness.vm.guest import Guest
    from harness.vm.session import Backend

__all__ = ("command", "conclusion", "report")

_NOTHING = "no hook point that has a hook was crossed: load a ruleset in COMMAND, for example with nft -f"


@click.command("trace", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@kernel_option
@backend_option
@json_option
@click.option("--file", "files", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Copy FILE into COMMAND's directory in the guest first. Repeatable.")
@click.option("--limit", type=click.IntRange(min=0), default=100, show_default=True, metavar="N",
              help="Print the walks of at most N packets; 0 for all. --json has them all.")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENT]...")
def command(  # noqa: PLR0917 - click passes them by name
    spec: str, backend: Backend, as_json: bool, files: tuple[Path, ...], limit: int, argv: tuple[str, ...],
) -> None:
    """Run COMMAND in a fresh guest and show its packets' walks through the hooks.

    COMMAND is anything that the guest has: ping, nft, a shell script. It runs as root in /root, with lo up and no other network
    device; namespaces that it makes are named as in /run/netns, the one that it starts in is "init". Standard input, output and
    error and signals are passed through, and after it the report is printed: each packet, each hook point that has hooks, each hook
    with its priority, verdict and time, and what became of the packet. With --json the report is one object on standard output, and
    COMMAND's own standard output goes to standard error.

    \b
    nfharness trace -- ping -c1 127.0.0.1
    nfharness trace --file rules.nft -- sh -c 'nft -f rules.nft; ping -c1 127.0.0.1'
    nfharness trace -- sh < script.sh

    Exit status: COMMAND's own (127 if the guest does not have it, 128 + n if signal n ended it); 125 if events were lost or the
    tracer's counters do not balance, whatever COMMAND's was, or if this host or guest cannot do it.
    """
    sys.exit(asyncio.run(_trace(spec, backend, argv, files, as_json=as_json, limit=limit)))


async def _trace(spec: str, backend: Backend, argv: Sequence[str], files: Sequence[Path], *, as_json: bool, limit: int) -> int:
    from harness.cli.exec import refused, relay  # noqa: PLC0415 - not before the options are known to be right
    from harness.cli.observation import Observation  # noqa: PLC0415
    from harness.cli.run import kernel_facts  # noqa: PLC0415
    from harness.vm.channel import Request  # noqa: PLC0415
    from harness.vm.progress import Progress  # noqa: PLC0415
    from harness.vm.session import session  # noqa: PLC0415

    async with session(spec, Progress(), backend, "trace") as opened:
        await _copy(opened.guest, files)
        observation = await Observation.start(opened.guest)
        try:
            remote = await opened.guest.open(Request(argv=argv, cwd=opened.guest.cwd))
        except OSError as error:
            return refused(argv[0], error)
        status = await relay(remote, stdout=2 if as_json else 1)
        observed = await observation.end()
        facts = kernel_facts(opened)
    if as_json:
        click.echo(json.dumps(report(facts, argv, status, observed), indent=1))
    else:
        _print(observed, limit)
    return ExitCode.CANNOT if _reasons(observed) else status


async def _copy(guest: Guest, files: Sequence[Path]) -> None:
    if files and guest.cwd is not None:
        raise UserError("--file copies into a guest, and COMMAND is to run on this machine", mend="leave it out: COMMAND runs right here")
    for file in files:
        try:
            data, mode = file.read_bytes(), file.stat().st_mode & 0o777
        except OSError as error:
            raise UserError(f"{file}: {error.strerror}", mend="name files that can be read") from None
        await guest.call("harness.guest.files:receive", f"/root/{file.name}", mode, stdin=data)


def report(kernel: dict[str, Any], argv: Sequence[str], status: int, observed: Outcome) -> dict[str, Any]:
    """The object that ``trace --json`` prints. :param status: COMMAND's exit status"""
    from harness.outcome import codec  # noqa: PLC0415

    document = codec.to_json(observed)
    del document["steps"]
    verdict = "inconclusive" if _reasons(observed) else "traced"
    return {"kernel": kernel, "command": list(argv), "exit_status": status, "verdict": verdict, **document}


def conclusion(observed: Outcome) -> str:
    """The last line."""
    if reasons := _reasons(observed):
        return f"inconclusive: {'; '.join(reasons)}"
    calls = sum(len(traversal.calls) for packet in observed.packets for traversal in packet.traversals)
    return f"traced: {_counted(len(observed.packets), 'packet')}, {_counted(calls, 'hook call')}"


def _reasons(observed: Outcome) -> tuple[str, ...]:
    if observed.doubts:
        return observed.doubts
    return (f"{_counted(observed.lost_events, 'event')} lost",) if observed.lost_events else ()


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _print(observed: Outcome, limit: int) -> None:
    from rich.console import Console  # noqa: PLC0415

    from harness.trace.render import render_walks  # noqa: PLC0415

    console = Console() if sys.stdout.isatty() else Console(width=120)
    shown = observed.packets[:limit] if limit else observed.packets
    # The reasons to doubt it all are in the last line.
    render_walks(console, replace(observed, packets=shown, lost_events=0, doubts=()))
    if left_out := len(observed.packets) - len(shown):
        console.print(f"\n… and {_counted(left_out, 'more packet')}: --limit 0 prints all", highlight=False)
    if not observed.packets:
        console.print(_NOTHING, highlight=False, soft_wrap=True)
    for loop, why in observed.blind:
        console.print(f"\nhooks that {loop} calls are not seen: {why}", style="yellow", highlight=False, soft_wrap=True, markup=False)
    style = "bold yellow" if _reasons(observed) else "bold"
    console.print(f"\n{conclusion(observed)}" if observed.packets else conclusion(observed), style=style, highlight=False, soft_wrap=True)
