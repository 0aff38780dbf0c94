"""``nfharness run``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import backend_option, json_option, kernel_option
from harness.cli.say import say
from harness.errors import ExitCode, UserError
from harness.scenario import builtin

if TYPE_CHECKING:
    from harness.backends.names import Backend
    from harness.outcome.diff import Comparison
    from harness.outcome.types import Outcome
    from harness.scenario.step import Scenario

__all__ = ("command", "exit_code", "kernel_facts")


def _complete_scenario(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    files = [str(path) for path in Path().glob(f"{incomplete}*.json")]
    return [name for name in builtin.BUILTIN if name.startswith(incomplete)] + files


@click.command("run")
@kernel_option
@backend_option
@json_option
@click.option("--list", "list_", is_flag=True, help="List the built-in scenarios.")
@click.option("--save", type=click.Path(dir_okay=False, writable=True), metavar="FILE", help="Write the scenario to FILE as JSON.")
@click.argument("scenario", required=False, shell_complete=_complete_scenario, metavar="[NAME | FILE.json]")
def command(  # noqa: PLR0917 - click passes them by name
    spec: str, backend: Backend, as_json: bool, list_: bool, save: str | None, scenario: str | None,
) -> None:
    """Run a scenario on a real kernel and on the model of net/netfilter/core.c, and compare.

    Prints each packet's walk through the hooks with the model's prediction beside it. Exit status: 0 conformant, 1 different,
    125 inconclusive.
    """
    if list_:
        _list(as_json)
        return
    chosen = builtin.load(scenario)
    if save:
        _save(chosen, Path(save))
    sys.exit(asyncio.run(_run(chosen, spec, backend, as_json)))


def _list(as_json: bool) -> None:
    if as_json:
        print(json.dumps({name: one.summary for name, one in builtin.BUILTIN.items()}, indent=1))
        return
    width = max(map(len, builtin.BUILTIN))
    for name, one in builtin.BUILTIN.items():
        say(f"{name:<{width}}  {one.summary}")


def _save(scenario: Scenario, path: Path) -> None:
    from harness.scenario.codec import dumps  # noqa: PLC0415

    try:
        path.write_text(dumps(scenario))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", hint="give --save a file that can be written") from None


async def _run(scenario: Scenario, spec: str, backend: Backend, as_json: bool) -> int:
    from harness.backends.executor import Executor  # noqa: PLC0415
    from harness.backends.sources import open_guest  # noqa: PLC0415
    from harness.host.again import tried_again  # noqa: PLC0415
    from harness.host.progress import Progress  # noqa: PLC0415
    from harness.model.foreign import seen  # noqa: PLC0415 - not before the options are known to be right
    from harness.model.predict import predict  # noqa: PLC0415
    from harness.outcome import codec  # noqa: PLC0415
    from harness.outcome.diff import compare  # noqa: PLC0415
    from harness.outcome.profile import KernelProfile  # noqa: PLC0415

    progress = Progress()

    async def once() -> tuple[Outcome, dict[str, Any]]:
        async with open_guest(spec, progress, backend) as opened, Executor(opened.guest) as executor:
            return await executor.observe(scenario), kernel_facts(opened)

    observed, facts = await tried_again(once, progress)
    predicted = predict(scenario, KernelProfile.from_json(facts["profile"]), seen(observed))
    comparison = compare(predicted, observed)
    if as_json:
        print(json.dumps(codec.report(kernel=facts, scenario=scenario.name, observed=observed, comparison=comparison), indent=1))
    else:
        _print(f"{scenario.name} on {facts['kernel']} ({facts['accelerator'] or facts['backend']})", comparison)
    return exit_code(comparison)


def kernel_facts(opened: Any) -> dict[str, Any]:
    """What a report says of the kernel of a :class:`harness.backends.sources.OpenGuest`."""
    source = opened.source
    return {
        "kernel": opened.kernel.label,
        "release": opened.kernel.release,
        "version": opened.kernel.version,
        "tree": opened.kernel.tree or None,
        "backend": source.backend,
        "accelerator": source.accelerator,
        "profile": source.facts["profile"],
    }


def exit_code(comparison: Comparison) -> int:
    """0 conformant, 1 different, 125 inconclusive."""
    codes = {"conformant": ExitCode.CONFORMANT, "different": ExitCode.DIFFERENT, "inconclusive": ExitCode.CANNOT}
    return codes[comparison.verdict]


def _print(title: str, comparison: Comparison) -> None:
    from harness.host.terminal import Terminal  # noqa: PLC0415
    from harness.walks.render import render_run  # noqa: PLC0415

    render_run(Terminal.wide(120), title, comparison)
