"""What each step does in the model: in the file of its concern, a function of its name (:mod:`harness.scenario.step`).

``name(run, index, step)``, with the kind's name in JSON, does to the model what the step does to a kernel, and returns the step's
outcome. Read ``hooks`` first, beside :mod:`harness.scenario.steps.hooks`.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.model.steps.handler import Handler
from harness.scenario.step import Step, by_kind

__all__ = ("HANDLERS",)

HANDLERS: Mapping[type[Step], Handler] = by_kind(__name__)
