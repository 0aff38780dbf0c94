"""Which Python packages the guest gets: a part of the host's lock, hashes and all."""

from __future__ import annotations

import re
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ("ROOTS", "lock_excerpt")

ROOTS = ("capstone", "hypothesis", "pyroute2", "pytest", "pytest-xdist", "scapy")


def lock_excerpt(lock: Path) -> str:
    """The lock's entries for :data:`ROOTS` and all that they need, as a requirements file.

    The dependencies are read from the host's installed packages, which come from the same lock.
    """
    needed = _closure(ROOTS)
    entries = re.findall(r"^([A-Za-z0-9._-]+)==[^\n]*\n(?:    --hash[^\n]*\n)+", lock.read_text(), re.MULTILINE)
    blocks = re.finditer(r"^([A-Za-z0-9._-]+)==[^\n]*\n(?:    --hash[^\n]*\n)+", lock.read_text(), re.MULTILINE)
    missing = needed - {canonicalize_name(name) for name in entries}
    if missing:
        raise ValueError(f"not in {lock.name}: {', '.join(sorted(missing))}")
    return "".join(block[0] for block in blocks if canonicalize_name(block[1]) in needed)


def _closure(roots: tuple[str, ...]) -> set[str]:
    seen: set[str] = set()
    waiting = [canonicalize_name(root) for root in roots]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for line in requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))
    return {str(name) for name in seen}
