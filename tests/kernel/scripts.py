"""Scenarios of the rules, chosen by the kind of step that they have."""

from __future__ import annotations

from collections.abc import Callable

from harness.conformance import RULES
from harness.model import predict
from harness.outcome import KernelProfile
from harness.scenario.step import Scenario, Step

__all__ = ("shortest",)

_TRIED = 3
"""For one that does not warn."""


def shortest(kind: type[Step], profile: KernelProfile, meant: Callable[[Scenario], bool] = lambda _scenario: True) -> Scenario | None:
    """The shortest scenario of a rule that contains the kind; ``None`` if there is none.

    One of which no kernel warns is preferred: a warning takes an emulated one long.

    :param meant: which scenarios will do
    """
    def hooks(scenario: Scenario) -> int:
        return sum(getattr(step, "count", 1) + len(getattr(step, "hooks", ())) for step in scenario.steps)

    applying = [script.scenario for rule in RULES.values() if rule.lacking(profile) is None for script in rule.scripts]
    found = sorted((one for one in applying if any(isinstance(step, kind) for step in one.steps) and meant(one)), key=hooks)
    silent = (one for one in found[:_TRIED] if not any(step.splats for step in predict(one, profile).steps))
    return next(silent, found[0] if found else None)
