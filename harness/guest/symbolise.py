"""Names for addresses of the kernel's code, for a host that has read them out of another guest of the same template."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from harness.errors import GuestError
from harness.trace.symbols import Symbols

__all__ = ("functions", "stacks")


def stacks(addresses: dict[str, list[int]]) -> None:
    """Print each processor's stack as JSON: processor → lines. The first address is where it is."""
    symbols = Symbols()
    print(json.dumps({processor: list(functions(symbols, found)) for processor, found in addresses.items()}))


def functions(symbols: Symbols, addresses: Sequence[int]) -> Iterator[str]:
    """``name+0x12 [module]``, of those addresses that are in functions and, but for the first, not at their begin, as data's are."""
    begin, end = symbols.one("_stext").address, symbols.one("_etext").address
    for number, address in enumerate(addresses):
        try:
            symbol = symbols.at(address)
        except GuestError:
            continue
        if symbol is None or not (symbol.module or begin <= address < end) or (number and symbol.address == address):
            continue
        yield f"{'' if number == 0 else '? '}{symbol.name}+{address - symbol.address:#x}" + (f" [{symbol.module}]" if symbol.module else "")
