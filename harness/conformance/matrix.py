"""Rules by kernels: each kernel's rules in guests side by side, one kernel after the other."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.backends.executor import DEADLINE_S, Executor, started
from harness.backends.names import Backend, has_its_kernel
from harness.backends.sources import Source, source
from harness.conformance import durations
from harness.conformance.bundle import save
from harness.conformance.collect import Collector
from harness.conformance.coverage import core_lines, functions_of
from harness.conformance.judge import Judgement, State, judge, said
from harness.conformance.promise import core_of, statements, warnings
from harness.conformance.reference import PREFIX, Deviation, Reference, departures, load, nearest
from harness.conformance.rule import Rule, Script
from harness.conformance.statements import pinned
from harness.errors import EmulatorFailed, GuestError, HostError, KernelDied, NfharnessError, UserError
from harness.host.again import ATTEMPTS
from harness.host.progress import Progress
from harness.images import config
from harness.images.kernels import Kernel
from harness.images.kmodule import module_key
from harness.images.layers import layer_path
from harness.images.source_lines import decoded
from harness.images.specs import resolved
from harness.outcome.profile import KernelProfile
from harness.scenario.step import Scenario
from harness.vm.guest import Guest

__all__ = ("Desk", "Judged", "NeverUp", "RuleResult", "Target", "completed", "conclusive", "default_jobs", "run", "target")

_GUEST_BYTES = 1 << 30
#: Of a stack.
_FUNCTIONS = 48
#: That a guest is started for: fewer take no longer in one than a second guest takes to start.
_RULES_A_GUEST = 8


@dataclass(frozen=True, slots=True)
class NeverUp:
    """The source of guests of a kernel that died before a first one was ready: there are none."""

    death: KernelDied
    backend: str = "qemu"
    accelerator: None = None
    facts: dict[str, Any] = field(default_factory=lambda: {"profile": None, "provoked": []})

    def guest(self) -> AbstractAsyncContextManager[Guest]:
        """Raise what the kernel died of.

        :raises KernelDied: always
        """
        raise self.death

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class Target:
    """A kernel that is ready to be checked.

    :param name: as it was asked for
    :param references: what its profile is compared with, the nearest first; nothing, if there is none
    :param allowed: fields of the profile that may depart
    :param deadline_s: a guest that takes longer for a script hangs
    """

    name: str
    kernel: Kernel
    source: Source
    references: tuple[Reference, ...] = ()
    allowed: tuple[str, ...] = ()
    deadline_s: float = DEADLINE_S

    @property
    def profile(self) -> KernelProfile:
        profile = self.source.facts["profile"]
        assert isinstance(profile, dict)  # noqa: S101
        return KernelProfile.from_json(profile)

    @property
    def reference(self) -> Reference | None:
        """The nearest one."""
        return self.references[0] if self.references else None

    @property
    def departures(self) -> tuple[Deviation, ...]:
        """Where the kernel's profile is not as its reference's."""
        if not self.references or isinstance(self.source, NeverUp):
            return ()
        return tuple(departures(self.profile, self.references, self._options(), self.allowed))

    @property
    def standard(self) -> KernelProfile:
        """The kernel's profile as it would be without the departures that nothing explains."""
        return replace(self.profile, **{one.field: one.expected for one in self.departures if not one.explained})

    def _options(self) -> dict[str, str] | None:
        """The options of the kernel's configuration; ``None`` if its file does not exist."""
        here = self.source.backend == "local"
        place = Path(f"/boot/config-{self.kernel.release}") if here else layer_path(self.kernel) / "config"
        return config.options(place.read_text()) if place.exists() else None

    def identity(self) -> dict[str, Any]:
        """What a report or a bundle says of it."""
        built_with = layer_path(self.kernel) / "config"
        return {
            "name": self.name,
            "kernel": self.kernel.label,
            "release": self.kernel.release,
            "version": self.kernel.version,
            "tree": self.kernel.tree or None,
            "backend": self.source.backend,
            "accelerator": self.source.accelerator,
            "config_hash": hashlib.sha256(built_with.read_bytes()).hexdigest()[:16] if built_with.exists() else None,
            "module_hash": module_key(),
            "profile": self.source.facts["profile"],
            "reference": {"name": self.reference.name, "release": self.reference.release} if self.reference else None,
        }


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule on one kernel, or one field of its profile.

    :param rule: its id; ``profile.`` and the field
    :param kernel: its label
    :param reason: why it is not conformant, on one line; empty if it is
    :param seconds: that the rule's scripts took; 0 where they were not run
    :param promise: of one that is different or lost: the rule's sentence, and the statements of core.c that it is about
    :param details: one line for each difference; of a kernel that died, its last words
    :param own_lines: of the kernel's own core.c, where that is at hand
    :param applies_to: the reference that a rule applies to which does not apply here
    :param asked: whether a kernel that is lost died of the rule; otherwise before it could be asked
    """

    rule: str
    kernel: str
    state: State
    core_lines: tuple[tuple[int, int], ...]
    reason: str = ""
    seconds: float = 0.0
    bundle: Path | None = None
    details: tuple[str, ...] = ()
    promise: tuple[str, ...] = ()
    own_lines: tuple[tuple[int, int], ...] = ()
    applies_to: str = ""
    asked: bool = True

    @property
    def cut_off(self) -> bool:
        """Whether the check ended before it came to the rule."""
        return self.state == "inconclusive" and not self.seconds


Report = Callable[[RuleResult], None]
Judged = Callable[[RuleResult, Sequence[Judgement]], None]
"""A result with the judgements of the scripts that it comes from, as far as they were run: none of a rule that does not apply."""


def default_jobs(most: int | None = None) -> int:
    """Guests side by side: as many as there are processors, and as memory holds.

    :param most: no more are wanted
    """
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")), _GUEST_BYTES)
    fit = min(len(os.sched_getaffinity(0)), available // _GUEST_BYTES)
    return max(1, fit if most is None else min(most, fit))


async def target(
    spec: str, progress: Progress, backend: Backend = "qemu", *, like: str | None = None, allowed: Sequence[str] = (),
    dead: bool = False, append: str = "",
) -> Target:
    """A kernel with its source of guests, to be closed.

    :param like: the reference to compare its profile with, rather than the nearest
    :param allowed: fields of the profile that may depart
    :param dead: a kernel that dies while its template is made is a target too, with :class:`NeverUp` for a source
    :param append: more for a fresh guest's kernel command line
    :raises UserError: no such kernel
    :raises HostError: it is unavailable here
    """
    try:
        kernel, found = await source(spec, progress, backend, append=append)
    except KernelDied as death:
        if not dead or backend != "qemu":
            raise
        kernel, found = resolved(spec, progress), NeverUp(death)
    references = (load(like),) if like else nearest(kernel.release)
    return Target(backend if has_its_kernel(backend) else spec, kernel, found, references, tuple(allowed))


async def run(
    rules: Sequence[Rule], targets: Sequence[Target], report: Report, *, jobs: int, collect: Collector | None = None,
    judged: Judged | None = None, enough: Callable[[RuleResult], bool] = lambda _result: False,
) -> list[RuleResult]:
    """Every rule on every kernel; the results by kernel, then by rule.

    :param report: is told of each result as it comes
    :param collect: what is taken out of each guest before it ends
    :param judged: is told of each result with its judgements, which are not kept: they can be large
    :param enough: whether a result ends the check of its kernel: the rules that have not begun have no result then
    :raises HostError: QEMU does not start
    """
    gate, listeners = asyncio.Semaphore(jobs), _Listeners(report, collect, judged, enough)
    ordered = durations.longest_first(rules) if jobs > 1 else rules
    found = [_Check(ordered, on, listeners) for on in targets]
    try:
        async with asyncio.TaskGroup() as group:
            for check in found:
                for _ in range(min(jobs, check.guests)):
                    group.create_task(check.work(gate))
    except ExceptionGroup as group:
        raise next((error for error in group.exceptions if isinstance(error, NfharnessError)), group) from None
    results = [check.results[rule.id] for check in found for rule in rules if rule.id in check.results]
    durations.record({result.rule: result.seconds for result in results if result.seconds})
    return results


def completed(rules: Sequence[Rule], targets: Sequence[Target], results: Sequence[RuleResult], why: str) -> list[RuleResult]:
    """The results of a check that was cut off, with the rules that it did not come to: of these nothing can be concluded."""
    found = {(one.rule, one.kernel): one for one in results}
    of_rules = [found.get((rule.id, on.kernel.label)) or _result(rule, on, "inconclusive", f"not run: {why}")
                for on in targets for rule in rules]
    return [*of_rules, *(one for one in results if one.rule.startswith(PREFIX))]


@dataclass(frozen=True, slots=True)
class _Listeners:
    """What :func:`run` tells of a check while it goes on, by the names of its parameters."""

    report: Report
    collect: Collector | None
    judged: Judged | None
    enough: Callable[[RuleResult], bool]


class _Check:
    """One kernel's rules, and their results as they come.

    :ivar guests: that it is worth to start side by side
    """

    def __init__(self, rules: Sequence[Rule], on: Target, listeners: _Listeners) -> None:
        self.results: dict[str, RuleResult] = {}
        self._on, self._listeners = on, listeners
        self._pending: deque[Rule] = deque()
        for rule in rules:
            if (result := _settled(rule, on)) is None:
                self._pending.append(rule)
            else:
                self._add(result)
        worth = math.ceil(len(self._pending) / _RULES_A_GUEST)
        self.guests = worth if on.source.backend == "qemu" else min(worth, 1)  # another kernel is there once

    def _add(self, result: RuleResult, judgements: Sequence[Judgement] = ()) -> None:
        self.results[result.rule] = result
        self._listeners.report(result)
        if self._listeners.judged:
            self._listeners.judged(result, judgements)
        if self._listeners.enough(result):
            self._pending.clear()

    async def work(self, gate: asyncio.Semaphore) -> None:
        """Take rules until none is left: in one guest, as long as it lives; after that in another."""
        async with gate, Desk(self._on, self._listeners.collect) as desk:
            while self._pending:
                rule = self._pending.popleft()
                try:
                    result, judgements = await desk.judged(rule)
                except GuestError as error:  # a kernel gone wrong may not get as far as to be asked
                    if not self.results:
                        raise
                    result, judgements = _result(rule, self._on, "inconclusive", error.message), ()
                self._add(result, judgements)


class Desk:
    """A guest of a kernel for one rule after another; a fresh one where the last has died or cannot be trusted any more. A context.

    :param collect: what is taken out of each guest before it ends
    """

    def __init__(self, on: Target, collect: Collector | None = None) -> None:
        self._on, self._collect = on, collect
        self._guest = AsyncExitStack()
        self._executor: Executor | None = None
        self._taken: list[Rule] = []

    async def __aenter__(self) -> Desk:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self._leave(take=kind is None)

    async def close(self) -> None:
        """End the guest at hand, where this is no context."""
        await self._leave()

    async def judged(self, rule: Rule) -> tuple[RuleResult, Sequence[Judgement]]:
        """A rule's result, with the judgements of its scripts.

        :raises GuestError: the guest cannot be asked
        :raises HostError: QEMU does not start
        """
        if (settled := _settled(rule, self._on)) is not None:
            return settled, ()
        begun, failure = time.monotonic(), None
        for _ in range(ATTEMPTS):
            try:
                return await self._in_guest(rule)
            except KernelDied as death:  # before it could be asked anything
                await self._leave(take=False)
                return _lost(rule, self._on, death), ()
            except EmulatorFailed as error:
                await self._leave(take=False)
                failure = error
            except BaseException:
                await self._leave(take=False)
                raise
        assert failure is not None  # noqa: S101
        reason = f"{ATTEMPTS} times: {failure.message}"
        return _result(rule, self._on, "inconclusive", reason, seconds=time.monotonic() - begun), ()

    async def _in_guest(self, rule: Rule) -> tuple[RuleResult, Sequence[Judgement]]:
        """A rule in the guest at hand."""
        executor, before = await self._ready(), tuple(self._taken)
        self._taken.append(rule)
        judgements: list[Judgement] = []
        result, trusted = await _one(rule, self._on, executor, judgements)
        if self._collect:
            await self._collect.after(executor.guest, rule.id)
        if result.state == "different":  # what harmed the kernel may harm the next rule
            result, trusted = await _alone(result, rule, before, self._on, judgements), False
        if not trusted:
            await self._leave()
        return result, judgements

    async def _ready(self) -> Executor:
        if self._executor is None:
            self._taken.clear()
            self._executor = await self._guest.enter_async_context(started(self._on.source))
            if self._collect:
                await self._collect.begin(self._executor.guest)
        return self._executor

    async def _leave(self, *, take: bool = True) -> None:
        """End the guest at hand.

        :param take: what is to be collected first
        """
        executor, self._executor = self._executor, None
        try:
            if executor and take and self._collect:
                await self._collect.take(executor.guest, self._on.kernel.label)
        finally:
            await self._guest.aclose()


def _settled(rule: Rule, on: Target) -> RuleResult | None:
    """A rule's result on a kernel, if that is known without a guest: it does not apply, or the kernel never came up."""
    if isinstance(on.source, NeverUp):
        return _result(rule, on, "lost", f"it never came up: {on.source.death.message}", asked=False)
    if why := _why_not(rule, on.profile, on.standard):
        reference = on.reference
        applies_to = reference.name if reference and rule.lacking(reference.profile) is None else ""
        more = f"; the rule applies to {applies_to}" if applies_to else ""
        return _result(rule, on, "not_applicable", why + more, applies_to=applies_to)
    return None


