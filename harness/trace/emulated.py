"""Places where a probe costs one exception and not two: on a conditional jump, which the kernel emulates.

Any other instruction runs from a copy, behind which stands another breakpoint, wherever the kernel may be preempted (``prepare_emulation``
and ``setup_singlestep`` of ``arch/x86/kernel/kprobes/core.c``). So a probe moves on to the first jump, if all that it reads is in some
register there, and nothing can come there but over the place where it was to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import capstone
from capstone import x86_const as x86

from harness.trace.stack import decoder, stack_use
from harness.trace.symbols import Symbols

__all__ = ("ARGUMENTS", "VERDICT", "Spot", "emulates_jumps", "spot")

#: What a function is called with, and what it returned, by the members of ``struct pt_regs`` that hold them; and bits that are read.
ARGUMENTS: Mapping[str, int] = {"di": 64, "si": 64, "dx": 64, "cx": 32}
VERDICT: Mapping[str, int] = {"ax": 32}
#: Emulates a conditional jump, since 5.13 (6256e668b7af "x86/kprobes: Use int3 instead of debug trap for single-step").
_EMULATES = "kprobe_emulate_jcc"
_JUMPS = frozenset(getattr(x86, f"X86_INS_{name}") for name in (
    "JA", "JAE", "JB", "JBE", "JE", "JG", "JGE", "JL", "JLE", "JNE", "JNO", "JNP", "JNS", "JO", "JP", "JS"))
_LEGACY = ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")
_BITS = 64, 32


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a probe goes, and where what it reads is there.

    :param offset: from the function's start
    :param registers: the register that held a value where the probe was to be → the one that holds it at the spot; members of ``pt_regs``
    :param depth: bytes of stack that were taken on the way there
    """

    offset: int
    registers: Mapping[str, str]
    depth: int = 0


def emulates_jumps(symbols: Symbols) -> bool:
    """Whether the kernel emulates a conditional jump that has a probe."""
    return bool(symbols.named(_EMULATES))


def spot(code: bytes, start: int, wanted: Mapping[str, int]) -> Spot:
    """Find the conditional jump that a probe may stand on instead; the place itself if there is none.

    :param code: a function's bytes
    :param start: offset of the instruction that the probe was to be on
    :param wanted: registers that it reads there, members of ``pt_regs`` → how many bits of them, 32 or 64
    """
    targets = _targets(code)
    holders = {name: {name} for name in wanted}
    depth = 0
    for instruction in decoder().disasm(code[start:], start):
        if instruction.address > start and instruction.address in targets:
            break
        if instruction.id in _JUMPS:
            return Spot(instruction.address, {name: min(held, key=lambda one: (one != name, one)) for name, held in holders.items()}, depth)
        used = stack_use(instruction)
        written = {_member(instruction.reg_name(register)) for register in instruction.regs_access()[1]}
        if instruction.group(x86.X86_GRP_JUMP) or instruction.group(x86.X86_GRP_CALL) or instruction.group(x86.X86_GRP_RET):
            break
        if "sp" in written and not used:
            break
        source, destination, bits = _moved(instruction)
        for name, held in holders.items():
            copied = source in held and wanted[name] <= bits
            held.difference_update(written)
            if copied:
                held.add(destination)
        if not all(holders.values()):
            break
        depth += used
    return Spot(start, {name: name for name in wanted})


def _targets(code: bytes) -> frozenset[int]:
    """Where jumps inside a function lead to."""
    def jumps() -> Iterator[int]:
        for instruction in decoder().disasm(code, 0):
            if instruction.group(x86.X86_GRP_JUMP) and instruction.operands[0].type == x86.X86_OP_IMM:
                yield instruction.operands[0].imm

    return frozenset(jumps())


def _moved(instruction: capstone.CsInsn) -> tuple[str, str, int]:
    """From which register to which an instruction copies, and how many bits; nothing for any other."""
    if instruction.id == x86.X86_INS_MOV:
        to, of = instruction.operands
        if to.type == of.type == x86.X86_OP_REG and (bits := to.size * 8) in _BITS:
            return _member(instruction.reg_name(of.reg)), _member(instruction.reg_name(to.reg)), bits
    return "", "", 0


def _member(register: str) -> str:
    """The member of ``pt_regs`` that a register, or a part of one, is: ``ax`` of ``eax``, ``r12`` of ``r12d``, ``di`` of ``dil``."""
    if register[0] == "r" and register[1].isdigit():
        return register.rstrip("dwb")
    bare = register.removeprefix("r").removeprefix("e")
    by_half = {f"{name[0]}{half}": name for name in _LEGACY[:4] for half in "lh"} | {f"{name}l": name for name in _LEGACY[4:]}
    return bare if bare in _LEGACY else by_half.get(register, register)
