"""Functions and offsets in a kernel's log as lines of its sources, as the kernel's own ``scripts/decode_stacktrace.sh`` tells them."""

from __future__ import annotations

import os
import re
import shutil
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import NfharnessError
from harness.host import process
from harness.images import kernel_tree
from harness.images.kernels import Kernel

__all__ = ("decoded",)

#: ``nf_hook_slow+0x3e/0xc0``; one in a module has its name in brackets behind it.
_PLACE = re.compile(r"(?P<name>[A-Za-z_][\w.]*)\+0x(?P<offset>[0-9a-f]+)/0x(?P<size>[0-9a-f]+)(?! \[)")
_SYMBOL = re.compile(r"(?P<address>[0-9a-f]+) [tTwW] (?P<name>\S+)")
_PROGRAMS, _DEADLINE_S = ("nm", "addr2line"), 120

_Place = tuple[str, str, str]
"""Function, offset and size, as the log has them."""


def decoded(text: str, kernel: Kernel) -> str:
    """A log with ``(net/netfilter/core.c:517)`` behind each function and offset that can be told.

    Nothing can be told of a kernel that is no tree's, was rebuilt since, has no debug information, or without binutils; nor of a name that
    several functions have at a distance that fits.
    """
    found = list(dict.fromkeys(_key(match) for match in _PLACE.finditer(text)))
    if not found or not kernel.tree or not all(map(shutil.which, _PROGRAMS)):
        return text
    try:
        tree = kernel_tree.read(kernel.tree)
        if tree.identity != kernel.version:
            return text
        addresses = _addresses(tree.build / "vmlinux", found)
        wanted = sorted({address - back for address in addresses.values() for back in (0, 1)})
        lines = _lines(tree.build / "vmlinux", (tree.build, tree.source), wanted)
    except (NfharnessError, OSError, TimeoutError):
        return text
    return "\n".join(_told(line, addresses, lines) for line in text.split("\n"))


def _told(line: str, addresses: Mapping[_Place, int], lines: Mapping[int, str]) -> str:
    """One line of the log. What a stack holds is the address behind a call."""
    back = 0 if "RIP" in line else 1

    def place(found: re.Match[str]) -> str:
        address = addresses.get(_key(found))
        told = lines.get(address - back) if address is not None else None
        return f"{found[0]} ({told})" if told else found[0]

    return _PLACE.sub(place, line)


def _key(found: re.Match[str]) -> _Place:
    return found["name"], found["offset"], found["size"]


def _addresses(vmlinux: Path, places: Sequence[_Place]) -> dict[_Place, int]:
    """Addresses in vmlinux of functions and offsets. The size is what kallsyms has: up to the next symbol."""
    wanted = {name for name, _, _ in places}
    listed = process.captured(process.bound(["nm", "--numeric-sort", str(vmlinux)]), _DEADLINE_S).stdout
    symbols = [(int(one["address"], 16), one["name"]) for one in map(_SYMBOL.match, listed.splitlines()) if one]
    every = sorted({address for address, _ in symbols})
    by_name: dict[str, list[int]] = {}
    for address, name in symbols:
        if name in wanted:
            by_name.setdefault(name, []).append(address)
    found = {}
    for name, offset, size in places:
        fitting = [start for start in by_name.get(name, []) if int(size, 16) in _sizes(every, start)]
        if len(fitting) == 1:
            found[name, offset, size] = fitting[0] + int(offset, 16)
    return found


def _sizes(every: Sequence[int], start: int) -> set[int]:
    """Sizes that a symbol may have: up to the next address that has one."""
    following = bisect_left(every, start + 1)
    return {every[following] - start} if following < len(every) else set()


def _lines(vmlinux: Path, roots: Sequence[Path], addresses: Sequence[int]) -> dict[int, str]:
    """Address → file and line, the file as it is called in the sources."""
    command = ["addr2line", "-e", str(vmlinux), *(f"{address:#x}" for address in addresses)]
    told = process.captured(process.bound(command), _DEADLINE_S).stdout.splitlines()
    found = {}
    for address, line in zip(addresses, told, strict=False):
        place = line.partition(" (discriminator")[0]
        if not place.startswith("?") and not place.endswith((":?", ":0")):
            found[address] = _short(place, roots)
    return found


def _short(place: str, roots: Sequence[Path]) -> str:
    """A file as it is called in the sources; what ccache has compiled elsewhere has the path of elsewhere up to a ``/./``."""
    place = place.rpartition("/./")[2]
    for root in roots:
        if place.startswith(f"{root}{os.sep}"):
            return place.removeprefix(f"{root}{os.sep}")
    return place
