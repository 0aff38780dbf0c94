"""Scenarios at random: a topology, and steps each of which makes sense after those before it."""

from __future__ import annotations

from hypothesis import strategies as st

from harness.conformance.bundle import EXPLORED
from harness.explore.sound import queues_ipv6, without_idle_cookies
from harness.explore.steps import DRAWN
from harness.explore.steps.faults import without_memory
from harness.explore.steps.hooks import refused
from harness.explore.steps.maker import SORTS, Maker, Sort
from harness.explore.steps.namespaces import keys
from harness.explore.topologies import layered, small, topologies
from harness.outcome.profile import KernelProfile
from harness.scenario.check import admit, check
from harness.scenario.scope import Scope
from harness.scenario.step import Scenario, Step

__all__ = ("MIXES", "scenarios")

_CHUNKS, _CHUNK = 6, 12


def _makers(sort: Sort, profile: KernelProfile) -> list[Maker]:
    """What is drawn in a scenario of a sort, as far as the kernel has steps for it; static keys in each."""
    return [keys, *(maker for drawn in DRAWN.values() if drawn.there(profile) for maker in drawn.makers * drawn.times.get(sort, 0))]


def _sorts(**times: int) -> st.SearchStrategy[Sort]:
    return st.sampled_from([sort for sort in SORTS for _ in range(times.get(sort, 0))])


MIXES = {
    "all": _sorts(anything=6, queues=3, upset=1),  # the namespaces of an upset one are no others', which takes a guest longest
    "direct": _sorts(direct=1),
    "packets": _sorts(packets=9, queues=1),
}
"""By the name that ``--only`` takes."""


@st.composite
def _step(draw: st.DrawFn, scope: Scope, makers: list[Maker], *, upset: bool, faults: bool) -> Step | None:
    step = draw(st.sampled_from(makers))(draw, scope)
    if step is None or (upset and queues_ipv6(step)):
        return None
    if faults:
        step = without_memory(draw, step) if upset else refused(draw, step)
    admit(scope, step, "drawn")
    return step


@st.composite
def scenarios(draw: st.DrawFn, mix: str, profile: KernelProfile) -> Scenario:
    """A scenario that :func:`harness.scenario.check.check` accepts.

    :param mix: one of :data:`MIXES`
    :param profile: of the kernel that it is for
    """
    sort = draw(MIXES[mix])
    upset, makers = sort == "upset", _makers(sort, profile)
    lists = profile.veth_gro and not upset
    topology = draw(small if sort == "direct" else topologies([] if upset else layered(profile), gro=lists))
    scope = Scope(topology)
    # Several short lists: of a long one Hypothesis draws few elements as well.
    chunk = st.lists(_step(scope, makers, upset=upset, faults=profile.failing_allocations), max_size=_CHUNK)
    steps = [step for _ in range(_CHUNKS) for step in draw(chunk) if step is not None]
    scenario = Scenario(EXPLORED, "", topology, without_idle_cookies(steps))
    check(scenario)
    return scenario
