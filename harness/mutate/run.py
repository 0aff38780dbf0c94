"""A kernel with every mutant, of which a fresh guest has one at a time, and the rules that tell."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from harness.backends.sources import Source
from harness.conformance.matrix import RuleResult, Target, run
from harness.conformance.profiles import compared
from harness.conformance.reference import FIELDS
from harness.conformance.rule import Rule
from harness.errors import GuestError, KernelDied
from harness.mutate.schemata import PARAMETER
from harness.vm.guest import Guest

__all__ = ("Faulty", "Found", "examined", "profile_of")

_TOLD = ("different", "lost")
_SCRIPT_S = 15.0
"""Of an idle host: a guest that takes longer for a script hangs. The slowest rule takes a third of that."""


@dataclass(frozen=True)
class Faulty:
    """A source of guests in which mutants are chosen.

    :param numbers: of the mutants, from 1
    :param facts: those of the template
    """

    source: Source
    numbers: Sequence[int]
    facts: dict[str, Any]
    backend: str = "qemu"
    accelerator: str | None = None

    def guest(self) -> AbstractAsyncContextManager[Guest]:
        """A fresh guest in which the mutants are switched on."""
        return _with_mutants(self.source, self.numbers)

    async def close(self) -> None:
        """The template stays."""


@asynccontextmanager
async def _with_mutants(source: Source, numbers: Sequence[int]) -> AsyncIterator[Guest]:
    chosen = ",".join(map(str, numbers)).encode()
    async with source.guest() as guest:
        await guest.call("harness.guest.files:receive", f"/sys/module/kernel/parameters/{PARAMETER}", stdin=chosen)
        yield guest


@dataclass
class Found:
    """What came of a kernel with a mutant.

    :ivar told: results of the rules that told, in the order in which they came
    :ivar profile: fields of the profile that depart, which ``check`` reports by itself
    :ivar died: how the kernel died while its profile was probed, if it did
    :ivar doubts: why something was inconclusive
    :ivar ran: rules that have a result
    """

    told: list[RuleResult] = field(default_factory=list)
    profile: tuple[str, ...] = ()
    died: str = ""
    doubts: list[str] = field(default_factory=list)
    ran: int = 0
    seconds: float = 0.0

    @property
    def caught(self) -> bool:
        return bool(self.told or self.profile or self.died)


async def profile_of(source: Source, numbers: Sequence[int]) -> dict[str, Any]:
    """The profile that the kernel with those mutants gives."""
    async with _with_mutants(source, numbers) as guest:
        found: dict[str, Any] = json.loads(await guest.call("harness.guest.profile:tell"))["profile"]
        return found


async def examined(
    on: Target, numbers: Sequence[int], first: Sequence[Rule], others: Sequence[Rule], *, profile: bool = True, everything: bool = False,
) -> Found:
    """Run rules on the kernel with these mutants as ``check`` runs them, until one tells: those that should, the profile, the others.

    The rules are asked for what the kernel does without a mutant: its profile says which apply.

    :param profile: whether the profile is probed
    :param everything: run all, also after one has told
    """
    found, start = Found(), time.monotonic()
    faulty = replace(on, source=Faulty(on.source, numbers, on.source.facts, accelerator=on.source.accelerator),
                     deadline_s=_SCRIPT_S)
    await _rules(found, faulty, first, everything=everything)
    if profile and (everything or not found.told):
        await _profile(found, on, numbers)
    if everything or not found.caught:
        await _rules(found, faulty, others, everything=everything)
    found.seconds = time.monotonic() - start
    return found


async def _rules(found: Found, faulty: Target, rules: Sequence[Rule], *, everything: bool) -> None:
    def add(result: RuleResult) -> None:
        found.ran += 1
        if result.state in _TOLD:
            found.told.append(result)
        elif result.state == "inconclusive":
            found.doubts.append(f"{result.rule}: {result.reason}")

    try:
        await run(rules, [faulty], add, jobs=1, enough=lambda result: result.state in _TOLD and not everything)
    except GuestError as error:
        found.doubts.append(error.message)


async def _profile(found: Found, on: Target, numbers: Sequence[int]) -> None:
    try:
        profile = await profile_of(on.source, numbers)
    except KernelDied as death:
        found.died = death.message
    except GuestError as error:
        found.doubts.append(f"its profile cannot be probed: {error.message}")
    else:
        faulty = replace(on, source=Faulty(on.source, numbers, {**on.source.facts, "profile": profile}))
        found.profile = tuple(sorted(_departing(faulty) - _departing(on)))


def _departing(on: Target) -> set[str]:
    return {one.rule for one in compared([on], FIELDS) if one.state == "different"}
