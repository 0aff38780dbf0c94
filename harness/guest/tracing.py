"""The one tracer that a process holds. In a guest a template has loaded it; elsewhere the first who asks does."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from harness.trace.tracer import Tracer

__all__ = ("placed", "take_over", "tracer", "unload")

_tracer: Tracer | None = None


def placed() -> Tracer:
    """The tracer, its probes placed."""
    global _tracer  # noqa: PLW0603
    if _tracer is None:
        found = Tracer()
        found.place()
        _tracer = found
    return _tracer


def tracer(code: dict[str, Any] | None = None) -> Tracer:
    """The tracer, loaded.

    :param code: its programs, compiled; by default this machine compiles them
    """
    found = placed()
    if found.bpf is None:
        found.load(code)
    return found


def take_over(older: ModuleType | None) -> None:
    """Take the tracer over from this module as older code has it: its programs are in the kernel already."""
    global _tracer  # noqa: PLW0603
    _tracer = getattr(older, "_tracer", None)


def unload() -> None:
    """Take the tracer's programs out of the kernel."""
    global _tracer  # noqa: PLW0603
    if _tracer is not None:
        _tracer.close()
        _tracer = None
