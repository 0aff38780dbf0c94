"""Which rule of an xtables table decided: where what walks tables is probed (``tables.bpf.c``), found in the running kernel."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import capstone
from capstone import x86_const as x86

from harness.errors import GuestError
from harness.trace.probes import after_prologue, code_of
from harness.trace.stack import decoder, depths
from harness.trace.symbols import Symbols

__all__ = ("BEGIN", "FUNCTIONS", "TableEnd", "Tables", "end_of", "tables_of")

#: Function → offset of target_offset in struct ipt_entry, ip6t_entry, arpt_entry; next_offset is behind it.
FUNCTIONS = {"ipt_do_table": 0x58, "ip6t_do_table": 0x8C, "arpt_do_table": 0xA4}
BEGIN = "table_begin"
#: Registers that calls leave alone, by what ``struct pt_regs`` calls them.
_KEPT = {x86.X86_REG_RBX: "bx", x86.X86_REG_RBP: "bp", x86.X86_REG_R12: "r12", x86.X86_REG_R13: "r13", x86.X86_REG_R14: "r14",
         x86.X86_REG_R15: "r15"}
_HINT = "this kernel's code is laid out in a way the tracer does not know: report its version and compiler"

Places = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class TableEnd:
    """Where a function has come to the end of a table, and what is to be found there.

    :param offset: of the instruction
    :param depth: bytes of stack in use there, the return address not counted
    :param register: that holds the entry
    :param hotdrop: of ``acpar.hotdrop``, from the stack pointer on
    """

    offset: int
    depth: int
    register: str
    hotdrop: int


@dataclass(frozen=True, slots=True)
class Tables:
    """The functions that can be probed.

    :param begins: places where they begin
    :param ends: function → its symbol as tracefs takes it, and its end
    :param unseen: function that is there → why it is not probed
    """

    begins: Places
    ends: dict[str, tuple[str, TableEnd]]
    unseen: dict[str, str]

    @property
    def uncounted(self) -> str | None:
        """Why it is not seen which rule of a table decided; ``None`` where it is, and of tables that are not there."""
        return "; ".join(self.unseen.values()) or None

    def events(self) -> dict[str, Places]:
        """kprobe event → its places, in the order of arming: what ends a walk before what begins one."""
        ends = {f"{name}_end": ((symbol, end.offset),) for name, (symbol, end) in self.ends.items()}
        return {**ends, BEGIN: self.begins} if ends else {}

    def programs(self) -> str:
        """The program of each event."""
        bodies = {f"{name}_end": f"table_end(PT_REGS_SP(ctx) + {end.depth}, ctx->{end.register}, {FUNCTIONS[name]}, "
                                 f"PT_REGS_SP(ctx) + {end.hotdrop})" for name, (_, end) in self.ends.items()}
        bodies |= {BEGIN: "table_begin(ctx)"} if bodies else {}
        return "\n".join(f"int probe_{name}(struct pt_regs *ctx)\n{{\n\truns(RAN_{name.upper()});\n\treturn {body};\n}}\n"
                         for name, body in bodies.items())


def tables_of(symbols: Symbols) -> Tables:
    """The functions of the running kernel that walk xtables' tables; none where their modules are not there."""
    begins: list[tuple[str, int]] = []
    ends: dict[str, tuple[str, TableEnd]] = {}
    unseen: dict[str, str] = {}
    for function, sizes in FUNCTIONS.items():
        for symbol in symbols.named(function)[:1]:
            name = f"{symbol.module}:{function}" if symbol.module else function
            try:
                _, code = code_of(symbols, function, symbol.module)
                ends[function] = name, end_of(code, sizes, function)
            except GuestError as error:
                unseen[function] = error.message
            else:
                begins.append((name, after_prologue(code)))
    return Tables(tuple(begins), ends, unseen)


def end_of(code: bytes, sizes: int, function: str) -> TableEnd:
    """Where a function has come to the end of a table: its last write to ``xt_recseq``, a variable of each processor.

    :param code: of the function
    :param sizes: offset in an entry of the offset of its target, before that of the next entry
    :raises GuestError: its code is another one than known
    """
    body = list(decoder().disasm(code, 0))
    writes = [index for index, one in enumerate(body) if _writes_own(one)]
    if len(writes) != 2:
        raise GuestError(f"{function} writes {len(writes)} times to a variable of its processor's, not twice", hint=_HINT)
    last = body[writes[1]]
    hotdrop = next((one for one in body[writes[1] + 1:writes[1] + 16] if _compares_stack(one)), None)
    registers = Counter(one.operands[1].mem.base for one in body if one.id == x86.X86_INS_MOVZX and _reads(one, sizes + 2))
    kept = [_KEPT[register] for register, _ in registers.most_common() if register in _KEPT]
    known = depths(code)
    if hotdrop is None or not kept or last.address not in known or known.get(hotdrop.address) != known[last.address]:
        raise GuestError(f"{function} does not show what it holds at the end of a table", hint=_HINT)
    return TableEnd(last.address, known[last.address], kept[0], hotdrop.operands[0].mem.disp)


def _writes_own(instruction: capstone.CsInsn) -> bool:
    """Whether it adds a register to memory of the processor's own: ``xt_write_recseq_begin`` and ``_end`` do."""
    if instruction.id != x86.X86_INS_ADD:
        return False
    target, amount = instruction.operands
    return bool(target.type == x86.X86_OP_MEM and target.mem.segment == x86.X86_REG_GS and amount.type == x86.X86_OP_REG)


def _compares_stack(instruction: capstone.CsInsn) -> bool:
    if instruction.id != x86.X86_INS_CMP:
        return False
    what, value = instruction.operands
    return bool(what.type == x86.X86_OP_MEM and what.size == 1 and what.mem.base == x86.X86_REG_RSP
                and value.type == x86.X86_OP_IMM and value.imm == 0)


def _reads(instruction: capstone.CsInsn, displacement: int) -> bool:
    what = instruction.operands[1]
    return bool(what.type == x86.X86_OP_MEM and what.size == 2 and what.mem.disp == displacement and not what.mem.index)
