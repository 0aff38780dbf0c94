"""Plain pytest files whose tests run inside real kernels: the pytest plugin ``nfharness``.

What a test may import: the fates of a packet, to compare :attr:`Walk.fate` with.
"""

from __future__ import annotations

from harness.pytest_plugin.walks import Consumed, Delivered, Dropped, Queued, Stolen, Walk

__all__ = ("Consumed", "Delivered", "Dropped", "Queued", "Stolen", "Walk")