def _why_not(rule: Rule, profile: KernelProfile, standard: KernelProfile) -> str:
    """Why a rule is not run; empty if it is.

    The other way of a fork (``netdev.egress-absent``) is none for a kernel that is expected to have gone the first.
    """
    if lacking := rule.lacking(profile):
        return f"the probe {lacking} says no"
    if withheld := rule.lacking(standard):
        return f"the probe {withheld} says yes, and nothing explains that"
    return ""


def _result(rule: Rule, on: Target, state: State, reason: str = "", **more: Any) -> RuleResult:
    core = core_of(on.kernel.tree)
    own = tuple(one.lines for one in core.statements(rule.id)) if on.kernel.tree and core is not pinned() else ()
    promise = (rule.sentence, *statements(rule.id, core)) if state in ("different", "lost") else ()
    return RuleResult(rule.id, on.kernel.label, state, core_lines(rule.id), reason, promise=promise, own_lines=own, **more)


async def _stacks(on: Target, death: KernelDied) -> tuple[str, ...]:
    """Where the processors of a guest that hung were, a line each. A fresh guest has the kernel's functions at the same addresses."""
    if not death.stacks:
        return ()
    try:
        async with on.source.guest() as guest:
            named = json.loads(await guest.call("harness.guest.symbolise:stacks", death.stacks))
    except NfharnessError as error:
        return (f"where its processors are is unknown: {error.message}",)
    return tuple(line for processor, functions in named.items() for line in (f"processor {processor} is at", *functions[:_FUNCTIONS]))


