"""The kernel's modules and their symbols, also of those that came and went while a capture was open.

``/proc/kallsyms`` takes half a second in an emulated guest, and a module may be gone before it is read. ``struct module`` leads to the
same symbols in a few milliseconds, from the moment at which ``trace_module_load`` says that it has come.

An address may belong to one module now and to another one later. Addresses are told apart by how many modules had gone
before they were seen (:func:`harness.walks.sightings.numbered`).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.errors import GuestError
from harness.trace.btf import Btf
from harness.trace.probes import read_kernel
from harness.trace.symbols import Symbols
from harness.walks.symbol import ADDRESS_BITS, Symbol

__all__ = ("GONE", "Module", "ModuleEvent", "ModuleReader", "Modules", "change")

GONE = "unknown, module gone"
"""Name of a function in memory of modules that no module's symbols cover."""

MODULES = Path("/proc/modules")
_CHANGE = struct.Struct("<QQI4x56s")
_SYMBOL = struct.Struct("<IBBHQQ")  # Elf64_Sym
_LONGEST_NAME = 512  # KSYM_NAME_LEN


@dataclass(frozen=True, slots=True)
class ModuleEvent:
    """A record of ``modules.bpf.c``.

    :param address: of the ``struct module``
    :param time: ``CLOCK_MONOTONIC``, ns
    """

    address: int
    time: int
    gone: bool
    name: str


def change(record: bytes) -> ModuleEvent:
    """A record, decoded."""
    address, time, gone, name = _CHANGE.unpack_from(record)
    return ModuleEvent(address, time, bool(gone), name.partition(b"\0")[0].decode())


@dataclass
class Module:
    """A module's code, and the symbols that lie in it.

    :param symtab: of ``Elf64_Sym``, as in the kernel's memory
    :param strtab: their names
    :param came: how many modules had gone when it came
    :param went: how many when it went itself, ``None`` while it is there
    """

    name: str
    text: range
    symtab: bytes
    strtab: bytes
    came: int = 0
    went: int | None = None

    @cached_property
    def symbols(self) -> list[Symbol]:
        """The symbols, in the order of their addresses."""
        found = []
        for name, _info, _other, _section, value, _size in _SYMBOL.iter_unpack(self.symtab):
            if name and value in self.text:
                found.append(Symbol(value, self.strtab[name:self.strtab.find(b"\0", name)].decode(errors="replace"), self.name))
        return sorted(found)

    def at(self, address: int) -> Symbol | None:
        """The symbol that covers an address of its code."""
        index = bisect_right(self.symbols, address, key=lambda symbol: symbol.address)
        return self.symbols[index - 1] if index else None


class ModuleReader:
    """Reads ``struct module`` in the running kernel.

    :raises GuestError: the structure is another one than in the kernels that are known
    """

    def __init__(self, symbols: Symbols, btf: Btf) -> None:
        self._head = symbols.one("modules").address
        # Since 6.4 (ac3b43283923 "module: replace module_layout with module_memory") text has its own mapping, the first.
        split = btf.has("module_memory")
        base, size = (btf.field("module_memory" if split else "module_layout", name) for name in ("base", "size"))
        at = btf.field("module", "mem" if split else "core_layout").offset
        self._base, self._size = at + base.offset, (at + size.offset, size.size)
        self._list, self._name, self._kallsyms = (btf.field("module", name).offset for name in ("list", "name", "kallsyms"))
        self._symtab, self._num_symtab, self._strtab = (
            btf.field("mod_kallsyms", name).offset for name in ("symtab", "num_symtab", "strtab"))
        self._bytes, self._kallsyms_bytes = btf.size("module"), btf.size("mod_kallsyms")

    def addresses(self) -> Iterator[int]:
        """The address of the ``struct module`` of each loaded module."""
        at = _pointer(read_kernel(self._head, 8), 0)
        while at != self._head:
            yield at - self._list
            at = _pointer(read_kernel(at, 8), 0)

    def read(self, address: int) -> Module:
        """The module.

        :raises GuestError: its memory is not there any more
        """
        module = read_kernel(address, self._bytes)
        base, (size_at, size_bytes) = _pointer(module, self._base), self._size
        kallsyms = read_kernel(_pointer(module, self._kallsyms), self._kallsyms_bytes)
        count = int.from_bytes(kallsyms[self._num_symtab:self._num_symtab + 4], "little")
        symtab = read_kernel(_pointer(kallsyms, self._symtab), count * _SYMBOL.size)
        longest = max((name for name, *_ in _SYMBOL.iter_unpack(symtab)), default=0)
        strtab = read_kernel(_pointer(kallsyms, self._strtab), longest + _LONGEST_NAME)
        name = module[self._name:self._name + 56].partition(b"\0")[0].decode(errors="replace")
        return Module(name, range(base, base + int.from_bytes(module[size_at:size_at + size_bytes], "little")), symtab, strtab)


