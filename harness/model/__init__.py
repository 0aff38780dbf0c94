"""The executable specification of ``net/netfilter/core.c``, and what a scenario does according to it."""

from __future__ import annotations

from harness.model.foreign import Foreign, seen
from harness.model.predict import predict

__all__ = ("Foreign", "predict", "seen")
