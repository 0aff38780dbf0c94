"""What each step does in the model: in the file of its concern, a function of its name (:mod:`harness.scenario.step`).

The life of a step: the run of a prediction calls ``name(run, index, step)``, with the kind's name in JSON; it does to the model what the
step does to a kernel (hooks come and go in arrays, packets cross :mod:`harness.model.path`), and returns the step's outcome. Where a
kernel answers with an errno, the outcome has that errno.

Read ``handler`` (the type of the function), then ``hooks``, beside :mod:`harness.scenario.steps.hooks` and
:mod:`harness.guest.steps.hooks`. A function is found by its name: there is no table to edit.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.model.steps.handler import Handler
from harness.scenario.step import Step, by_kind

__all__ = ("HANDLERS",)

HANDLERS: Mapping[type[Step], Handler] = by_kind(__name__)
