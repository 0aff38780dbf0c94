"""Where a probe may stand on a conditional jump instead, on ``nf_hook_slow`` as Debian's kernels have it, and on code made for it."""

from __future__ import annotations

import pytest

from harness.trace.emulated import ARGUMENTS, VERDICT, Spot, spot
from tests.unit.test_trace_probes import CODE, PLACES

#: Kernel → the first jump at its entry; the first one behind the call of a hook, and the register that holds the verdict there.
JUMPS = {"5.10": (0x0A, 0x47, "ax"), "6.1": (0x0A, 0x49, "bx"), "6.12": (0x0E, 0x4D, "bx"), "7.3": (0x0E, 0x4D, "bx")}


@pytest.mark.parametrize("kernel", CODE)
def test_at_its_entry_all_arguments_are_still_where_they_were(kernel: str) -> None:
    entry, _, _, _ = PLACES[kernel]
    assert spot(CODE[kernel], entry, ARGUMENTS) == Spot(JUMPS[kernel][0], {name: name for name in ARGUMENTS})


@pytest.mark.parametrize("kernel", CODE)
def test_behind_the_call_the_whole_verdict_is_in_another_register(kernel: str) -> None:
    """``movzx eax, al`` has cut the errno off ``ax``."""
    _, behind, _, _ = PLACES[kernel]
    assert spot(CODE[kernel], behind, VERDICT) == Spot(JUMPS[kernel][1], {"ax": JUMPS[kernel][2]})


@pytest.mark.parametrize(("what", "code", "found"), [
    ("push rbx; mov rbx, rdi; mov rdi, [rdi+0x58]; test rdi, rdi; jne", "534889fb488b7f584885ff7500", Spot(11, {"di": "bx"}, 8)),
    ("mov ebx, edi: half of a pointer; xor edi, edi; jne", "89fb31ff7500", Spot(0, {"di": "di"})),
    ("xor edi, edi; jne: nothing holds it", "31ff7500", Spot(0, {"di": "di"})),
    ("nop; call; jne: what is called may change all", "90e8000000007500", Spot(0, {"di": "di"})),
    ("nop; ret", "90c3", Spot(0, {"di": "di"})),
    ("nop; jmp +0; jne: another tracer's site or a static key", "90eb007500", Spot(0, {"di": "di"})),
    ("and rsp, -16; jne: nobody knows how deep", "4883e4f07500", Spot(0, {"di": "di"})),
    ("nop; test rdi, rdi; jne; jmp to the test: others come there", "904885ff7502ebf9", Spot(0, {"di": "di"})),
    ("nop; jne; jmp to the nop itself", "907502ebfb", Spot(1, {"di": "di"})),
    ("mov dil, al: a part is written; jne", "4088c77500", Spot(0, {"di": "di"})),
    ("xchg r12, rdi; jne", "4987fc7500", Spot(0, {"di": "di"})),
])
def test_a_probe_moves_where_nothing_is_lost_on_the_way(what: str, code: str, found: Spot) -> None:
    assert spot(bytes.fromhex(code), 0, {"di": 64}) == found, what
