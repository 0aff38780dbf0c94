"""Checks the kernel with every fault, one fault after the other, and tabulates who caught which.

usage: python3 -m tests.mutants.kernel.run [--all] [--together] [--out FILE] KERNEL [FAULT…]

A fault, or with ``--together`` all that are named, is set in a fresh guest of the one template, and the rules run as ``nfharness mutate`` runs them:
those that should tell first, and the others until one is different; with ``--all`` to the end.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.conformance import RULES
from harness.conformance.matrix import Target, target
from harness.host.progress import Progress
from harness.mutate.run import Found, examined
from tests.mutants.kernel import FAULTS, Fault


def _line(fault: Fault, found: Found) -> str:
    """Who, in which seconds, and how it was reported."""
    if found.told:
        first = found.told[0]
        expected = "" if first.rule in fault.rules or not fault.rules else " (another one)"
        how = f"{first.rule}{expected}, {first.state}: {first.reason}"
    elif found.caught:
        how = found.died or "its profile departs"
    else:
        how = "; ".join(found.doubts) or f"SURVIVES: {fault.why or 'no reason yet'}"
    profile = f" [{', '.join(found.profile)}]" if found.profile else ""
    return f"{fault.name:40} {found.seconds:6.1f} s  {how[:260]}{profile}"


def _as_one(faults: Sequence[Fault]) -> Fault:
    """Several faults of one kernel."""
    if len(faults) == 1:
        return faults[0]
    edits = tuple(edit for one in faults for edit in one.edits)
    rules = tuple(dict.fromkeys(rule for one in faults for rule in one.rules))
    return Fault(f"{len(faults)} at once", edits, "; ".join(one.breaks for one in faults), rules)


async def _check(on: Target, numbers: Sequence[int], *, everything: bool) -> tuple[Fault, Found]:
    fault = _as_one([FAULTS[number - 1] for number in numbers])
    first = [RULES[name] for name in fault.rules if name in RULES]
    others = [rule for rule in RULES.values() if rule not in first]
    return fault, await examined(on, numbers, first, others, everything=everything)


async def _main(arguments: argparse.Namespace) -> int:
    numbers = [number for number, fault in enumerate(FAULTS, 1) if not arguments.fault or fault.name in arguments.fault]
    wanted = [numbers] if arguments.together else [[number] for number in numbers]
    on = await target(arguments.kernel, Progress())
    survivors = 0
    try:
        for together in wanted:
            fault, found = await _check(on, together, everything=arguments.all)
            survivors += not found.caught
            lines = [_line(fault, found), *(f"  {one.rule}, {one.state}: {one.reason}" for one in found.told[1:] if arguments.all)]
            print(*lines, sep="\n", flush=True)
            if arguments.out:
                with Path(arguments.out).open("a") as table:
                    print(*lines, sep="\n", file=table)
    finally:
        await on.source.close()
    print(f"{len(wanted)} kernels, {len(wanted) - survivors} caught, {survivors} survive")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="run every rule, even if one has told before")
    parser.add_argument("--together", action="store_true", help="one kernel that has all of them")
    parser.add_argument("--out", help="file to which each line is added")
    parser.add_argument("kernel")
    parser.add_argument("fault", nargs="*", choices=[[], *(one.name for one in FAULTS)], metavar="FAULT")
    return asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
