"""Kernels whose guests are objects of a test: what the matrix needs to know of one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from harness.conformance.matrix import Target
from harness.images.kernels import Kernel
from harness.outcome import KernelProfile

__all__ = ("target",)


class Source(SimpleNamespace):
    """Where a kernel's guests come from."""

    backend, accelerator = "qemu", "tcg"


def target(release: str, profile: KernelProfile | None = None, **more: Any) -> Target:
    """A kernel of that name and profile.

    :param more: further data of :class:`Target`
    """
    source = Source(facts={"profile": (profile or KernelProfile()).to_json()})
    return Target(release, Kernel(release, "1", release, "cloud", ()), cast(Any, source), **more)
