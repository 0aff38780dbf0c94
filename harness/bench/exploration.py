"""How many steps a second an exploration gets through, its guests' restoring included: samples for ``nfharness bench``."""

from __future__ import annotations

from harness.bench.guests import Effort, Metric
from harness.conformance.matrix import target
from harness.explore.engine import Plan
from harness.explore.hunt import Hunt, Limits, explore
from harness.host.progress import Progress

__all__ = ("UNITS", "measured")

#: Metric → unit, in the order in which they are printed.
UNITS = {"explore_direct_steps_per_s": "1/s", "explore_packet_steps_per_s": "1/s"}


async def measured(spec: str, rounds: int, effort: Effort, progress: Progress) -> dict[str, Metric]:
    """Explore one kernel, with as many guests as there are processors.

    Without packets every step counts; with them those that send one, and none of the others.

    An exploration that ends early says nothing of speed: what ended it is noted, and there is no sample of it.
    """
    on, limits = await target(spec, progress), Limits(effort.exploring_s, effort.exploring_steps)
    samples: dict[str, list[float]] = {name: [] for name in UNITS}
    with progress.step(f"exploring, rounds: {rounds}", expected_s=2 * rounds * (effort.exploring_s or 3)):
        for seed in range(rounds):
            for name, mix in zip(UNITS, ("direct", "packets"), strict=True):
                hunts: list[Hunt] = []
                await explore([on], Plan(seed, mix), limits, hunts)
                (hunt,) = hunts
                if hunt.finding is not None:
                    progress.note(f"no sample of {name}: {hunt.state}; see it with nfharness replay {hunt.finding.bundle}")
                elif hunt.state != "conformant":
                    progress.note(f"no sample of {name}: {hunt.state}; {hunt.reasons[-1]}")
                else:
                    samples[name].append(hunt.rate(hunt.steps if mix == "direct" else hunt.packets))
    return {name: Metric.of(UNITS[name], values) for name, values in samples.items() if values}