def _lost(
    rule: Rule, on: Target, death: KernelDied, script: Script | None = None, *, seconds: float = 0.0, stacks: tuple[str, ...] = (),
) -> RuleResult:
    """The result of a rule whose kernel died.

    :param script: of which it died; ``None`` if it was not even asked
    :param stacks: what its processors did
    """
    console = "\n".join(filter(None, (death.console_tail, *stacks)))
    bundle, doubts = _kept(rule, script.scenario, on, console) if script else (None, ())
    return _result(rule, on, "lost", death.message, seconds=seconds, bundle=bundle, asked=script is not None,
                   details=(death.message, *doubts, *console.splitlines()))


def _kept(rule: Rule, found: Judgement | Scenario, on: Target, console_tail: str) -> tuple[Path | None, tuple[str, ...]]:
    """A bundle, or why there is none: what was found out about the kernel counts without it, too."""
    try:
        return save(rule.id, found, on.identity(), console_tail), ()
    except HostError as error:
        return None, (error.message,)


async def _alone(result: RuleResult, rule: Rule, before: Sequence[Rule], on: Target, judgements: list[Judgement]) -> RuleResult:
    """What a rule that was different comes to in a fresh guest; if it is conformant there, whose harm it was that it met.

    :param before: the rules that ran before it in its guest
    :param judgements: of the result; those of the fresh guest, if its result counts
    """
    if not before:
        return result
    try:
        async with started(on.source) as executor:
            fresh: list[Judgement] = []
            again, _ = await _one(rule, on, executor, fresh)
        if again.state in ("different", "lost"):
            if result.bundle:
                result.bundle.unlink(missing_ok=True)
            judgements[:] = fresh
            return again
        if again.state == "inconclusive":
            return result
        culprit = await _culprit(rule, [other for other in before if set(functions_of(other.id)) & set(functions_of(rule.id))], on)
    except KernelDied as death:
        return replace(result, details=(*result.details, f"in a fresh guest: {death.message}"))
    harmed = f"{culprit.id} harmed the kernel: {culprit.sentence}" if culprit else f"one of {len(before)} rules before it harmed the kernel"
    return replace(result, reason=f"{result.reason}; conformant in a fresh guest, so {harmed}",
                   details=(*result.details, f"conformant in a fresh guest, so {harmed}"))


