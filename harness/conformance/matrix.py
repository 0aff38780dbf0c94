"""Rules by kernels: each kernel's rules one after the other in one guest, the kernels side by side."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.conformance.bundle import save
from harness.conformance.coverage import seed_lines
from harness.conformance.judge import Judgement, State, judge, said
from harness.conformance.rule import Rule, Script
from harness.errors import GuestError, HostError, KernelDied, UserError
from harness.outcome.profile import KernelProfile
from harness.scenario.steps import Scenario
from harness.vm.executor import Executor, started
from harness.vm.guest import Guest
from harness.vm.kernels import Kernel
from harness.vm.kmodule import module_key
from harness.vm.layers import layer_path
from harness.vm.progress import Progress
from harness.vm.session import Backend, Source, source

__all__ = ("Result", "Target", "completed", "conclusive", "default_jobs", "run", "target")

_GUEST_BYTES = 1 << 30
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Target:
    """A kernel that is ready to be checked. :param name: as it was asked for"""

    name: str
    kernel: Kernel
    source: Source

    @property
    def profile(self) -> KernelProfile:
        profile = self.source.facts["profile"]
        assert isinstance(profile, dict)  # noqa: S101
        return KernelProfile.from_json(profile)

    def identity(self) -> dict[str, Any]:
        """What a report or a bundle says of it."""
        config = layer_path(self.kernel) / "config"
        return {
            "name": self.name,
            "kernel": self.kernel.label,
            "release": self.kernel.release,
            "version": self.kernel.version,
            "tree": self.kernel.tree or None,
            "backend": self.source.backend,
            "accelerator": self.source.accelerator,
            "config_hash": hashlib.sha256(config.read_bytes()).hexdigest()[:16] if config.exists() else None,
            "module_hash": module_key(),
            "profile": self.source.facts["profile"],
        }


@dataclass(frozen=True, slots=True)
class Result:
    """One rule on one kernel.

    :param kernel: its label
    :param reason: why it is not conformant, on one line; empty if it is
    :param seconds: that the rule's scripts took; 0 where they were not run
    :param details: one line for each difference; of a kernel that died, its last words
    """

    rule: str
    kernel: str
    state: State
    seed_lines: tuple[tuple[int, int], ...]
    reason: str = ""
    seconds: float = 0.0
    bundle: Path | None = None
    details: tuple[str, ...] = ()

    @property
    def cut_off(self) -> bool:
        """Whether the check ended before it came to the rule."""
        return self.state == "inconclusive" and not self.seconds


Report = Callable[[Result], None]


def default_jobs(kernels: int) -> int:
    """Guests side by side: as many as there are processors, and as memory holds."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")), _GUEST_BYTES)
    return max(1, min(kernels, len(os.sched_getaffinity(0)), available // _GUEST_BYTES))


async def target(spec: str, progress: Progress, backend: Backend = "qemu") -> Target:
    """A kernel with its source of guests, to be closed. :raises UserError: no such kernel; :raises HostError: it cannot be had here"""
    return Target(spec if backend != "local" else backend, *await source(spec, progress, backend))


async def run(rules: Sequence[Rule], targets: Sequence[Target], report: Report, *, jobs: int) -> list[Result]:
    """Every rule on every kernel; the results by kernel, then by rule.

    :param report: is told of each result as it comes
    :raises HostError: QEMU does not start
    """
    gate = asyncio.Semaphore(jobs)

    async def on(one: Target) -> list[Result]:
        async with gate:
            return await _on_kernel(rules, one, report)

    found = await asyncio.gather(*map(on, targets))
    return [result for results in found for result in results]


def completed(rules: Sequence[Rule], targets: Sequence[Target], results: Sequence[Result], why: str) -> list[Result]:
    """The results of a check that was cut off, with the rules that it did not come to: of these nothing can be concluded."""
    found = {(one.rule, one.kernel): one for one in results}
    return [found.get((rule.id, on.kernel.label)) or _result(rule, on, "inconclusive", f"not run: {why}")
            for on in targets for rule in rules]


async def _on_kernel(rules: Sequence[Rule], on: Target, report: Report) -> list[Result]:
    """In one guest, as long as it lives; after that in another."""
    results: dict[str, Result] = {}

    def add(result: Result) -> None:
        results[result.rule] = result
        report(result)

    profile = on.profile
    for rule in rules:
        lacking = rule.lacking(profile)
        if lacking is not None:
            add(_result(rule, on, "not_applicable", f"the probe {lacking} says no"))
    pending = [rule for rule in rules if rule.id not in results]
    while pending:
        try:
            async with started(on.source) as executor:
                trusted = True
                while pending and trusted:
                    result, trusted = await _one(pending[0], on, executor)
                    add(result)
                    pending.pop(0)
        except KernelDied as death:  # before it could be asked anything
            add(_lost(pending.pop(0), on, death))
    return [results[rule.id] for rule in rules]


def _result(rule: Rule, on: Target, state: State, reason: str = "", **more: Any) -> Result:
    return Result(rule.id, on.kernel.label, state, seed_lines(rule.id), reason, **more)


def _lost(rule: Rule, on: Target, death: KernelDied, script: Script | None = None, seconds: float = 0.0) -> Result:
    """:param script: of which it died; ``None`` if it was not even asked"""
    bundle, doubts = _kept(rule, script.scenario, on, death.console_tail) if script else (None, ())
    return _result(rule, on, "lost", death.message, seconds=seconds, bundle=bundle,
                   details=(death.message, *doubts, *death.console_tail.splitlines()))


def _kept(rule: Rule, found: Judgement | Scenario, on: Target, console_tail: str) -> tuple[Path | None, tuple[str, ...]]:
    """A bundle, or why there is none: what was found out about the kernel counts without it, too."""
    try:
        return save(rule.id, found, on.identity(), console_tail), ()
    except HostError as error:
        return None, (error.message,)


async def _one(rule: Rule, on: Target, executor: Executor) -> tuple[Result, bool]:
    """A rule's scripts, to the first that is not conformant. :returns: also whether the guest can go on"""
    start = time.monotonic()

    def result(state: State, reason: str = "") -> Result:
        return _result(rule, on, state, reason, seconds=time.monotonic() - start)

    for script in rule.scripts:
        try:
            judgement = await conclusive(script, on, executor)
        except KernelDied as death:
            return _lost(rule, on, death, script, time.monotonic() - start), False
        except (GuestError, UserError) as error:
            return result("inconclusive", error.message), False
        comparison = judgement.comparison
        if comparison.verdict == "inconclusive":
            return result("inconclusive", f"{_ATTEMPTS} times: {'; '.join(comparison.reasons)}"), True
        if comparison.verdict == "different":
            return _different(rule, on, executor.guest, judgement, time.monotonic() - start), True
    return result("conformant"), True


async def conclusive(script: Script, on: Target, executor: Executor) -> Judgement:
    """Run a script until something can be concluded from it, a few times at most.

    A stranger's packet (an IPv6 multicast listener report) may come just when the tracer is being disarmed; then its books do not
    balance, and that says nothing about the kernel either way.
    """
    for _ in range(_ATTEMPTS):
        judgement = judge(script, on.profile, await executor.observe(script.scenario))
        if judgement.comparison.verdict != "inconclusive":
            break
    return judgement


def _different(rule: Rule, on: Target, guest: Guest, judgement: Judgement, seconds: float) -> Result:
    details = tuple(map(said, judgement.comparison.differences))
    bundle, doubts = _kept(rule, judgement, on, guest.console_tail())
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return _result(rule, on, "different", f"{details[0]}{more}", seconds=seconds, bundle=bundle, details=(*doubts, *details))
