"""What each step does on a real kernel: in the file of its concern, a function of its name (:mod:`harness.scenario.step`).

``name(run, index, step)``, with the kind's name in JSON, does the step on the kernel under test, and returns the step's outcome. Read
``hooks`` first, beside :mod:`harness.model.steps.hooks`. What a kind must look at before the first step is its ``name_baseline``.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.guest.steps.handler import Baseline, Handler
from harness.scenario.step import Step, by_kind

__all__ = ("BASELINES", "HANDLERS")

HANDLERS: Mapping[type[Step], Handler] = by_kind(__name__)

#: What the kinds with that fact look at before the first step.
BASELINES: Mapping[type[Step], Baseline] = by_kind(__name__, "_baseline", lambda facts: facts.baseline)
