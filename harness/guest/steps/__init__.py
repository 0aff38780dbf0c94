"""What each step does on a real kernel; a module for each of :mod:`harness.scenario.steps`."""

from __future__ import annotations

from collections.abc import Mapping

from harness.guest.steps import batches, hooks, packets, private
from harness.guest.steps.handler import Handler
from harness.scenario.steps import (
    Dump,
    RawDelete,
    RawInsert,
    RawRun,
    Register,
    RegisterAgain,
    RegisterBatch,
    RegisterMany,
    Send,
    Unregister,
    UnregisterAbsent,
    UnregisterBatch,
)

__all__ = ("HANDLERS", "UNDONE")

#: By the step's class.
HANDLERS: Mapping[type, Handler] = {**hooks.HANDLERS, **batches.HANDLERS, **private.HANDLERS, **packets.HANDLERS}

#: Steps after which ``HOOK_FLUSH`` leaves a namespace as it was; a scenario with any other one has namespaces of its own.
UNDONE = frozenset({
    Register, RegisterMany, Unregister, Dump, RegisterBatch, UnregisterBatch, RegisterAgain, UnregisterAbsent, RawInsert, RawDelete, RawRun,
    Send,
})
