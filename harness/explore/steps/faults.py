"""Drawing core's allocations that find no memory."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from harness.scenario.steps import (
    AddNetns,
    RawDelete,
    RawInsert,
    Register,
    RegisterAgain,
    RegisterBatch,
    Step,
    Unregister,
    UnregisterAbsent,
    UnregisterBatch,
)

__all__ = ("without_memory",)

_ALLOCATING = (AddNetns, Register, Unregister, RegisterAgain, RegisterBatch, UnregisterBatch, UnregisterAbsent, RawInsert, RawDelete)
_numbers = st.sampled_from([(0,), (0,), (1,), (0, 1), (2,)])
#: A namespace takes one allocation of core's.
_ONLY = st.just((0,))
_IN = 5
"""Of so many steps that allocate in one it fails."""


def without_memory(draw: st.DrawFn, step: Step) -> Step:
    """The step, in which an allocation may fail, if it has any."""
    if not isinstance(step, _ALLOCATING) or (isinstance(step, RawInsert) and step.count > 1):
        return step
    numbers = _ONLY if isinstance(step, AddNetns) else _numbers
    return replace(step, fail=draw(numbers)) if draw(st.integers(1, _IN)) == _IN else step
