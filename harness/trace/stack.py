"""How much of its stack a function has taken, at each of its instructions: followed along its jumps, as the processor would go.

What stands below in the code need not come later: behind a return stands what was jumped over. And what is taken need not stay: an argument
that no register has room for is pushed, and given back behind the call (``lock_acquire()`` has seven, wherever lockdep watches).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import capstone
from capstone import x86_const as x86

__all__ = ("decoder", "depths", "stack_use")

_ENDS = (x86.X86_INS_RET, x86.X86_INS_INT3, x86.X86_INS_JMP)


def decoder() -> capstone.Cs:
    """A disassembler of x86-64 that tells operands and registers."""
    made = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    made.detail = True
    return made


def stack_use(instruction: capstone.CsInsn) -> int:
    """Bytes by which an instruction moves the stack pointer down."""
    if instruction.id == x86.X86_INS_PUSH:
        return 8
    if instruction.id == x86.X86_INS_POP:
        return -8
    if instruction.id in (x86.X86_INS_SUB, x86.X86_INS_ADD):
        target, amount = instruction.operands
        if target.type == x86.X86_OP_REG and target.reg == x86.X86_REG_RSP and amount.type == x86.X86_OP_IMM:
            return int(amount.imm) if instruction.id == x86.X86_INS_SUB else -int(amount.imm)
    return 0


def depths(code: bytes) -> dict[int, int]:
    """Offset of an instruction → bytes of stack in use before it, the return address not counted.

    Left out are instructions that nothing leads to, and those behind one that moves the stack pointer in another way than known. To the end
    of a call that does not return comes only what jumps there. What a static key leads to, which is a nop while the key is off, is
    taken to be as deep as most of the function: keys are asked behind the prologue.

    :param code: a function's bytes
    """
    body = {instruction.address: instruction for instruction in decoder().disasm(code, 0)}
    found: dict[int, int] = {}
    _follow(body, found, 0, 0)
    most = Counter(found.values()).most_common(1)[0][0] if found else 0
    before: capstone.CsInsn | None = None
    for offset, instruction in body.items():
        if offset not in found and before is not None and before.id in _ENDS and instruction.id not in _ENDS:
            _follow(body, found, offset, most)
        before = instruction
    return found


def _follow(body: Mapping[int, capstone.CsInsn], found: dict[int, int], start: int, deep: int) -> None:
    """Note how deep the stack is at whatever can be reached from an instruction."""
    frame: int | None = None
    ahead, behind_calls = [(start, deep)], list[tuple[int, int]]()
    while ahead or behind_calls:
        offset, depth = (ahead or behind_calls).pop()
        instruction = body.get(offset)
        if instruction is None or offset in found:
            continue
        found[offset] = depth
        if _sets_frame(instruction):
            frame = depth
        elif (after := _after(instruction, depth, frame)) is None:
            continue
        else:
            depth = after
        if instruction.group(x86.X86_GRP_JUMP) and instruction.operands[0].type == x86.X86_OP_IMM:
            ahead.append((instruction.operands[0].imm, depth))
        if instruction.id == x86.X86_INS_CALL:
            behind_calls.append((offset + instruction.size, depth))
        elif instruction.id not in _ENDS:
            ahead.append((offset + instruction.size, depth))


def _sets_frame(instruction: capstone.CsInsn) -> bool:
    """Whether rbp points to the top of the stack from here on: ``mov %rsp, %rbp``."""
    operands = instruction.operands
    return instruction.id == x86.X86_INS_MOV and [operand.reg for operand in operands if operand.type == x86.X86_OP_REG] == [
        x86.X86_REG_RBP, x86.X86_REG_RSP]


def _after(instruction: capstone.CsInsn, depth: int, frame: int | None) -> int | None:
    """Bytes in use behind an instruction; ``None`` if that cannot be told.

    :param frame: how many were in use at the place that rbp points to, if it does
    """
    if used := stack_use(instruction):
        return depth + used
    if instruction.id == x86.X86_INS_LEAVE:
        return None if frame is None else frame - 8
    if instruction.id == x86.X86_INS_CALL or x86.X86_REG_RSP not in instruction.regs_access()[1] or instruction.id == x86.X86_INS_RET:
        return depth
    if instruction.id == x86.X86_INS_LEA and frame is not None and instruction.operands[1].mem.base == x86.X86_REG_RBP:
        return frame - int(instruction.operands[1].mem.disp)
    return None
