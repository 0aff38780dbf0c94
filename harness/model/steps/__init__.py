"""What each step does in the model; a module for each of :mod:`harness.scenario.steps`."""

from __future__ import annotations

from collections.abc import Mapping

from harness.model.steps import batches, bpf, churn, conntrack, ground, hooks, link, nat, packets, private, queue
from harness.model.steps.handler import Handler

__all__ = ("HANDLERS",)

#: By the step's class.
HANDLERS: Mapping[type, Handler] = {
    **hooks.HANDLERS, **batches.HANDLERS, **bpf.HANDLERS, **private.HANDLERS, **conntrack.HANDLERS, **nat.HANDLERS,
    **packets.HANDLERS, **link.HANDLERS, **ground.HANDLERS, **churn.HANDLERS, **queue.HANDLERS,
}
