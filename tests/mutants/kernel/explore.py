"""Explores the kernel with some faults, one after the other, and tabulates what was found, in which seconds, in how many steps.

usage: python3 -m tests.mutants.kernel.explore [--time S] [--seed N] KERNEL FAULT…

The profile is the one that the faulty kernel gives, as a developer's own broken kernel would.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from unittest import mock

from harness.conformance.matrix import Target, target
from harness.errors import KernelDied
from harness.explore.engine import Plan
from harness.explore.hunt import Hunt, Limits, explore
from harness.host.progress import Progress
from harness.mutate.run import Faulty, profile_of
from tests.mutants.kernel import FAULTS


async def _explore(on: Target, name: str, plan: Plan, limits: Limits) -> Hunt | None:
    """``None`` for a kernel that dies while its profile is probed."""
    number = next(number for number, fault in enumerate(FAULTS, 1) if fault.name == name)
    try:
        profile = await profile_of(on.source, [number])
    except KernelDied:
        return None
    hunts: list[Hunt] = []
    await explore([replace(on, source=Faulty(on.source, [number], {**on.source.facts, "profile": profile}))], plan, limits, hunts)
    return hunts[0]


def _line(name: str, hunt: Hunt | None) -> str:
    if hunt is None or hunt.finding is None:
        how = "it dies while its profile is probed" if hunt is None else f"{hunt.state}: {hunt.reasons[-1] if hunt.reasons else 'nothing found'}"
        return f"{name:40} {how}"
    steps = f"{len(hunt.finding.first.steps)} → {len(hunt.finding.scenario.steps)} steps"
    return f"{name:40} {hunt.seconds:6.1f} s  {hunt.scenarios:4} scenarios  {steps}  {hunt.state}: {hunt.finding.shortest.seen.said[0][:200]}"


async def _main(kernel: str, names: Sequence[str], plan: Plan, limits: Limits) -> int:
    on, missed = await target(kernel, Progress()), 0
    try:
        for name in names:
            # What one fault showed would be tried first on the next.
            with tempfile.TemporaryDirectory() as state, mock.patch.dict("os.environ", NFHARNESS_STATE=state):
                hunt = await _explore(on, name, plan, limits)
            missed += hunt is not None and hunt.finding is None
            print(_line(name, hunt), flush=True)
    finally:
        await on.source.close()
    print(f"{len(names)} faults, {len(names) - missed} found")
    return min(missed, 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", type=float, default=120.0, help="seconds for each, as explore has it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("kernel")
    parser.add_argument("fault", nargs="+", choices=[fault.name for fault in FAULTS], metavar="FAULT")
    given = parser.parse_args()
    return asyncio.run(_main(given.kernel, given.fault, Plan(given.seed), Limits(given.time)))


if __name__ == "__main__":
    sys.exit(main())
