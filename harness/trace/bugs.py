"""The kernel's bug table: where it is built to warn, and where to stop (``struct bug_entry`` of ``include/asm-generic/bug.h``)."""

from __future__ import annotations

from collections.abc import Iterator

from harness.trace.btf import Btf
from harness.trace.probes import read_kernel
from harness.trace.symbols import Symbols

__all__ = ("only_warns",)

_BUGFLAG_WARNING = 1


def only_warns(symbols: Symbols, btf: Btf, function: str) -> bool:
    """Whether a function of vmlinux can warn and has no ``BUG()``. It is not asked: who does stops the kernel.

    :returns: also false where the kernel has no such function or table
    :raises GuestError: kernel memory cannot be read
    """
    parts = [symbol for name in (function, f"{function}.cold") for symbol in symbols.named(name) if symbol.module is None]
    ranges = [range(part.address, symbols.end(part)) for part in parts]
    flags = [flags for address, flags in _entries(symbols, btf) if any(address in part for part in ranges)]
    return bool(flags) and all(each & _BUGFLAG_WARNING for each in flags)


def _entries(symbols: Symbols, btf: Btf) -> Iterator[tuple[int, int]]:
    """Address of the instruction, and flags."""
    bounds = [symbols.named(name) for name in ("__start___bug_table", "__stop___bug_table")]
    if not all(bounds):
        return
    start, stop = (symbol.address for (symbol,) in bounds)
    table, size, flags = read_kernel(start, stop - start), btf.size("bug_entry"), btf.field("bug_entry", "flags")
    relative = btf.has("bug_entry", "bug_addr_disp")  # CONFIG_GENERIC_BUG_RELATIVE_POINTERS
    where = btf.field("bug_entry", "bug_addr_disp" if relative else "bug_addr")
    for at in range(0, len(table), size):
        address = int.from_bytes(table[at + where.offset:at + where.offset + where.size], "little", signed=relative)
        yield (start + at + where.offset + address if relative else address,
               int.from_bytes(table[at + flags.offset:at + flags.offset + flags.size], "little"))
