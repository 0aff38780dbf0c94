"""The one tracer that a process holds. In a guest a template has loaded it; elsewhere the first who asks does."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.trace.bytecode import compiled, compiler_files
from harness.trace.tracer import Tracer

__all__ = ("byte_code", "compiler", "placed", "take_over", "tracer", "unload")

#: The linker's hash of the kernel that runs, among others.
_NOTES = Path("/sys/kernel/notes")

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


def byte_code() -> None:
    """Print the tracer's programs, compiled here, as JSON."""
    json.dump(compiled(placed().source), sys.stdout)


def compiler() -> None:
    """Print, as JSON, what their byte code depends on besides their source: the kernel's build, and the files of libbcc."""
    build = hashlib.sha256(_NOTES.read_bytes()).hexdigest() if _NOTES.exists() else ""
    json.dump({"kernel": [*os.uname()[2:4], build], "libbcc": compiler_files()}, sys.stdout)


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
