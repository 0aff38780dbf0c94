"""Steps with settings of a namespace."""

from __future__ import annotations

from harness.model.run import Run
from harness.outcome.types import StepOutcome
from harness.scenario.steps.sysctl import Sysctl

__all__ = ("sysctl",)


def sysctl(run: Run, index: int, step: Sysctl) -> StepOutcome:
    run.nets[step.netns].sysctl[step.name] = step.value
    return StepOutcome(index)
