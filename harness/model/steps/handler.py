"""What each module of this package has for each of its kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.model.run import Run
from harness.outcome.types import StepOutcome

__all__ = ("Handler",)

Handler = Callable[[Run, int, Any], StepOutcome]
"""Does a step, given with its position, and says what it answers."""
