"""What each step does on a real kernel: in the file of its concern, a function of its name (:mod:`harness.scenario.step`).

The life of a step: the executor calls ``name(run, index, step)``, with the kind's name in JSON; it does the step on the kernel under test
with the drivers of :mod:`harness.guest`, notes in the run what later steps need, and returns the step's outcome. An errno is an outcome,
too; an exception ends the scenario. What a kind must look at before the first step is its ``name_baseline``.

Read ``handler`` (the types of both functions), then ``hooks``, beside :mod:`harness.model.steps.hooks`. A function is found by its name:
there is no table to edit.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.guest.steps.handler import Baseline, Handler
from harness.scenario.step import Step, by_kind

__all__ = ("BASELINES", "HANDLERS")

HANDLERS: Mapping[type[Step], Handler] = by_kind(__name__)

#: What the kinds with that fact look at before the first step.
BASELINES: Mapping[type[Step], Baseline] = by_kind(__name__, "_baseline", lambda facts: facts.baseline)
