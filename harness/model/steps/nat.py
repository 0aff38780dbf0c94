"""Steps with address translation."""

from __future__ import annotations

from harness.model.run import Run
from harness.outcome.types import StepOutcome
from harness.scenario.steps.nat import Redirect

__all__ = ("redirect",)


def redirect(run: Run, index: int, step: Redirect) -> StepOutcome:
    """NAT's own hooks, and conntrack's, come as they were seen to."""
    run.tracking.load("nf_nat")
    run.nat.register(step, run.core.warnings)
    return run.adopt(index)
