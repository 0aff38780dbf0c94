"""Scenarios at random: a topology, and steps each of which makes sense after those before it."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from harness.explore.sound import without_idle_cookies
from harness.explore.steps import MAKERS
from harness.explore.steps.maker import Maker
from harness.explore.topologies import small, topologies
from harness.scenario.check import check
from harness.scenario.forms import BY_STEP
from harness.scenario.forms.form import Scope
from harness.scenario.steps import Scenario, Step

__all__ = ("MIXES", "Mix", "scenarios")

_CHUNKS, _CHUNK = 6, 12


@dataclass(frozen=True, slots=True)
class Mix:
    """What scenarios are made of.

    :param makers: names in :data:`harness.explore.steps.MAKERS`, and how many times each is drawn
    :param packets: whether they send any: the topology matters then
    """

    makers: tuple[tuple[str, int], ...]
    packets: bool = True

    def of(self) -> list[Maker]:
        return [maker for name, times in self.makers for maker in [*MAKERS[name]] * times]


MIXES = {
    "all": Mix((("hooks", 2), ("packets", 8), ("batches", 1), ("private", 1))),
    "direct": Mix((("private", 3), ("hooks", 2), ("batches", 1)), packets=False),
    "packets": Mix((("packets", 16), ("hooks", 1))),
}
"""By the name that ``--only`` takes."""


@st.composite
def _step(draw: st.DrawFn, scope: Scope, makers: list[Maker]) -> Step | None:
    step = draw(st.sampled_from(makers))(draw, scope)
    if step is not None:
        BY_STEP[type(step)].check(scope, step, "drawn")
        scope.index += 1
    return step


@st.composite
def scenarios(draw: st.DrawFn, mix: Mix) -> Scenario:
    """A scenario that :func:`harness.scenario.check.check` accepts."""
    ground = draw(topologies() if mix.packets else small)
    scope = Scope(ground)
    # Several short lists: of a long one Hypothesis draws few elements as well.
    chunk = st.lists(_step(scope, mix.of()), max_size=_CHUNK)
    steps = [step for _ in range(_CHUNKS) for step in draw(chunk) if step is not None]
    scenario = Scenario("explored", "", ground, without_idle_cookies(steps))
    check(scenario)
    return scenario
