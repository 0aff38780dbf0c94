"""What a template holds ready: slow imports, nfharness.ko, the tracer's BPF programs."""

from __future__ import annotations

import gc
import importlib
from types import ModuleType

__all__ = ("adopt", "prepare")

_IMPORTS = ("scapy.all", "pyroute2", "bcc", "capstone", "pytest", "hypothesis", "xdist", "harness.guest.files")


def prepare() -> dict[str, object]:
    """Load everything; called once in a VM's life, before it is saved."""
    for name in _IMPORTS:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    return {}


def adopt(_older: dict[str, ModuleType]) -> None:
    """Take over from the modules of the code that a newer archive replaces what must not be made twice."""