async def _culprit(rule: Rule, suspects: Sequence[Rule], on: Target) -> Rule | None:
    """The rule after whose scripts another one is different, by halves; ``None`` if it takes more than one, or none of these."""
    while len(suspects) > 1:
        half = len(suspects) // 2
        suspects = suspects[half:] if await _harmed(rule, suspects[half:], on) else suspects[:half]
    return suspects[0] if suspects and await _harmed(rule, suspects, on) else None


async def _harmed(rule: Rule, first: Sequence[Rule], on: Target) -> bool:
    """Whether a rule is different in a fresh guest after others."""
    async with started(on.source) as executor:
        for other in first:
            await _one(other, on, executor)
        return (await _one(rule, on, executor))[0].state == "different"


async def _one(rule: Rule, on: Target, executor: Executor, judgements: list[Judgement] | None = None) -> tuple[RuleResult, bool]:
    """A rule's scripts, to the first that is not conformant.

    :param judgements: gets that of each
    :returns: also whether the guest can go on
    """
    start = time.monotonic()

    def result(state: State, reason: str = "") -> RuleResult:
        return _result(rule, on, state, reason, seconds=time.monotonic() - start)

    for script in rule.scripts:
        try:
            judgement = await conclusive(script, on, executor)
        except KernelDied as death:
            seconds = time.monotonic() - start
            return _lost(rule, on, death, script, seconds=seconds, stacks=await _stacks(on, death)), False
        except (GuestError, UserError) as error:
            return result("inconclusive", error.message), False
        if judgements is not None:
            judgements.append(judgement)
        comparison = judgement.comparison
        if comparison.verdict == "inconclusive":
            return result("inconclusive", f"{ATTEMPTS} times: {'; '.join(comparison.reasons)}"), True
        if comparison.verdict == "different":
            return await _different(rule, on, executor.guest, judgement, time.monotonic() - start), True
    return result("conformant"), True


