"""``nfharness replay``."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import report
from harness.cli.options import backend_option, bundle_argument, complete_kernel, json_option
from harness.cli.run import exit_code
from harness.cli.say import say
from harness.errors import ExitCode, KernelDied, UserError
from harness.images.kernel_tree import means_tree
from harness.images.kernels import DEFAULT

if TYPE_CHECKING:
    from harness.backends.names import Backend
    from harness.conformance.bundle import Bundle
    from harness.conformance.judge import Judgement
    from harness.conformance.matrix import Target
    from harness.outcome.profile import KernelProfile

__all__ = ("command", "kernel_of", "profile_for")


@click.command("replay")
@click.option("--kernel", "spec", metavar="SPEC", shell_complete=complete_kernel,
              help="Another kernel than the bundle's.  [default: the bundle's own release; a kernel of your own must be named]")
@backend_option
@json_option
@bundle_argument
def command(spec: str | None, backend: Backend, as_json: bool, bundle: Path) -> None:
    """Run a bundle's scenario again, on its kernel or on another, and say whether the outcome is the same.

    A scenario's file will do, too; there is no earlier outcome then.

    Exit status, as that of check: 0 conformant now, 1 different or the kernel died of it, 125 inconclusive.
    """
    from harness.conformance.bundle import load  # noqa: PLC0415

    sys.exit(asyncio.run(_replay(load(bundle), spec, backend, as_json)))


async def _replay(bundle: Bundle, spec: str | None, backend: Backend, as_json: bool) -> int:
    from harness.backends.executor import started  # noqa: PLC0415
    from harness.conformance import RULES  # noqa: PLC0415
    from harness.conformance.judge import said  # noqa: PLC0415
    from harness.conformance.matrix import conclusive, target  # noqa: PLC0415
    from harness.conformance.promise import core_of, statements, warnings  # noqa: PLC0415
    from harness.host.again import tried_again  # noqa: PLC0415
    from harness.host.progress import Progress  # noqa: PLC0415

    progress = Progress()
    on = await target(spec or kernel_of(bundle), progress, backend)
    rule = RULES.get(bundle.rule)
    promise = [rule.sentence, *statements(rule.id, core_of(on.kernel.tree))] if rule else []

    async def once() -> Judgement:
        async with started(on.source) as executor:
            for scenario in bundle.before:
                await executor.observe(scenario)
            return await conclusive(bundle.script, on, executor, profile=profile_for(bundle, on))

    try:
        judgement = await tried_again(once, progress)
    except KernelDied as death:
        report(death)
        return ExitCode.DIFFERENT
    finally:
        await on.source.close()
    comparison = judgement.comparison
    found = [*map(said, comparison.differences), *warnings(judgement.observed.log)] if comparison.differences else []
    outcome = "inconclusive" if comparison.reasons else "same" if comparison.differences == bundle.differences else "changed"
    recorded_on = bundle.kernel.get("kernel") or bundle.kernel.get("release")
    if as_json:
        print(json.dumps({
            "rule": bundle.rule, "kernel": on.identity(), "recorded_on": recorded_on, "outcome": outcome if recorded_on else None,
            "verdict": comparison.verdict, "reasons": list(comparison.reasons), "promise": promise,
            "differences": found,
        }, indent=1))
        return exit_code(comparison)
    count = len(bundle.differences)
    said_before = f" (the bundle is of {recorded_on}, with {count} difference{'s' * (count != 1)})" if recorded_on else ""
    say(f"{bundle.rule} on {on.kernel.label}: {f'{outcome}, ' if recorded_on else ''}{comparison.verdict}{said_before}")
    say(*(f"  {line}" for line in (*comparison.reasons, *(promise if found else ()), *found)))
    return exit_code(comparison)


def profile_for(bundle: Bundle, on: Target) -> KernelProfile:
    """What the model was asked for: a rule for a kernel of that very profile, explore for one that does as its reference."""
    return on.standard if bundle.rule == "explore" else on.profile


def kernel_of(bundle: Bundle) -> str:
    """What ``--kernel`` would call the bundle's kernel.

    :raises UserError: it was built in a directory: a bundle may come from elsewhere, and chooses no directory to read and build from
    """
    tree, release = (str(bundle.kernel.get(name) or "") for name in ("tree", "release"))
    if tree or means_tree(release):
        raise UserError(f"the bundle's kernel was built in {tree or release}, which a bundle may not choose",
                        hint=f"if that is a tree of yours: --kernel {shlex.quote(tree or release)}")  # fmt: skip
    return release or DEFAULT
