"""The end of a function that walks an xtables table, found in its code."""

from __future__ import annotations

import pytest

from harness.errors import GuestError
from harness.trace.tables import FUNCTIONS, TableEnd, Tables, end_of

SIZES = FUNCTIONS["ipt_do_table"]
PUSH_RBX, SUB_RSP_32, ADD_RSP_32, POP_RBX, RET = b"\x53", b"\x48\x83\xec\x20", b"\x48\x83\xc4\x20", b"\x5b", b"\xc3"
WRITE_EAX, WRITE_EBP = b"\x65\x01\x05\0\0\0\0", b"\x65\x01\x2d\0\0\0\0"  # add %eax, %gs:0(%rip)
PREEMPT = b"\x65\x81\x05\0\0\0\0\0\x02\0\0"  # addl $0x200, %gs:0(%rip)
NEXT_RBX, NEXT_R13, NEXT_RAX = b"\x0f\xb7\x43\x5a", b"\x41\x0f\xb7\x45\x5a", b"\x0f\xb7\x40\x5a"  # movzwl 0x5a(%rbx), %eax
HOTDROP = b"\x80\x7c\x24\x08\0"  # cmpb $0, 8(%rsp)
HEAD, TAIL = PUSH_RBX + SUB_RSP_32 + PREEMPT + WRITE_EAX, ADD_RSP_32 + POP_RBX + RET


@pytest.mark.parametrize(("reads", "register"), [
    (NEXT_RBX, "bx"), (NEXT_RBX + NEXT_R13 + NEXT_R13, "r13"), (NEXT_RAX + NEXT_RAX + NEXT_RBX, "bx"),
])
def test_the_register_is_the_one_through_which_entries_are_read_most(reads: bytes, register: str) -> None:
    code = HEAD + reads + WRITE_EBP + HOTDROP + TAIL
    assert end_of(code, SIZES, "f") == TableEnd(len(HEAD + reads), 40, register, 8)


@pytest.mark.parametrize(("code", "why"), [
    (HEAD + NEXT_RBX + HOTDROP + TAIL, "f writes 1 times to a variable of its processor's, not twice"),
    (HEAD + WRITE_EAX + NEXT_RBX + WRITE_EBP + HOTDROP + TAIL, "f writes 3 times"),
    (HEAD + NEXT_RBX + WRITE_EBP + TAIL, "f does not show what it holds at the end of a table"),
    (HEAD + NEXT_RAX + WRITE_EBP + HOTDROP + TAIL, "f does not show"),
    (HEAD + NEXT_RBX + WRITE_EBP + ADD_RSP_32 + HOTDROP + POP_RBX + RET, "f does not show"),
], ids=["one-write", "three-writes", "no-hotdrop", "no-register", "another-depth"])
def test_code_that_is_not_known_is_not_probed(code: bytes, why: str) -> None:
    with pytest.raises(GuestError, match=why):
        end_of(code, SIZES, "f")


def test_where_no_table_can_be_walked_nothing_is_probed() -> None:
    none = Tables((), {}, {"ipt_do_table": "why"})
    assert (none.events(), none.programs(), none.uncounted) == ({}, "", "why")
