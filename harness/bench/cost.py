"""What hooks cost on a kernel, in instructions: guests whose clock counts them, the host's end of :mod:`harness.guest.cost`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from harness.backends.sources import source
from harness.host.progress import Progress
from harness.images.kernels import Kernel

__all__ = ("FIGURES", "Cost", "Costs", "costs")

#: Figure → what it is, in the order in which they are shown.
FIGURES = {
    "packet": "a datagram from sendto() to the one hook at OUTPUT, which takes it",
    "hook_call": "one more hook that a packet calls",
    "registration": "a hook that is registered and unregistered, requests included",
    "slot": "the same, for each hook that is at the point",
}
_DEADLINE_S = 600


@dataclass(frozen=True, slots=True)
class Cost:
    """A figure of one kernel.

    :param samples: instructions, one of each guest
    """

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.samples)

    @property
    def spread(self) -> float:
        """The span of the samples, least to most, as a share of the median."""
        return (max(self.samples) - min(self.samples)) / self.median


@dataclass(frozen=True, slots=True)
class Costs:
    """The figures of one kernel.

    :param name: as it was asked for
    :param figures: by the names of :data:`FIGURES`
    """

    name: str
    kernel: Kernel
    figures: Mapping[str, Cost]

    def to(self, other: Costs) -> dict[str, float]:
        """How much more each figure of another kernel is, as a share of this one's; negative where it is less."""
        return {name: other.figures[name].median / self.figures[name].median - 1 for name in FIGURES}


async def costs(specs: Sequence[str], guests: int, progress: Progress) -> list[Costs]:
    """Measure each kernel in fresh guests, one after the other.

    :param guests: of each kernel
    :raises UserError: no such kernel
    :raises HostError: the host lacks something
    """
    found = []
    for spec in dict.fromkeys(specs):
        kernel, counted = await source(spec, progress, purpose="counted")
        samples: dict[str, list[float]] = {name: [] for name in FIGURES}
        with progress.step(f"counting instructions of {kernel.release} in {guests} guests", expected_s=10 * guests):
            for _ in range(guests):
                async with counted.guest() as guest:
                    answer = json.loads(await guest.call("harness.guest.cost:main", deadline_s=_DEADLINE_S))
                for name in FIGURES:
                    samples[name].append(answer[name])
        found.append(Costs(spec, kernel, {name: Cost(tuple(values)) for name, values in samples.items()}))
    return found
