"""What each step does on a real kernel; a module for each of :mod:`harness.scenario.steps`."""

from __future__ import annotations

from collections.abc import Mapping

from harness.guest.steps import batches, hooks, packets, private
from harness.guest.steps.handler import Handler

__all__ = ("HANDLERS",)

#: By the step's class.
HANDLERS: Mapping[type, Handler] = {**hooks.HANDLERS, **batches.HANDLERS, **private.HANDLERS, **packets.HANDLERS}
