"""How each step is drawn at random; a module for each of :mod:`harness.scenario.steps`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.explore.steps import batches, bpf, ground, hooks, link, packets, private, queue
from harness.explore.steps.maker import Maker

__all__ = ("MAKERS",)

#: By what they are about. A maker that is there twice is drawn twice as often.
MAKERS: Mapping[str, Sequence[Maker]] = {
    "hooks": hooks.MAKERS, "batches": batches.MAKERS, "bpf": bpf.MAKERS, "private": private.MAKERS,
    "packets": packets.MAKERS, "link": link.MAKERS, "queue": queue.MAKERS, "ground": ground.MAKERS,
}
