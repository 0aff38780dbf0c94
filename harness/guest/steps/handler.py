"""What each module of this package has for each of its kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.guest.run import Run
from harness.outcome.types import StepOutcome

__all__ = ("Baseline", "Handler")

Handler = Callable[[Run, int, Any], StepOutcome]
"""Does a step, given with its position, and says what the kernel answered."""

Baseline = Callable[[Run], None]
"""Looks at the kernel before the first step."""
