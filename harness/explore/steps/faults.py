"""Drawing core's allocations that find no memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from harness.scenario.step import Allocates, Step

__all__ = ("without_memory",)

_numbers = st.sampled_from([(0,), (0,), (1,), (0, 1), (2,)])
#: A namespace takes one allocation of core's.
_ONLY = st.just((0,))
_IN = 5
"""Of so many steps that allocate in one it fails."""


def without_memory(draw: st.DrawFn, step: Step) -> Step:
    """The step, in which an allocation may fail, if it has any."""
    allocates = step.facts.allocates(step)
    if allocates is Allocates.NOTHING:
        return step
    numbers = _ONLY if allocates is Allocates.NAMESPACE else _numbers
    failing: dict[str, Any] = {"fail": draw(numbers)} if draw(st.integers(1, _IN)) == _IN else {}
    return replace(step, **failing)
