"""``/proc/kallsyms``: name → symbol and owner; address → symbol of vmlinux. Which module's an address is, ``modules.py`` tells.

The file has up to 200,000 lines. It is kept as the bytes it came in and searched in place: a walk needs the names of a few dozen
functions, and an emulated guest would take longer to build an index than to answer every question from the text.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from itertools import takewhile
from operator import attrgetter
from pathlib import Path

from harness.errors import GuestError
from harness.walks.symbol import Symbol

__all__ = ("Symbols",)

KALLSYMS = Path("/proc/kallsyms")
#: More bytes than any function of a module has.
_LONGEST = 1 << 16
_HINT = "run as root with kernel.kptr_restrict at 0 or 1 and CONFIG_KALLSYMS_ALL=y"


def _parse(line: bytes) -> Symbol:
    address, _type, name, *module = line.decode().split()
    return Symbol(int(address, 16), name, module[0].strip("[]") if module else None)


class Symbols:
    """The kernel's symbols, as they are now.

    :ivar core_start: address of vmlinux's code
    :ivar core_end: of the end of vmlinux
    :raises GuestError: the kernel hides its addresses
    """

    def __init__(self, kallsyms: Path = KALLSYMS) -> None:
        try:
            text = b"\n" + kallsyms.read_bytes()
        except OSError as error:
            raise GuestError(f"no kernel symbols: {error}", hint=_HINT) from error
        if text.find(b"\nffff") < 0:
            raise GuestError("the kernel hides its symbols' addresses", hint=_HINT)
        # vmlinux's own symbols come first, ascending; those of modules, ftrace and BPF follow, each module by itself.
        first = text.find(b"\t[")
        cut = text.rfind(b"\n", 0, first) if first >= 0 else len(text.rstrip(b"\n"))
        self._text = text
        self._cut = cut
        self._in_modules = sorted((_parse(line) for line in text[cut:].split(b"\n") if line), key=attrgetter("address"))
        self.core_start = self.one("_stext").address
        last = text.rfind(b"\n", 0, cut) + 1
        self.core_end = _parse(text[last:cut]).address

    def named(self, name: str) -> list[Symbol]:
        """Every symbol of that name."""
        found, at, pattern = [], -1, f" {name}".encode()
        while (at := self._text.find(pattern, at + 1)) >= 0:
            if self._text[at + len(pattern):at + len(pattern) + 1] in (b"\n", b"\t", b""):
                start = self._text.rfind(b"\n", 0, at) + 1
                end = self._text.find(b"\n", at)
                found.append(_parse(self._text[start:end if end >= 0 else None]))
        return found

    def numbered(self, name: str) -> list[Symbol]:
        """Every symbol of that name with a dot and a number behind it, as compilers call static variables of functions."""
        found = re.findall(rb"\n(\S+ \S %s\.\d+(?:\t\S+)?)(?=\n|$)" % re.escape(name.encode()), self._text)
        return [_parse(line) for line in found]

    def one(self, name: str, module: str | None = None) -> Symbol:
        """The symbol of that name and owner.

        :raises GuestError: there is none, or more than one
        """
        found = {symbol for symbol in self.named(name) if symbol.module == module}
        if len(found) != 1:
            where = f"module {module}" if module else "vmlinux"
            raise GuestError(f"{len(found) or 'no'} symbol{'s' * (len(found) > 1)} {name} in {where}",
                             hint="this kernel's core differs from every one that is known: report its version and config")
        return found.pop()

    def aliases(self, address: int) -> set[str]:
        """Every name that begins at exactly ``address``."""
        index = bisect_left(self._in_modules, address, key=attrgetter("address"))
        names = {symbol.name for symbol in takewhile(lambda symbol: symbol.address == address, self._in_modules[index:])}
        at, pattern = self._last(address), f"\n{address:016x} ".encode()
        while self._text.startswith(pattern, at):
            names.add(_parse(self._text[at + 1:self._text.find(b"\n", at + 1)]).name)
            at = self._text.rfind(b"\n", 0, max(at, 0))
        return names

    def end(self, symbol: Symbol) -> int:
        """First address after ``symbol`` at which another one begins.

        Nothing need follow the last function of a module's code for megabytes: kernels that keep modules' code in large pages fill what
        is free there with ``int3`` (``execmem_cache_populate``). It is taken to be no longer than ``_LONGEST``.

        :raises GuestError: there is none in vmlinux
        """
        if symbol.module:
            index = bisect_right(self._in_modules, symbol.address, key=attrgetter("address"))
            most = symbol.address + _LONGEST
            return min(self._in_modules[index].address, most) if index < len(self._in_modules) else most
        if 0 <= (at := self._text.find(b"\n", self._last(symbol.address) + 1)) < self._cut:
            return int(self._text[at + 1:at + 17], 16)
        raise GuestError(f"cannot tell where {symbol.name} ends", hint=_HINT)

    def at(self, address: int) -> Symbol | None:
        """The symbol at or before ``address``: of vmlinux if it lies there, else of the modules that are there now."""
        if core := self.core(address):
            return core
        index = bisect_right(self._in_modules, address, key=attrgetter("address"))
        return self._in_modules[index - 1] if index else None

    def core(self, address: int) -> Symbol | None:
        """The symbol of vmlinux that covers ``address``; ``None`` if it lies outside."""
        if not self.core_start <= address < self.core_end:
            return None
        begin = self._last(address)
        return _parse(self._text[begin + 1:self._text.find(b"\n", begin + 1)])

    def _last(self, address: int) -> int:
        """Where the last line begins of vmlinux's symbols at or before ``address``; its first line where they all lie behind."""
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
        return begin
