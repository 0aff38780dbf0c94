"""What a real kernel did with the scripts of some rules, written down once, so that the host can prove that the rules notice a wrong model.

``python -m tests.recorded [RULE…]`` records again, all or some rules: needed when a recorded rule's script changes. A rule is recorded if
it comes first in the list of a mutant.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from harness.backends.executor import Executor
from harness.conformance import RULES
from harness.conformance.judge import judge
from harness.conformance.rule import Script
from harness.outcome import KernelProfile, Outcome, codec
from tests.mutants import MUTANTS

__all__ = ("Recording", "recorded")

FILE = Path(__file__).parent / "model" / "recorded" / "6.12.json"

_ATTEMPTS = 10

#: Scripts that fill a point with 1024 hooks: megabytes.
_LARGE = {"limit.1024", "limit.dummies", "limit.per-point", "limit.per-device", "inet.first-half", "inet.rollback"}


@dataclass(frozen=True)
class Recording:
    """:param rules: the observed outcomes of each rule's scripts"""

    profile: KernelProfile
    rules: dict[str, tuple[Outcome, ...]]


@cache
def recorded() -> Recording:
    document = json.loads(FILE.read_text())
    rules = {rule: tuple(map(codec.from_json, outcomes)) for rule, outcomes in document["rules"].items()}
    return Recording(KernelProfile.from_json(document["profile"]), rules)


async def _record(*only: str) -> None:
    from harness.backends.executor import started  # noqa: PLC0415
    from harness.conformance.matrix import target  # noqa: PLC0415
    from harness.host.progress import Progress  # noqa: PLC0415

    first = dict.fromkeys(mutant.rules[0] for mutant in MUTANTS.values())
    if others := [rule for rule in only if rule not in first or rule in _LARGE]:
        raise SystemExit(f"not recorded: {', '.join(others)}: no mutant has it first in its list, or it fills a point")
    on = await target(FILE.stem, Progress())
    rules = json.loads(FILE.read_text())["rules"] if only else {}
    async with started(on.source) as executor:
        for rule in first:
            if rule not in _LARGE and RULES[rule].lacking(on.profile) is None and (not only or rule in only):
                rules[rule] = [codec.to_json(_kept(script, on.profile, _comparable(await _trusted(executor, script))))
                               for script in RULES[rule].scripts]
    FILE.parent.mkdir(exist_ok=True)
    lines = ",\n".join(f"{json.dumps(rule)}: {json.dumps(outcomes, separators=(',', ':'))}" for rule, outcomes in rules.items())
    FILE.write_text(f'{{"profile": {json.dumps(on.profile.to_json())},\n"rules": {{\n{lines}\n}}}}\n')


async def _trusted(executor: Executor, script: Script) -> Outcome:
    """An observation without a doubt.

    :raises SystemExit: each of :data:`_ATTEMPTS` has doubts
    """
    for _ in range(_ATTEMPTS):
        outcome = await executor.observe(script.scenario)
        doubts = [*outcome.doubts, *([f"{outcome.lost_events} events lost"] if outcome.lost_events else [])]
        if not doubts:
            return outcome
        print(f"{script.scenario.name}, once more: {'; '.join(doubts)}", file=sys.stderr)
    raise SystemExit(f"{script.scenario.name}: {_ATTEMPTS} observations, and none without a doubt: {'; '.join(doubts)}\n"
                     "hint: end what keeps this host busy, and record again")


def _kept(script: Script, profile: KernelProfile, outcome: Outcome) -> Outcome:
    """The outcome; with a warning if it breaks the rule, which a recording of a right kernel does not."""
    comparison = judge(script, profile, outcome).comparison
    if comparison.verdict != "conformant":
        why = "; ".join([*map(str, comparison.differences), *comparison.reasons])
        print(f"warning: {script.scenario.name} is recorded, and is {comparison.verdict}: {why}", file=sys.stderr)
    return outcome


def _comparable(outcome: Outcome) -> Outcome:
    """Neither nanoseconds nor the kernel's words are ever compared."""
    packets = tuple(
        replace(packet, traversals=tuple(
            replace(traversal, calls=tuple(replace(call, ns=None) for call in traversal.calls)) for traversal in packet.traversals))
        for packet in outcome.packets if packet.cookie is not None)
    return replace(outcome, packets=packets, log=())


if __name__ == "__main__":
    asyncio.run(_record(*sys.argv[1:]))
