"""Making a scenario of steps that were drawn or left over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from harness.netfilter import Family, VerdictKind
from harness.scenario.steps import Answer, Packets, Register, RegisterBatch, Step

__all__ = ("queues_ipv6", "without_idle_cookies")

T = TypeVar("T", Register, Answer)


def queues_ipv6(step: Step) -> bool:
    """Whether packets of IPv6 may wait because of the step.

    So would the multicast listener reports of devices that come up while a scenario is under way, and be counted.
    """
    hooks = step.hooks if isinstance(step, RegisterBatch) else (step,) if isinstance(step, Register) else ()
    return any(hook.pf in (Family.IPV6, Family.INET) and hook.verdict.kind is VerdictKind.QUEUE for hook in hooks)


def without_idle_cookies(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, but that no hook and no listener waits for a packet that none of them sends."""
    sent = {step.cookie for step in steps if isinstance(step, Packets)}

    def told(one: T) -> T:
        return one if one.cookie in sent else replace(one, cookie=None)

    def each(step: Step) -> Step:
        if isinstance(step, Register):
            return told(step)
        if isinstance(step, Answer):
            return told(step)
        return replace(step, hooks=tuple(map(told, step.hooks))) if isinstance(step, RegisterBatch) else step

    return tuple(map(each, steps))
