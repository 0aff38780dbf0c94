"""``/proc/kallsyms``: address → symbol and owner, and the other way round.

The file has up to 200,000 lines. It is kept as the bytes it came in and searched in place: a walk needs the names of a few dozen
functions, and an emulated guest would take longer to build an index than to answer every question from the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from harness.errors import GuestError

__all__ = ("Symbol", "Symbols")

KALLSYMS, MODULES = Path("/proc/kallsyms"), Path("/proc/modules")
_MEND = "run as root with kernel.kptr_restrict at 0 or 1 and CONFIG_KALLSYMS_ALL=y"


@dataclass(frozen=True, slots=True, order=True)
class Symbol:
    """A symbol. :param module: its owner; ``None`` for vmlinux"""

    address: int
    name: str
    module: str | None


def _parse(line: bytes) -> Symbol:
    address, _type, name, *module = line.decode().split()
    return Symbol(int(address, 16), name, module[0].strip("[]") if module else None)


class Symbols:
    """The kernel's symbols, read again when modules came or went.

    :raises GuestError: the kernel hides its addresses
    """

    def __init__(self, kallsyms: Path = KALLSYMS, modules: Path = MODULES) -> None:
        self._kallsyms, self._modules = kallsyms, modules
        self.read()

    def read(self) -> None:
        """Read the symbols anew. :raises GuestError: the kernel hides its addresses"""
        try:
            self._loaded = self._modules.read_bytes()
            text = b"\n" + self._kallsyms.read_bytes()
        except OSError as error:
            raise GuestError(f"no kernel symbols: {error}", mend=_MEND) from error
        if text.find(b"\nffff") < 0:
            raise GuestError("the kernel hides its symbols' addresses", mend=_MEND)
        # vmlinux's own symbols come first, ascending; those of modules, ftrace and BPF follow, each module by itself.
        first = text.find(b"\t[")
        cut = text.rfind(b"\n", 0, first) if first >= 0 else len(text.rstrip(b"\n"))
        self._text = text
        self._cut = cut
        self._in_modules = sorted((_parse(line) for line in text[cut:].split(b"\n") if line), key=attrgetter("address"))
        self._known: dict[int, Symbol | None] = {}
        self._settled: set[int] = set()

    def refresh(self) -> bool:
        """Read the symbols anew if a module was loaded or unloaded since. :returns: whether they were"""
        # The use count changes all the time: compare names and addresses only.
        def identity(text: bytes) -> list[tuple[bytes, bytes]]:
            return [(line.split()[0], line.split()[5]) for line in text.splitlines()]

        if identity(self._modules.read_bytes()) == identity(self._loaded):
            return False
        self.read()
        return True

    def named(self, name: str) -> list[Symbol]:
        """Every symbol of that name."""
        found, at, pattern = [], -1, f" {name}".encode()
        while (at := self._text.find(pattern, at + 1)) >= 0:
            if self._text[at + len(pattern):at + len(pattern) + 1] in (b"\n", b"\t", b""):
                start = self._text.rfind(b"\n", 0, at) + 1
                end = self._text.find(b"\n", at)
                found.append(_parse(self._text[start:end if end >= 0 else None]))
        return found

    def one(self, name: str, module: str | None = None) -> Symbol:
        """The symbol of that name and owner. :raises GuestError: there is none, or more than one"""
        found = {symbol for symbol in self.named(name) if symbol.module == module}
        if len(found) != 1:
            where = f"module {module}" if module else "vmlinux"
            raise GuestError(f"{len(found) or 'no'} symbol{'s' * (len(found) > 1)} {name} in {where}",
                             mend="this kernel's core differs from every one that is known: report its version and config")
        return found.pop()

    def aliases(self, address: int) -> set[str]:
        """Every name that begins at exactly ``address``."""
        names = {symbol.name for symbol in self._in_modules if symbol.address == address}
        at, pattern = -1, f"\n{address:016x} ".encode()
        while (at := self._text.find(pattern, at + 1)) >= 0:
            names.add(_parse(self._text[at + 1:self._text.find(b"\n", at + 1)]).name)
        return names

    def end(self, symbol: Symbol) -> int:
        """First address after ``symbol`` at which another one of its owner's begins. :raises GuestError: there is none"""
        if symbol.module:
            if later := [one.address for one in self._in_modules if one.address > symbol.address and one.module == symbol.module]:
                return min(later)
            raise GuestError(f"cannot tell where {symbol.name} ends", mend=_MEND)
        at = self._text.find(f"\n{symbol.address:016x} ".encode())
        while 0 <= at < self._cut:
            following = int(self._text[at + 1:at + 17], 16)
            if following > symbol.address:
                return following
            at = self._text.find(b"\n", at + 1)
        raise GuestError(f"cannot tell where {symbol.name} ends", mend=_MEND)

    def at(self, address: int) -> Symbol | None:
        """The symbol that covers ``address``; ``None`` if nothing begins at or before it."""
        if address not in self._known:
            self._known[address] = self._search(address)
        return self._known[address]

    def function(self, address: int) -> Symbol | None:
        """The function that covers ``address``, its module perhaps loaded since the symbols were read."""
        symbol = self.at(address)
        # A hook's address is that of its function: anything else says that the symbols are old, or that it is a place in one.
        if (symbol is None or symbol.address != address) and address not in self._settled:
            if self.refresh():
                symbol = self.at(address)
            self._settled.add(address)
        return symbol

    def _search(self, address: int) -> Symbol | None:
        low, high = 0, len(self._in_modules)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._in_modules[middle].address <= address else (low, middle)
        candidates = [self._in_modules[low - 1]] if low else []
        begin, end = 0, self._cut
        while end - begin > 1:
            middle = self._text.rfind(b"\n", begin + 1, (begin + end) // 2 + 1)
            if middle <= begin:
                middle = self._text.find(b"\n", begin + 1, end)
                if middle < 0:
                    break
            if int(self._text[middle + 1:middle + 17], 16) <= address:
                begin = middle
            else:
                end = middle
        line_end = self._text.find(b"\n", begin + 1)
        core = _parse(self._text[begin + 1:line_end])
        candidates += [core] if core.address <= address else []
        return max(candidates, key=lambda symbol: symbol.address, default=None)
