"""The kernel's clock, for the host to compare with its own (:mod:`harness.vm.pace`)."""

from __future__ import annotations

import sys
import time

__all__ = ("tell",)


def tell() -> None:
    """Print the nanoseconds since the kernel booted (``CLOCK_MONOTONIC``)."""
    sys.stdout.write(f"{time.monotonic_ns()}\n")
