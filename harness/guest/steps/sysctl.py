"""Steps with settings of a namespace."""

from __future__ import annotations

from pathlib import Path

from harness.guest.run import Run
from harness.outcome.types import StepOutcome
from harness.scenario.steps.sysctl import Sysctl

__all__ = ("sysctl",)


def sysctl(run: Run, index: int, step: Sysctl) -> StepOutcome:
    with run.network.namespaces[step.netns].inside():
        Path("/proc/sys", step.name.replace(".", "/")).write_text(str(step.value))
    return StepOutcome(index)
