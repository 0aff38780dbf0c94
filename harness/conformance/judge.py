"""What an observation says about a rule: agreement with the model, and with what the rule itself expects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from harness.conformance.rule import Script
from harness.model.foreign import seen
from harness.model.predict import predict
from harness.outcome.diff import Comparison, Difference, compare
from harness.outcome.profile import KernelProfile
from harness.outcome.types import Outcome

__all__ = ("STATES", "Judgement", "State", "judge", "said")

State = Literal["conformant", "different", "not_applicable", "inconclusive", "lost"]

STATES: tuple[State, ...] = ("conformant", "different", "not_applicable", "inconclusive", "lost")
"""``different``: the kernel departs from the model or from the rule. ``not_applicable``: a probe says that the kernel lacks what the
rule is about. ``inconclusive``: the observation cannot be trusted. ``lost``: the kernel died."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One script on one kernel."""

    script: Script
    predicted: Outcome
    observed: Outcome
    comparison: Comparison


def judge(script: Script, profile: KernelProfile, observed: Outcome) -> Judgement:
    """Compare with the model's prediction for that profile, then with the script's own expectations.

    Differences of the second sort are attached to no part of the packets' and steps' trees: a mark there speaks of the prediction.
    """
    predicted = predict(script.scenario, profile, seen(observed))
    by_model = compare(predicted, observed)
    differences = (*by_model.differences, *script.unmet(observed))
    verdict = "different" if differences and not by_model.reasons else by_model.verdict
    return Judgement(script, predicted, observed, replace(by_model, verdict=verdict, differences=differences))


def said(difference: Difference) -> str:
    """A difference on one line."""
    return f"{difference.where}: predicted {_cut(difference.predicted)}, observed {_cut(difference.observed)}: {difference.explanation}"


def _cut(text: str, length: int = 300) -> str:
    return text if len(text) <= length else f"{text[:length // 2]} … {text[-length // 2:]}"
