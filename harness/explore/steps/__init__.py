"""How each step is drawn at random; a module for each of :mod:`harness.scenario.steps`, but for what is in :data:`NOT_DRAWN`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.explore.steps import batches, bpf, ground, hooks, link, packets, private, queue
from harness.explore.steps.maker import Maker
from harness.scenario.steps import Churn, CtRead, CtRun, KernelModule, Nft, RawAlter, Redirect, Step, Tee, Track

__all__ = ("MAKERS", "NOT_DRAWN")

#: By what they are about. A maker that is there twice is drawn twice as often.
MAKERS: Mapping[str, Sequence[Maker]] = {
    "hooks": hooks.MAKERS, "batches": batches.MAKERS, "bpf": bpf.MAKERS, "private": private.MAKERS,
    "packets": packets.MAKERS, "link": link.MAKERS, "queue": queue.MAKERS, "ground": ground.MAKERS,
}

_WHOLE_KERNEL = "modules come and go for the whole kernel, which takes a guest seconds, and what follows finds them there or not"
_FOREIGN = "what others' hooks do the model adopts as it was seen; what is left takes certain steps in a certain order, as rules have"

#: Steps that are not drawn, and why.
NOT_DRAWN: Mapping[type[Step], str] = {
    Churn: "what it shows takes thousands of rounds, not another scenario: the rules have those",
    RawAlter: "each array made of what it has altered warns, and a warning takes a guest as long as several steps: the rules have that",
    KernelModule: _WHOLE_KERNEL, CtRead: _WHOLE_KERNEL, CtRun: _WHOLE_KERNEL,
    Nft: _FOREIGN, Track: _FOREIGN, Redirect: _FOREIGN, Tee: _FOREIGN,
}
