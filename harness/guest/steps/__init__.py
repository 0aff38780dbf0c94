"""What each step does on a real kernel: in the file of its concern, a function of its name (:mod:`harness.scenario.step`).

``name(run, index, step)``, with the kind's name in JSON, does the step on the kernel under test, and returns the step's outcome. Read
``hooks`` first, beside :mod:`harness.model.steps.hooks`. What a kind must look at before the first step is its ``name_baseline``.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.guest.steps.handler import Baseline, Handler
from harness.guest.steps.hooks import refused_once
from harness.scenario.step import Step, by_kind

__all__ = ("BASELINES", "HANDLERS", "undone")

HANDLERS: Mapping[type[Step], Handler] = by_kind(__name__)

#: What the kinds with that fact look at before the first step.
BASELINES: Mapping[type[Step], Baseline] = by_kind(__name__, "_baseline", lambda facts: facts.baseline)


def undone(step: Step) -> bool:
    """Whether the step's namespaces can be another scenario's afterwards.

    A shrink that fails leaves a dummy, which stays as long as nobody else's hook at the point comes or goes.
    """
    return step.facts.flushed and (not step.common("fail") or refused_once(step))
