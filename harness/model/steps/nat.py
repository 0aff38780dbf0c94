"""Steps with address translation."""

from __future__ import annotations

from collections.abc import Mapping

from harness.model.run import Run
from harness.model.steps.handler import Handler
from harness.outcome.types import StepOutcome
from harness.scenario.steps import Redirect

__all__ = ("HANDLERS",)


def _redirect(run: Run, index: int, step: Redirect) -> StepOutcome:
    """NAT's own hooks, and conntrack's, come as they were seen to."""
    run.tracking.load("nf_nat")
    run.nat.register(step, run.core.warnings)
    return run.adopt(index)


HANDLERS: Mapping[type, Handler] = {Redirect: _redirect}
