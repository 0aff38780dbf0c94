"""Checks the kernel with every fault, one fault after the other, and tabulates who caught which.

usage: python3 -m tests.mutants.kernel.run [--all] [--together] [--out FILE] KERNEL [FAULT…]

A fault, or with ``--together`` all that are named, is set in a fresh guest of the one template, the profile is probed again there, and the rules run as ``check`` runs them: those
that should tell first, and the others until one is different; with ``--all`` to the end. Each guest that the check takes has the fault.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.backends.session import Source
from harness.conformance import RULES
from harness.conformance.matrix import RuleResult, Target, run, target
from harness.conformance.profiles import compared
from harness.conformance.reference import FIELDS
from harness.conformance.rule import Rule
from harness.errors import GuestError, KernelDied
from harness.host.progress import Progress
from harness.vm.guest import Guest
from tests.mutants.kernel import FAULTS, Fault
from tests.mutants.kernel.schemata import PARAMETER

_TOLD = ("different", "lost")


@dataclass
class Faulty:
    """A source of guests in which faults are set.

    :param numbers: of the faults, from 1
    :param facts: those of the template, but for the profile
    """

    source: Source
    numbers: Sequence[int]
    facts: dict[str, Any]
    backend: str = "qemu"
    accelerator: str | None = None

    def guest(self) -> AbstractAsyncContextManager[Guest]:
        return _with_faults(self.source, self.numbers)

    async def close(self) -> None:
        """The template stays."""


@asynccontextmanager
async def _with_faults(source: Source, numbers: Sequence[int]) -> AsyncIterator[Guest]:
    chosen = ",".join(map(str, numbers)).encode()
    async with source.guest() as guest:
        await guest.call("harness.guest.files:receive", f"/sys/module/kernel/parameters/{PARAMETER}", stdin=chosen)
        yield guest


@dataclass(frozen=True)
class Found:
    """:param told: results of the rules that told, in the order in which they came
    :param profile: fields of the profile that depart from the reference, which ``check`` reports by itself
    :param error: why no rule could run
    """

    fault: Fault
    told: tuple[RuleResult, ...]
    ran: int
    seconds: float
    profile: tuple[str, ...]
    error: str = ""

    @property
    def survives(self) -> bool:
        return not (self.told or self.profile or self.error)

    def line(self) -> str:
        """Who, in which seconds, and how it was reported."""
        if self.told:
            first = self.told[0]
            expected = "" if first.rule in self.fault.rules or not self.fault.rules else " (another one)"
            how = f"{first.rule}{expected}, {first.state}: {first.reason}"
        elif self.survives:
            how = f"SURVIVES: {self.fault.why or 'no reason yet'}"
        else:
            how = self.error or "its profile departs"
        profile = f" [{', '.join(self.profile)}]" if self.profile else ""
        return f"{self.fault.name:40} {self.seconds:6.1f} s  {how[:260]}{profile}"


async def profile_of(source: Source, numbers: Sequence[int]) -> dict[str, Any]:
    """The profile that the kernel with those faults gives."""
    async with _with_faults(source, numbers) as guest:
        found: dict[str, Any] = json.loads(await guest.call("harness.guest.profile:tell"))["profile"]
        return found


def _as_one(faults: Sequence[Fault]) -> Fault:
    """Several faults of one kernel."""
    if len(faults) == 1:
        return faults[0]
    edits = tuple(edit for one in faults for edit in one.edits)
    rules = tuple(dict.fromkeys(rule for one in faults for rule in one.rules))
    return Fault(f"{len(faults)} at once", edits, "; ".join(one.breaks for one in faults), rules)


async def _check(on: Target, numbers: Sequence[int], *, everything: bool) -> Found:
    fault, start = _as_one([FAULTS[number - 1] for number in numbers]), time.monotonic()
    try:
        profile = await profile_of(on.source, numbers)
    except (KernelDied, GuestError) as error:
        return Found(fault, (), 0, time.monotonic() - start, (), f"its profile cannot be probed: {error.message}")
    faulty = replace(on, source=Faulty(on.source, numbers, {**on.source.facts, "profile": profile}))
    told: list[RuleResult] = []
    ran = 0
    for rules in _in_turn(fault):
        results = await run(rules, [faulty], lambda _result: None, jobs=1)
        ran += len(results)
        told += [result for result in results if result.state in _TOLD]
        if told and not everything:
            break
    departed = tuple(one.rule for one in compared([faulty], FIELDS) if one.state == "different")
    return Found(fault, tuple(told), ran, time.monotonic() - start, departed)


def _in_turn(fault: Fault) -> Sequence[Sequence[Rule]]:
    """Those that should tell; then the others, a few at a time."""
    first = [RULES[name] for name in fault.rules if name in RULES]
    others = [rule for rule in RULES.values() if rule not in first]
    return [one for one in (first, *(others[at:at + 24] for at in range(0, len(others), 24))) if one]


async def _main(arguments: argparse.Namespace) -> int:
    numbers = [number for number, fault in enumerate(FAULTS, 1) if not arguments.fault or fault.name in arguments.fault]
    wanted = [numbers] if arguments.together else [[number] for number in numbers]
    on = await target(arguments.kernel, Progress())
    survivors = 0
    try:
        for together in wanted:
            found = await _check(on, together, everything=arguments.all)
            survivors += found.survives
            lines = [found.line(), *(f"  {one.rule}, {one.state}: {one.reason}" for one in found.told[1:] if arguments.all)]
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
    parser.add_argument("--all", action="store_true", help="run every rule, whoever has told before")
    parser.add_argument("--together", action="store_true", help="one kernel that has all of them")
    parser.add_argument("--out", help="file to which each line is added")
    parser.add_argument("kernel")
    parser.add_argument("fault", nargs="*", choices=[[], *(one.name for one in FAULTS)], metavar="FAULT")
    return asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
