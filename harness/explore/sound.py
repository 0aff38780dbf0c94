"""Making a scenario of steps that were drawn or left over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from harness.scenario.steps import Answer, Packets, Register, RegisterBatch, Step

__all__ = ("without_idle_cookies",)

T = TypeVar("T", Register, Answer)


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
