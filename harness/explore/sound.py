"""Making a scenario of steps that were drawn or left over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.scenario.steps import Register, RegisterBatch, Send, Step

__all__ = ("without_idle_cookies",)


def without_idle_cookies(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, but that no hook waits for a packet that none of them sends."""
    sent = {step.cookie for step in steps if isinstance(step, Send)}

    def told(hook: Register) -> Register:
        return hook if hook.cookie in sent else replace(hook, cookie=None)

    def each(step: Step) -> Step:
        if isinstance(step, Register):
            return told(step)
        return replace(step, hooks=tuple(map(told, step.hooks))) if isinstance(step, RegisterBatch) else step

    return tuple(map(each, steps))
