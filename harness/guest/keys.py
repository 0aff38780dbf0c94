"""The static keys that hooks need: core's own of each point, and those of devices that look for hooks (``net/core/dev.c``)."""

from __future__ import annotations

import struct
from collections import Counter

from harness.guest.module import HookModule
from harness.guest.tracing import tracer
from harness.netfilter import hook_name
from harness.trace.probes import read_kernel

__all__ = ("needed",)

_OF_DEVICES = ("ingress_needed_key", "egress_needed_key")


def needed(module: HookModule) -> Counter[str]:
    """How often each point, and each direction of devices, is needed, by name; in all namespaces.

    :raises HookRefused: EOPNOTSUPP: no jump labels
    """
    points = {f"{pf.name} {hook_name(pf, number)}": count for (pf, number), count in module.keys().items()}
    return Counter({**points, **{name: _count(name) for name in _OF_DEVICES if tracer().symbols.named(name)}})


def _count(name: str) -> int:
    """``struct static_key``'s first member, an ``atomic_t``."""
    count: int = struct.unpack("=i", read_kernel(tracer().symbols.one(name).address, 4))[0]
    return count
