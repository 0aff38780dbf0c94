"""Which Python packages the guest gets: a part of the host's lock, hashes and all."""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib.metadata import requires
from pathlib import Path

__all__ = ("ROOTS", "command_line", "lock_excerpt")

ROOTS = ("capstone", "hypothesis", "pyroute2", "pytest", "pytest-xdist", "scapy")
#: One entry of the lock: the pin with its hashes, then comments that say which packages it is there for.
_ENTRY = re.compile(r"^(?P<pin>(?P<name>[A-Za-z0-9._-]+)==[^\n]*\n(?:    --hash[^\n]*\n)+)(?P<via>(?:    #[^\n]*\n)*)", re.MULTILINE)


def command_line() -> list[str]:
    """What the command line needs, where it runs in the guest itself: all that the project depends on, as the lock calls it."""
    needed = [one for one in requires("nfharness") or () if "extra ==" not in one]
    return [re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", one)[0]).lower() for one in needed]


def lock_excerpt(lock: Path, roots: Collection[str]) -> str:
    """The lock's entries for *roots* and all that they need, as a requirements file.

    :raises ValueError: the lock lacks one of them
    """
    pins, parents = {}, {}
    for entry in _ENTRY.finditer(lock.read_text()):
        pins[entry["name"]] = entry["pin"]
        parents[entry["name"]] = set(re.findall(r"[A-Za-z0-9._-]+", entry["via"].replace("# via", "")))
    missing = set(roots) - pins.keys()
    if missing:
        raise ValueError(f"not in {lock.name}: {', '.join(sorted(missing))}")
    needed: set[str] = set()
    new = set(roots)
    while new:
        needed |= new
        new = {name for name, via in parents.items() if via & needed} - needed
    return "".join(pin for name, pin in pins.items() if name in needed and "sys_platform == 'win32'" not in pin)
