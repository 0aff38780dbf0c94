"""Where the probes go in ``nf_hook_slow``, found in the bytes that the kernel really runs.

Three kinds of place: the entry, the instruction after the one indirect call (the hook has just returned, its verdict is in ax),
and every instruction that leaves the function. Return probes are not used: the kernel may skip them when too many calls are under
way, and they replace the return address that the stack keeps; a probe on the returning instruction does neither.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from pathlib import Path

import capstone
from capstone import x86_const as x86

from harness.errors import GuestError
from harness.trace.stack import decoder, depths
from harness.trace.symbols import Symbols

__all__ = ("KernelMemory", "Placement", "after_prologue", "calls", "calls_of", "code_of", "depth_at", "indirect_calls", "leaves", "place",
           "place_all", "read_kernel", "returns")

KCORE = Path("/proc/kcore")
_INT3 = b"\xcc"
_SEGMENT = struct.Struct("<IIQQQQQQ")
_HINT = "this kernel's code is laid out in a way the tracer does not know: report its version and compiler"


@dataclass(frozen=True, slots=True)
class Placement:
    """Offsets of the probes from the start of the function.

    :param entry: the first instruction that is the function's
    :param calls: each indirect call, and the instruction after it
    :param depth: bytes of stack in use there; the stack pointer there plus this is the one at the entry
    :param exits: every instruction that leaves the function, with the stack pointer as it was at the entry
    :param okfns: every call of okfn, as deep as the indirect ones
    """

    entry: int
    calls: tuple[tuple[int, int], ...]
    depth: int
    exits: tuple[int, ...]
    okfns: tuple[int, ...] = ()


def place(code: bytes, address: int, names: Callable[[int], Set[str]], function: str = "nf_hook_slow", *,
          okfn: str | None = None) -> Placement:
    """Find the places of the probes in a verdict loop, or in the function that a compiler put it into.

    :param code: the function's bytes as they are in memory, alternatives and static keys applied
    :param address: where they begin
    :param names: address → names of the symbols that begin there
    :param okfn: the function that is called when every hook has accepted; ``None`` where that is the caller's affair
    :raises GuestError: not exactly one indirect call (with *okfn*: none, or one that cannot be probed), no return, no call of okfn, or
        a tail call
    """
    found, decoded = _scan(code, address, names, function, okfn=okfn)
    if (len(found.calls) != 1 if okfn is None else not found.calls) or not found.exits or decoded < len(code) - 16:
        raise GuestError(f"{function}: {len(found.calls)} indirect calls and {len(found.exits)} returns in {decoded} of {len(code)} bytes",
                         hint=_HINT)
    if okfn is not None and not found.okfns:
        raise GuestError(f"{function} does not call {okfn}", hint=_HINT)
    return _measured(found, code, function)


def place_all(code: bytes, address: int, names: Callable[[int], Set[str]], function: str) -> Placement:
    """Find every indirect call of a function that returns nothing, and may therefore end in a tail call. Parameters as of :func:`place`.

    :raises GuestError: no indirect call or one that cannot be probed, no end
    """
    found, decoded = _scan(code, address, names, function, tail_calls=True)
    if not found.calls or not found.exits or decoded < len(code) - 16:
        raise GuestError(f"{function}: {len(found.calls)} indirect calls and {len(found.exits)} ends in {decoded} of {len(code)} bytes",
                         hint=_HINT)
    return _measured(found, code, function)


def _measured(found: Placement, code: bytes, function: str) -> Placement:
    """The placement with the depth of the stack at its calls.

    :raises GuestError: they are not equally deep, or nothing shows how deep they are
    """
    known = depths(code)
    deep = {known.get(offset) for offset in (*(call for call, _ in found.calls), *found.okfns)}
    depth, *others = deep
    if others or depth is None:
        told = ", ".join("unknown" if one is None else str(one) for one in deep)
        raise GuestError(f"{function} calls with different depths of its stack: {told} bytes", hint=_HINT)
    return replace(found, depth=depth)


def indirect_calls(code: bytes, address: int, names: Callable[[int], Set[str]]) -> tuple[int, ...]:
    """Places of a function's indirect calls through a register. Parameters as of :func:`place`.

    :raises GuestError: it calls through memory, where no kernel takes a probe
    """
    found: list[int] = []
    for instruction in decoder().disasm(code, address):
        if instruction.id != x86.X86_INS_CALL:
            continue
        offset, (operand, *_) = instruction.address - address, instruction.operands
        if operand.type == x86.X86_OP_MEM:
            raise GuestError(f"it calls through memory at +{offset:#x}", hint=_HINT)
        called = names(operand.imm & 2**64 - 1) if operand.type == x86.X86_OP_IMM else frozenset()
        if not called or any("__x86_indirect_" in name for name in called):
            found.append(offset)
    return tuple(found)


def returns(code: bytes, address: int, names: Callable[[int], Set[str]], function: str, *, other: range = range(0)) -> tuple[int, ...]:
    """Places of the instructions that leave a function. Parameters as of :func:`place`.

    :param other: addresses of the function's other part, if a compiler has put one elsewhere: a jump there does not leave the function
    :raises GuestError: there is none, or one is a tail call: what the function is to do is not done there
    """
    found, decoded = _scan(code, address, names, function, other=other)
    if not (found.exits or other) or decoded < len(code) - 16:
        raise GuestError(f"{function}: {len(found.exits)} returns in {decoded} of {len(code)} bytes", hint=_HINT)
    return found.exits


def leaves(symbols: Symbols, function: str) -> tuple[tuple[str, int], ...]:
    """Places of the instructions that leave a function, as tracefs takes them; also those of its cold part.

    :raises GuestError: as :func:`returns`
    """
    owner = next((symbol.module for symbol in symbols.named(function)), None)
    parts = {name: code_of(symbols, name, owner) for name in (function, f"{function}.cold") if symbols.named(name)}
    others = {name: range(address, address + len(code)) for name, (address, code) in parts.items()}
    found = {name: returns(code, address, symbols.aliases, name,
                           other=next((other for there, other in others.items() if there != name), range(0)))
             for name, (address, code) in parts.items()}
    if not any(found.values()):
        raise GuestError(f"{function} does not return" if found else f"no symbol {function}", hint=_HINT)
    prefix = f"{owner}:" if owner else ""
    return tuple((f"{prefix}{name}", offset) for name, offsets in found.items() for offset in offsets)


def _scan(code: bytes, address: int, names: Callable[[int], Set[str]], function: str, *, okfn: str | None = None,
          tail_calls: bool = False, other: range = range(0)) -> tuple[Placement, int]:
    """Where a function's calls and returns are.

    :param other: as of :func:`returns`
    :returns: also how many bytes were instructions
    """
    def target(instruction: capstone.CsInsn) -> int | None:
        operand = instruction.operands[0]
        return operand.imm & 2**64 - 1 if operand.type == x86.X86_OP_IMM else None

    def through(to: int | None, kind: str) -> bool:
        return to is not None and any(kind in name for name in names(to))

    entry, deep = after_prologue(code), depths(code) if tail_calls else {}
    calls: list[tuple[int, int]] = []
    exits: list[int] = []
    okfns: list[int] = []
    decoded = 0
    for instruction in decoder().disasm(code, address):
        offset, decoded = instruction.address - address, instruction.address - address + instruction.size
        if offset < entry:
            continue
        if instruction.id == x86.X86_INS_CALL:
            # With mitigations off the call is patched to be indirect; else it goes through __x86_indirect_thunk_*, or through an ITS
            # thunk, which may be in memory that its_allocate_thunk() took and no symbol names. Functions all have a symbol.
            if (to := target(instruction)) is None or through(to, "__x86_indirect_") or not names(to):
                if (okfn or tail_calls) and instruction.operands[0].type == x86.X86_OP_MEM:
                    # arch/x86/kernel/kprobes/core.c, prepare_emulation(): "TODO: support memory addressing"
                    raise GuestError(f"{function} calls through memory at +{offset:#x}, where no kernel takes a probe; built with "
                                     "CONFIG_MITIGATION_RETPOLINE (up to 6.8 CONFIG_RETPOLINE) it calls through a register", hint=_HINT)
                calls.append((offset, decoded))
            elif okfn in names(to):
                okfns.append(offset)
        elif instruction.id == x86.X86_INS_RET:
            exits.append(offset)
        elif instruction.id == x86.X86_INS_JMP:
            if (to := target(instruction)) is not None and (address <= to < address + len(code) or to in other):
                continue
            # A tail call has given all of its stack back; a jump to the function's cold part has not.
            if not through(to, "return_thunk") and not (deep.get(offset) == 0 and to is not None and names(to)):
                raise GuestError(f"{function} ends in a jump at +{offset:#x} ({instruction.op_str})", hint=_HINT)
            exits.append(offset)
    return Placement(entry, tuple(calls), 0, tuple(exits), tuple(okfns)), decoded


def calls(code: bytes, address: int) -> set[int]:
    """What a function calls directly, or ends in a jump to. Parameters as of :func:`place`."""
    jumps = (x86.X86_INS_CALL, x86.X86_INS_JMP)
    operands = [instruction.operands[0] for instruction in decoder().disasm(code, address) if instruction.id in jumps]
    return {operand.imm & 2**64 - 1 for operand in operands if operand.type == x86.X86_OP_IMM}


def calls_of(code: bytes, address: int, callee: int) -> tuple[tuple[int, int], ...]:
    """Places of a function's direct calls of another one, each with that of the instruction behind it. Parameters as of :func:`place`."""
    return tuple((instruction.address - address, instruction.address - address + instruction.size)
                 for instruction in decoder().disasm(code, address)
                 if instruction.id == x86.X86_INS_CALL and instruction.operands[0].type == x86.X86_OP_IMM
                 and instruction.operands[0].imm & 2**64 - 1 == callee)


