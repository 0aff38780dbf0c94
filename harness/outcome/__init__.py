"""Outcomes: what both executors answer with, and where two of them differ."""

from __future__ import annotations

from harness.outcome.codec import from_json, report, to_json
from harness.outcome.diff import Comparison, Conclusion, Difference, compare, conclude, diff
from harness.outcome.profile import KernelProfile
from harness.outcome.types import Fate, FateKind, HookCall, Outcome, PacketOutcome, RawRun, Slot, StepOutcome, Traversal, point_key, raw_key

__all__ = (
    "Comparison", "Conclusion", "Difference", "Fate", "FateKind", "HookCall", "KernelProfile", "Outcome", "PacketOutcome",
    "RawRun", "Slot", "StepOutcome", "Traversal", "compare", "conclude", "diff", "from_json", "point_key", "raw_key", "report", "to_json",
)
