"""Hypothesis draws scenarios, in batches: guests run one while the next is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.internal.conjecture import providers

from harness.explore.scenarios import scenarios
from harness.outcome.profile import KernelProfile
from harness.scenario.step import Scenario

__all__ = ("BATCH", "Plan")

BATCH = 10
"""Of a larger one Hypothesis draws most as variants of a few: it begins to vary what it has drawn after ten."""

# Hypothesis would also draw constants of our modules, of those that happen to be loaded: a seed would not tell what is drawn.
providers._get_local_constants = lambda: providers._local_constants


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to explore: the same plan draws the same scenarios in the same order.

    :param seed: any number
    :param mix: one of :data:`harness.explore.scenarios.MIXES`
    :param profile: of the kernel: what it lacks is not drawn
    """

    seed: int
    mix: str = "all"
    profile: KernelProfile = field(default_factory=KernelProfile)

    def batch(self, number: int) -> list[Scenario]:
        """The *number*-th batch. What Hypothesis has drawn more than once is there once."""
        drawn: dict[Scenario, None] = {}

        # A seed takes the database away from the settings that are under it.
        @settings(max_examples=BATCH, phases=(Phase.generate,), database=None, deadline=None, print_blob=False,
                  suppress_health_check=list(HealthCheck))
        @seeded(self.seed << 32 | number)
        @given(scenarios(self.mix, self.profile))
        def explored(scenario: Scenario) -> None:
            drawn[scenario] = None

        explored()
        return list(drawn)
