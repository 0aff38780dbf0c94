"""The model as an executor: a scenario in, the outcome that core.c's rules give out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from harness.model.conntrack import Tracking
from harness.model.entries import FailingAllocator
from harness.model.foreign import Foreign, Oracle
from harness.model.register import Core
from harness.model.run import Run
from harness.model.steps import HANDLERS
from harness.netfilter import NETFILTER_DROP
from harness.outcome.profile import KernelProfile
from harness.outcome.types import Outcome, PacketOutcome, StepOutcome
from harness.scenario.step import Scenario, Step

__all__ = ("predict",)

_MESSAGE = "hook not found"
_VALIDATE = "hooks_validate"
_EACH_TIME = {_VALIDATE, "nf_conntrack_destroy"}
"""``WARN_ON``."""


def predict(scenario: Scenario, profile: KernelProfile | None = None, foreign: Foreign | None = None) -> Outcome:
    """What the scenario does on a kernel of that profile.

    :param foreign: what was seen of hooks that are not the scenario's own (:func:`harness.model.foreign.seen`); none by default
    """
    profile = profile or KernelProfile()
    core = Core(profile)
    run = Run(scenario, core, Oracle(foreign or Foreign(), Tracking(profile, core.warnings)))
    before = tuple(run.before())
    steps = (*before, *(_step(run, index, step) for index, step in enumerate(scenario.steps)))
    packets = tuple(_told(packet.walk.outcome(packet.cookie), profile) for packet in run.packets)
    return Outcome(steps, packets, doubts=tuple(run.stack.doubts))


def _told(packet: PacketOutcome, profile: KernelProfile) -> PacketOutcome:
    """The packet as the kernel tells of its end: older kernels have no drop reasons."""
    if packet.fate.reason != NETFILTER_DROP or profile.drop_reasons:
        return packet
    return replace(packet, fate=replace(packet.fate, reason=None))


def _step(run: Run, index: int, step: Step) -> StepOutcome:
    run.core.warnings.clear()
    run.stack.topology = run.topologies[index]
    run.core.alloc = FailingAllocator.without(step.common("fail"))
    outcome = HANDLERS[type(step)](run, index, step)
    return replace(outcome, splats=_splats(run.core.warnings, run.core.profile), queues=run.stack.queues.state())


def _splats(warnings: Collection[str], profile: KernelProfile) -> tuple[str, ...]:
    """Warnings as a kernel's log has them: their message; one without a message by its source file only (functions are inlined).

    Each ``WARN_ONCE`` warns once in a step; a kernel without ``CONFIG_DEBUG_MISC`` does not look at priorities.
    """
    places = {_VALIDATE} if _VALIDATE in warnings and not profile.hooks_validated else set()
    found = []
    for warning in warnings:
        place = _MESSAGE if warning.startswith(_MESSAGE) else warning
        if place not in places:
            places |= {place} - _EACH_TIME
            file = profile.reinject_warns if place == "nf_reinject" else "net/netfilter/core.c"
            found.append(warning if place == _MESSAGE else file)
    return tuple(found)
