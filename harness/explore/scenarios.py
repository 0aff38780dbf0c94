"""Scenarios at random: a topology, and steps each of which makes sense after those before it."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from harness.explore.sound import queues_ipv6, without_idle_cookies
from harness.explore.steps import MAKERS
from harness.explore.steps.faults import without_memory
from harness.explore.steps.maker import Maker
from harness.explore.topologies import layered, small, topologies
from harness.outcome.profile import KernelProfile
from harness.scenario.check import check
from harness.scenario.forms import BY_STEP
from harness.scenario.forms.form import Scope
from harness.scenario.steps import Scenario, Step

__all__ = ("MIXES", "scenarios")

_CHUNKS, _CHUNK = 6, 12


@dataclass(frozen=True, slots=True)
class Sort:
    """What a scenario is made of.

    :param makers: names in :data:`harness.explore.steps.MAKERS`, and how many times each is drawn
    :param packets: whether it sends any: the topology matters then
    :param upset: whether the ground changes and allocations fail
    """

    makers: tuple[tuple[str, int], ...]
    packets: bool = True
    upset: bool = False

    def of(self, profile: KernelProfile) -> list[Maker]:
        """What the kernel has steps for."""
        return [maker for name, times in self.makers if name != "bpf" or profile.bpf_link for maker in [*MAKERS[name]] * times]


_ANYTHING = Sort((("hooks", 4), ("packets", 16), ("batches", 2), ("bpf", 2), ("private", 2), ("link", 1)))
_DIRECT = Sort((("private", 3), ("hooks", 2), ("batches", 1)), packets=False)
_PACKETS = Sort((("packets", 48), ("hooks", 3), ("bpf", 1), ("link", 1)))
_QUEUES = Sort((("queue", 2), ("hooks", 1), ("packets", 8)))
_UPSET = Sort((("ground", 2), ("hooks", 2), ("packets", 8), ("batches", 1), ("bpf", 1), ("private", 1), ("queue", 1)), upset=True)
"""The namespaces of such a one are no others', which takes a guest longer than anything else."""

MIXES = {
    "all": st.sampled_from([*[_ANYTHING] * 6, *[_QUEUES] * 3, _UPSET]),
    "direct": st.just(_DIRECT),
    "packets": st.sampled_from([*[_PACKETS] * 9, _QUEUES]),
}
"""By the name that ``--only`` takes."""


@st.composite
def _step(draw: st.DrawFn, scope: Scope, makers: list[Maker], *, upset: bool, faults: bool) -> Step | None:
    step = draw(st.sampled_from(makers))(draw, scope)
    if step is None or (upset and queues_ipv6(step)):
        return None
    step = without_memory(draw, step) if faults else step
    BY_STEP[type(step)].check(scope, step, "drawn")
    scope.index += 1
    return step


@st.composite
def scenarios(draw: st.DrawFn, mix: str, profile: KernelProfile) -> Scenario:
    """A scenario that :func:`harness.scenario.check.check` accepts.

    :param mix: one of :data:`MIXES`; :param profile: of the kernel that it is for
    """
    sort = draw(MIXES[mix])
    lists = profile.veth_gro and not sort.upset
    ground = draw(topologies([] if sort.upset else layered(profile), gro=lists) if sort.packets else small)
    faults = sort.upset and profile.failing_allocations
    scope = Scope(ground)
    # Several short lists: of a long one Hypothesis draws few elements as well.
    chunk = st.lists(_step(scope, sort.of(profile), upset=sort.upset, faults=faults), max_size=_CHUNK)
    steps = [step for _ in range(_CHUNKS) for step in draw(chunk) if step is not None]
    scenario = Scenario("explored", "", ground, without_idle_cookies(steps))
    check(scenario)
    return scenario
