"""Mutant after mutant, in guests side by side; what each came to is kept at once."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.conformance import RULES
from harness.conformance.matrix import Target, run
from harness.conformance.statements import CoreSource
from harness.errors import HostError, NfharnessError
from harness.host.progress import Progress
from harness.mutate.build import Built
from harness.mutate.kept import Kept, MutantResult, State
from harness.mutate.mutant import Mutant
from harness.mutate.order import Order
from harness.mutate.run import Found, examined

__all__ = ("Campaign", "baseline")

#: States of a rule on the kernel without a mutant that let it count.
_SOUND = ("conformant",)
Baseline = Mapping[str, tuple[str, float]]


async def baseline(on: Target, kept: Kept, jobs: int, progress: Progress) -> Baseline:
    """What the rules come to on the kernel without a mutant: only one that is conformant there can tell. One that was not is asked again.

    :raises HostError: none of them is conformant
    """
    found = kept.baseline()
    open_ = [rule for rule in RULES.values() if found.get(rule.id, ("", 0.0))[0] not in (*_SOUND, "not_applicable")]
    if open_:
        with progress.step(f"{len(open_)} rules without a mutant", expected_s=60):
            results = await run(open_, [on], lambda _result: None, jobs=jobs)
        for one in results:
            if one.bundle:
                one.bundle.unlink(missing_ok=True)
        found |= {one.rule: (one.state, one.seconds) for one in results}
        kept.keep_baseline(found)
    if not any(state in _SOUND for state, _ in found.values()):
        raise HostError("no rule is conformant on this kernel without a mutant: none can tell",
                        hint="look at it first: nfharness check --kernel DIRECTORY")
    return found


@dataclass(frozen=True, slots=True)
class Campaign:
    """Mutants of one kernel.

    :param on: the kernel, with no mutant chosen
    :param core: its core.c as it is without them
    :param known: what the rules come to without a mutant
    """

    on: Target
    built: Built
    core: CoreSource
    known: Baseline
    kept: Kept

    @property
    def silent(self) -> dict[str, str]:
        """Rules that count for nothing, since they are not conformant without a mutant either: id → state."""
        return {rule: state for rule, (state, _) in self.known.items() if state not in (*_SOUND, "not_applicable")}

    async def run(
        self, mutants: Sequence[Mutant], proved: Collection[str], jobs: int, tell: Callable[[Mutant, MutantResult], None],
    ) -> None:
        """Judge the mutants, as far as nothing is known yet: all of them by the rules of their functions, then those that these do not
        tell, and of which no proof says that nothing can, by the profile and all other rules.

        :param proved: names of those with a proof
        :param tell: is told of each verdict as it comes
        :raises HostError: QEMU does not start, or the disk is full
        """
        sound = [rule for rule in RULES.values() if self.known.get(rule.id, ("", 0.0))[0] in _SOUND]
        order = Order(self.core, sound, {rule: spent for rule, (_, spent) in self.known.items()})

        async def quick(mutant: Mutant) -> None:
            first, _ = order.of(mutant)
            found = await examined(self.on, [self.built.number(mutant)], first, (), profile=False)
            self._keep(mutant, _verdict(mutant, found), tell)

        async def whole(mutant: Mutant) -> None:
            before = self.kept.verdict(mutant.name)
            assert before is not None  # noqa: S101
            _, others = order.of(mutant)
            now = _verdict(mutant, await examined(self.on, [self.built.number(mutant)], (), others))
            state: State = "unclear" if now.state == "survives" and before.state == "unclear" else now.state
            how = now.how if now.state == "caught" else "; ".join(filter(None, (before.how, now.how)))
            seconds = round(before.seconds + now.seconds, 2)
            self._keep(mutant, replace(now, state=state, how=how, whole=True, ran=before.ran + now.ran, seconds=seconds), tell)

        await _side_by_side(quick, [one for one in mutants if self.kept.verdict(one.name) is None], jobs)
        await _side_by_side(whole, [one for one in mutants if one.name not in proved and self._is_open(one)], jobs)

    def _is_open(self, mutant: Mutant) -> bool:
        known = self.kept.verdict(mutant.name)
        return known is not None and known.state != "caught" and not known.whole

    def _keep(self, mutant: Mutant, verdict: MutantResult, tell: Callable[[Mutant, MutantResult], None]) -> None:
        self.kept.keep(verdict)
        tell(mutant, verdict)


async def _side_by_side(judge: Callable[[Mutant], Awaitable[None]], mutants: Iterable[Mutant], jobs: int) -> None:
    pending = deque(mutants)

    async def work() -> None:
        while pending:
            await judge(pending.popleft())

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(jobs):
                group.create_task(work())
    except ExceptionGroup as errors:
        raise next((error for error in errors.exceptions if isinstance(error, NfharnessError)), errors) from None


def _verdict(mutant: Mutant, found: Found) -> MutantResult:
    for one in found.told:
        if one.bundle:  # the mutant is what can be replayed, not one of its differences
            one.bundle.unlink(missing_ok=True)
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    by, how = _teller(found)
    state: State = "caught" if found.caught else "unclear" if found.doubts else "survives"
    how = how or "; ".join(found.doubts[:2])
    return MutantResult(mutant.name, state, by, how, ran=found.ran, seconds=round(found.seconds, 2), load=round(load, 2))


def _teller(found: Found) -> tuple[str, str]:
    """The first rule or field that told, and how it was reported."""
    if found.told:
        first = found.told[0]
        return first.rule, f"{first.state}: {first.reason}"
    if found.profile:
        return found.profile[0], f"different: {', '.join(found.profile)}"
    return ("profile", f"lost: {found.died}") if found.died else ("", "")