def depth_at(code: bytes, address: int, callee: int) -> int:
    """Bytes of stack that a function has taken where it calls another one first, its return address not counted.

    Parameters as of :func:`place`.

    :raises GuestError: it does not call that one
    """
    for place, _ in calls_of(code, address, callee):
        if (depth := depths(code).get(place)) is not None:
            return depth
    raise GuestError(f"the function at {address:#x} does not call {callee:#x}", hint=_HINT)


def after_prologue(code: bytes) -> int:
    """Offset of the first instruction behind ``endbr64`` and the tracer's ``__fentry__`` site.

    A probe on the site itself goes through ftrace, which takes ten times as long to arm and to disarm. Arguments and stack pointer
    are the same behind it.
    """
    # The site is a nop, or a call while another tracer traces the function.
    skipped = (x86.X86_INS_ENDBR64, x86.X86_INS_NOP, x86.X86_INS_CALL)
    return next((instruction.address for instruction in decoder().disasm(code, 0) if instruction.id not in skipped), 0)


def code_of(symbols: Symbols, function: str, module: str | None = None) -> tuple[int, bytes]:
    """Address and bytes of a function of the running kernel, without the ``int3`` that fill what follows it.

    :raises GuestError: it has none, or /proc/kcore cannot be read
    """
    symbol = symbols.one(function, module)
    return symbol.address, read_kernel(symbol.address, symbols.end(symbol) - symbol.address).rstrip(_INT3)