def _pointer(memory: bytes, at: int) -> int:
    return int.from_bytes(memory[at:at + 8], "little")


class Modules:
    """The modules of the running kernel, now and before.

    :param reader: ``None`` for a kernel that has no modules
    :ivar frees: when modules went, ascending (``CLOCK_MONOTONIC``, ns)
    :ivar changes: how often one came or went
    """

    def __init__(self, symbols: Symbols, reader: ModuleReader | None, listed: Path = MODULES) -> None:
        self._symbols, self._reader, self._listed = symbols, reader, listed
        self._there: dict[tuple[str, int], Module] = {}
        self._past: list[Module] = []
        self._known: dict[int, Symbol | None] = {}
        self.frees: list[int] = []
        self.changes = 0

    def look(self, time: int) -> None:
        """Take notice of what has come and gone unseen.

        :param time: now, ``CLOCK_MONOTONIC``, ns
        """
        if self._reader is None:
            return
        lines = (line.split() for line in self._listed.read_text().splitlines())
        listed = {(name, int(base, 16)) for name, _size, _count, _users, _state, base, *_ in lines}
        for name, _ in self._there.keys() - listed:
            self.gone(name, time)
        if listed - self._there.keys():
            for address in self._reader.addresses():
                self.came(address)

    def changed(self, records: Iterable[bytes]) -> None:
        """Take notice of the records of ``modules.bpf.c``."""
        for each in map(change, records):
            if each.gone:
                self.gone(each.name, each.time)
            else:
                self.came(each.address)

    def came(self, address: int) -> None:
        """Read a module's symbols; those of one that went sooner than they were read stay unknown."""
        assert self._reader is not None  # noqa: S101 - who has no modules sees none come
        try:
            module = self._reader.read(address)
        except GuestError:
            return
        if (module.name, module.text.start) not in self._there:
            module.came = len(self.frees)
            self._there[module.name, module.text.start] = module
            self._known.clear()
            self.changes += 1

    def gone(self, name: str, time: int) -> None:
        """A module went, and its symbols with it."""
        for key in [key for key in self._there if key[0] == name]:
            module = self._there.pop(key)
            module.went = len(self.frees)
            self._past.append(module)
        self.frees.append(time)
        self.changes += 1

    def one(self, name: str, module: str) -> Symbol:
        """The symbol of that name, of a module that is there.

        :raises GuestError: there is none
        """
        found = [symbol for each in self._there.values() if each.name == module for symbol in each.symbols if symbol.name == name]
        if not found:
            raise GuestError(f"no symbol {name} in module {module}", hint="load the module that was built for this kernel")
        return found[0]

    def addresses(self, names: Collection[str]) -> list[int]:
        """Where functions of those names are now, in vmlinux or in a module."""
        core = [symbol.address for name in names for symbol in self._symbols.named(name) if symbol.module is None]
        return core + [symbol.address for module in self._there.values() for symbol in module.symbols if symbol.name in names]

    def function(self, number: int) -> Symbol | None:
        """The function that covers an address; one called :data:`GONE` where modules lie and none has it.

        :param number: the address, numbered as by :func:`harness.walks.sightings.numbered`
        """
        if number not in self._known:
            self._known[number] = self._function(*divmod(number, 1 << ADDRESS_BITS))
        return self._known[number]

    def _function(self, epoch: int, address: int) -> Symbol | None:
        if core := self._symbols.core(address):
            return core
        for module in (*self._past, *self._there.values()):
            alive = module.came <= epoch and (module.went is None or epoch <= module.went)
            if alive and address in module.text and (symbol := module.at(address)):
                return symbol
        return Symbol(address, GONE, None) if address >= self._symbols.core_end else None