async def conclusive(
    script: Script, on: Target, executor: Executor, *, profile: KernelProfile | None = None, deadline_s: float | None = None,
) -> Judgement:
    """Run a script until something can be concluded from it, a few times at most.

    A stranger's packet (an IPv6 multicast listener report) may come just when the tracer is being disarmed; then its books do not
    balance, and that says nothing about the kernel either way.

    :param profile: what the model is asked for, rather than the kernel's own
    :param deadline_s: a guest that takes longer hangs, rather than the kernel's own
    """
    for _ in range(ATTEMPTS):
        judgement = judge(script, profile or on.profile, await executor.observe(script.scenario, deadline_s or on.deadline_s))
        if judgement.comparison.verdict != "inconclusive":
            break
    return judgement


async def _different(rule: Rule, on: Target, guest: Guest, judgement: Judgement, seconds: float) -> RuleResult:
    differences = tuple(map(said, judgement.comparison.differences))
    said_by_kernel = await asyncio.to_thread(decoded, "\n".join(judgement.observed.log), on.kernel)
    judgement = replace(judgement, observed=replace(judgement.observed, log=tuple(said_by_kernel.splitlines())))
    bundle, doubts = _kept(rule, judgement, on, guest.console_tail())
    more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
    details = (*doubts, *warnings(judgement.observed.log), *differences)
    return _result(rule, on, "different", f"{differences[0]}{more}", seconds=seconds, bundle=bundle, details=details)