class KernelMemory:
    """The running kernel's memory, read again and again.

    :raises GuestError: /proc/kcore is missing or cannot be read
    """

    def __init__(self, kcore: Path = KCORE) -> None:
        try:
            self._core = kcore.open("rb", buffering=0)
            header = self._core.read(64)
            (table,), (count,) = struct.unpack_from("<Q", header, 32), struct.unpack_from("<H", header, 56)
            self._core.seek(table)
            segments = self._core.read(_SEGMENT.size * count)
            self._segments = [(virtual, virtual + length, offset)
                              for _type, _flags, offset, virtual, _physical, length, *_ in _SEGMENT.iter_unpack(segments)]
        except (OSError, struct.error) as error:
            raise _unreadable(error) from error

    def close(self) -> None:
        """Close ``/proc/kcore``."""
        self._core.close()

    def read(self, address: int, size: int) -> bytes:
        """Bytes of kernel memory; zeros where nothing is mapped.

        :raises GuestError: the file does not cover them
        """
        for start, end, offset in self._segments:
            if start <= address and address + size <= end:
                try:
                    return os.pread(self._core.fileno(), size, offset + address - start)
                except OSError as error:
                    raise _unreadable(error) from error
        raise GuestError(f"/proc/kcore does not cover {address:#x}", hint=_HINT)


def _unreadable(error: Exception) -> GuestError:
    return GuestError(f"cannot read the kernel's memory: {error}", hint="run as root on a kernel with CONFIG_PROC_KCORE=y "
                      "and without lockdown")


def read_kernel(address: int, size: int, kcore: Path = KCORE) -> bytes:
    """Read kernel memory once, as :meth:`KernelMemory.read` does."""
    memory = KernelMemory(kcore)
    try:
        return memory.read(address, size)
    finally:
        memory.close()
