"""Hypothesis draws scenarios and shrinks the one that differs.

Scenarios are drawn in batches, so that guests can run several while more are drawn; Hypothesis itself tries one at a time. The same
batch can be drawn again, scenario by scenario: that is how one that was seen to differ gets to be shrunk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from unittest import SkipTest

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.database import DirectoryBasedExampleDatabase, ExampleDatabase
from hypothesis.errors import Flaky
from hypothesis.internal.conjecture import providers

from harness.explore.scenarios import scenarios
from harness.outcome.profile import KernelProfile
from harness.scenario.steps import Scenario
from harness.vm.paths import run_dir

__all__ = ("BATCH", "Different", "Oracle", "Plan", "examples", "found_before", "shrink")

BATCH = 40

# Hypothesis would also draw constants of our modules, of those that are loaded by then: a seed would not tell what is drawn.
providers._get_local_constants = lambda: providers._local_constants


class Different(AssertionError):
    """What an oracle raises of a scenario on which kernel and model differ."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to explore: the same plan draws the same scenarios in the same order.

    :param seed: any number; :param mix: one of :data:`harness.explore.scenarios.MIXES`
    :param profile: of the kernel: what it lacks is not drawn
    """

    seed: int
    mix: str = "all"
    profile: KernelProfile = field(default_factory=KernelProfile)

    def batch(self, number: int) -> list[Scenario]:
        """The *number*-th batch. Of what Hypothesis has drawn more than once, a sixth, each is there once."""
        drawn: dict[Scenario, None] = {}
        _hypothesis(self, number, lambda scenario: drawn.update({scenario: None}), phases=(Phase.generate,))
        return list(drawn)


Oracle = Callable[[Scenario], None]
"""Raises :class:`Different`, or not."""


def examples(mix: str) -> ExampleDatabase:
    """Found cases: Hypothesis' own database, below :func:`harness.vm.paths.run_dir`."""
    return DirectoryBasedExampleDatabase(run_dir() / "explore" / mix)


def shrink(plan: Plan, number: int, oracle: Oracle) -> None:
    """Draw a batch again as far as the oracle lets it pass; of the first scenario that it does not, try smaller and smaller ones.

    The last for which the oracle raises :class:`Different` is the smallest; it is kept for :func:`found_before`.
    """
    _hypothesis(plan, number, oracle, phases=(Phase.generate, Phase.shrink), database=examples(plan.mix))


def found_before(plan: Plan, oracle: Oracle) -> None:
    """Try what :func:`shrink` has kept, whatever the seed; shrink the first that differs still."""
    _hypothesis(plan, 0, oracle, phases=(Phase.reuse, Phase.shrink), database=examples(plan.mix))


def _hypothesis(plan: Plan, number: int, oracle: Oracle, *, phases: tuple[Phase, ...], database: ExampleDatabase | None = None) -> None:
    # Hypothesis keeps its examples by this function's source. A seed takes the database away from the settings that are under it.
    @settings(max_examples=BATCH, phases=phases, database=database, deadline=None, print_blob=False, report_multiple_bugs=False,
              suppress_health_check=list(HealthCheck))
    @seeded(plan.seed << 32 | number)
    @given(scenarios(plan.mix, plan.profile))
    def explored(scenario: Scenario) -> None:
        oracle(scenario)

    # It skips what has no examples, fails with what differs, and minds an oracle that changes its mind.
    with contextlib.suppress(SkipTest, Different, Flaky):
        explored()
