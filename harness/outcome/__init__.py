"""Outcomes: what both executors answer with, and where two of them differ.

The life of an outcome: an executor, model or kernel, makes it (``types``: steps, packets, traversals, hook calls; ``fate``: the ends that
a packet comes to); it crosses the wire as JSON (``codec``; ``typed`` checks one that a file has); the comparison pairs its parts with
those of the prediction (``pairing``), says where they depart (``diff``) in short words (``describe``), and concludes: conformant,
different or inconclusive. ``contrast`` compares two observations with each other, each of another kernel; ``kind`` says what sort
of departure a difference is; ``facts`` and ``registration`` are words for what steps find and for hooks that came and went; ``unseen``
tells which loops that the tracer cannot see have run.

Read ``types``, ``fate``, ``profile`` (in what kernels legitimately differ), ``diff``.
"""

from __future__ import annotations

from harness.outcome.codec import from_json, report, to_json
from harness.outcome.diff import Comparison, Conclusion, Difference, compare, conclude
from harness.outcome.fate import Fate, FateKind
from harness.outcome.profile import KernelProfile
from harness.outcome.types import HookCall, Outcome, PacketOutcome, RawOutcome, Slot, StepOutcome, Traversal, point_key, raw_key

__all__ = (
    "Comparison", "Conclusion", "Difference", "Fate", "FateKind", "HookCall", "KernelProfile", "Outcome", "PacketOutcome",
    "RawOutcome", "Slot", "StepOutcome", "Traversal", "compare", "conclude", "from_json", "point_key", "raw_key", "report", "to_json",
)
