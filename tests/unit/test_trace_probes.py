"""Where the probes go, on ``nf_hook_slow`` as Debian's kernels have it in memory (gcc 10, 12 and 14)."""

from __future__ import annotations

import pytest

from harness.errors import GuestError
from harness.trace.probes import Placement, after_prologue, indirect_calls, place, place_all, returns

#: Kernel → code with mitigations off.
CODE = {
    "5.10": bytes.fromhex(
        "66666666900fb70239c10f839100000041564989f641554989fd4154554889d55389cb89d84c89f24c89ee48c1e0044801e8488b7810488b"
        "4008ffd06666904189c40fb6d03c01742c83fa03741331c085d274335b5d415c415d415ec3cccccccc89c189da4c89f64c89efe8701e0000"
        "83f80175df0fb7450083c30139d877a3b801000000ebcd41c1fc104c89efe87db5f5ff4489e0f7d875bab8ffffffffebb3b801000000c3cc"
        "cccccc0f1f440000"
    ),
    "6.1": bytes.fromhex(
        "0f1f4400000fb70239c10f83c900000041564989d641554189cd41544989f4554889fd534489e84c89e24889ee48c1e0044c01f0488b7810"
        "488b4008ffd00f1f0089c30fb6c083f802747a772385c07446410fb7064183c5014139c572c6b8010000005b5d415c415d415ec3cccccccc"
        "83f803753f89d94489ea4c89e64889efe86b20000083f80174c75b5d415c415d415ec3ccccccccbe070000004889efe8ec69f5ff89d8c1f8"
        "10f7d875b6b8ffffffffebaf0f0b31c05b5d415c415d415ec3cccccccc89d85b5dc1f810415c415df7d8415ec3ccccccccb801000000c3cc"
        "cccccc66662e0f1f8400000000006690"
    ),
    "6.12": bytes.fromhex(
        "f30f1efa0f1f4400000fb70239c10f83cd00000041564989d641554189cd41544989f4554889fd534489e84c89e24889ee48c1e0044c01f0"
        "488b7810488b4008ffd00f1f0089c30fb6c083f8027466773d85c07414410fb7064183c5014139c572c6b801000000eb1831ffc1fb10ba0b"
        "0000004889eee89539f3ff89d8f7d874595b5d415c415d415ec3cccccccc83f803753689d94489ea4c89e64889efe8ad20000083f80174ad"
        "5b5d415c415d415ec3cccccccc89d85b5dc1f810415c415df7d8415ec3cccccccc0f0b31c05b5d415c415d415ec3ccccccccb8ffffffffeb"
        "a0b801000000c3cccccccc0f1f440000"
    ),
    "7.3": bytes.fromhex(
        "f30f1efa0f1f4400000fb70239c10f83cd00000041564989d641554189cd41544989f4554889fd534489e84c89e24889ee48c1e0044c01f0"
        "488b7810488b40082e2e2effd089c30fb6c083f8027466773d85c07414410fb7064183c5014139c572c6b801000000eb1831ffc1fb10ba0c"
        "0000004889eee8c595f1ff89d8f7d874595b5d415c415d415ec3cccccccc83f803753689d94489ea4c89e64889efe86d27000083f80174ad"
        "5b5d415c415d415ec3cccccccc89d85b5dc1f810415c415df7d8415ec3cccccccc0f0b31c05b5d415c415d415ec3ccccccccb8ffffffffeb"
        "a0b801000000c3cccccccc0f1f440000"
    ),
}
#: Kernel → the call instruction with mitigations off and on. Both have the same length and are followed by nothing, or by nops.
CALLS = {
    "5.10": ("ffd0666690", "e871e54900"),
    "6.1": ("ffd00f1f00", "e81f785c00"),
    "6.12": ("ffd00f1f00", "e86bb52100"),
    "7.3": ("2e2e2effd0", "e81b6f2000"),
}
#: Kernel → places: entry, behind the call (off), behind the call (on), exits.
PLACES = {
    "5.10": (5, 0x3C, 0x3F, (92, 166)),
    "6.1": (5, 0x3E, 0x41, (107, 146, 192, 212, 222)),
    "6.12": (9, 0x42, 0x45, (137, 176, 196, 213, 230)),
    "7.3": (9, 0x45, 0x45, (137, 176, 196, 213, 230)),
}
ADDRESS = 0xFFFFFFFF89B5F620
PUSHED = 5 * 8


def functions(_address: int) -> set[str]:
    """Every direct call is to some function."""
    return {"nf_queue"}


def thunk(address: int) -> set[str]:
    """Every call out of the function that is not to a neighbour goes to the retpoline, as kallsyms would have it."""
    return {"__pi___x86_indirect_thunk_rax"} if address - ADDRESS > 0x100000 else {"nf_queue"}


@pytest.mark.parametrize("kernel", CODE)
def test_with_mitigations_off_the_call_is_the_indirect_one(kernel: str) -> None:
    entry, behind, _, exits = PLACES[kernel]
    call = CODE[kernel].index(bytes.fromhex(CALLS[kernel][0]))
    assert place(CODE[kernel], ADDRESS, functions) == Placement(entry, ((call, behind),), PUSHED, exits)


@pytest.mark.parametrize("kernel", CODE)
def test_with_mitigations_on_the_call_is_the_one_through_the_thunk(kernel: str) -> None:
    off, on = (bytes.fromhex(call) for call in CALLS[kernel])
    assert CODE[kernel].count(off) == 1
    entry, _, behind, exits = PLACES[kernel]
    call = CODE[kernel].index(off)
    assert place(CODE[kernel].replace(off, on), ADDRESS, thunk) == Placement(entry, ((call, behind),), PUSHED, exits)


def test_a_tracer_on_the_fentry_site_does_not_count_as_a_call() -> None:
    # call ftrace trampoline; push rbx; call rax; pop rbx; ret
    assert place(bytes.fromhex("e8fb0f000053ffd05bc3"), ADDRESS, lambda _: set()).calls == ((6, 8),)


def test_a_call_to_where_no_symbol_is_goes_through_an_its_thunk() -> None:
    # push rbx; call +0x1000; call +0x2000; pop rbx; ret
    code = bytes.fromhex("53e8fa0f0000e8f51f00005bc3")
    assert place(code, ADDRESS, lambda address: set() if address == ADDRESS + 0x1000 else {"nf_queue"}).calls == ((1, 6),)


def test_a_jump_to_the_return_thunk_is_an_exit() -> None:
    # push rbx; call rax; pop rbx; jmp +0x1000
    code = bytes.fromhex("53ffd05be9f70f0000")
    placement = place(code, ADDRESS, lambda address: {"srso_return_thunk" if address == ADDRESS + 0x1000 else "kfree_skb"})
    assert placement.exits == (4,)


def test_stack_that_the_prologue_reserves_counts() -> None:
    # push rbp; sub rsp, 0x20; call rax; add rsp, 0x20; pop rbp; ret
    assert place(bytes.fromhex("554883ec20ffd04883c4205dc3"), ADDRESS, functions).depth == 8 + 0x20


@pytest.mark.parametrize(("code", "complaint"), [
    ("53ffd0ffd05bc3", "2 indirect calls"),
    ("535bc3", "0 indirect calls"),
    ("53ffd05b", "0 returns"),
    ("53ffd05be9f70f0000", "ends in a jump"),
], ids=["two calls", "no call", "no return", "tail call"])
def test_any_other_shape_is_refused(code: str, complaint: str) -> None:
    with pytest.raises(GuestError, match=complaint):
        place(bytes.fromhex(code), ADDRESS, functions)


def test_a_call_through_memory_is_probed_behind_it_and_refused_where_it_must_be_probed_itself() -> None:
    # push rbx; call [rax+8]; call +0x1000; pop rbx; ret
    code = bytes.fromhex("53ff5008e8f70f00005bc3")
    assert place(code, ADDRESS, functions).calls == ((1, 4),)
    with pytest.raises(GuestError, match=r"br_handle_frame calls through memory at \+0x1, .* CONFIG_MITIGATION_RETPOLINE"):
        place(code, ADDRESS, functions, "br_handle_frame", okfn="nf_queue")
    with pytest.raises(GuestError, match="nf_reinject calls through memory"):
        place_all(code, ADDRESS, functions, "nf_reinject")


def test_bytes_that_are_no_instructions_are_refused() -> None:
    with pytest.raises(GuestError, match="in 4 of 36 bytes"):
        place(bytes.fromhex("53ffd0c3") + b"\x06" * 32, ADDRESS, functions)


@pytest.mark.parametrize(("code", "offset"), [
    ("f30f1efa0f1f44000053c3", 9),
    ("666666669053c3", 5),
    ("f30f1efae81122334453c3", 9),
    ("53c3", 0),
], ids=["endbr64 and nop", "nop", "traced by another program", "no fentry"])
def test_the_entry_probe_is_behind_the_fentry_site(code: str, offset: int) -> None:
    assert after_prologue(bytes.fromhex(code)) == offset


def test_indirect_calls_are_those_through_a_register_or_a_thunk() -> None:
    # push rbx; call rax; call +0x1000; call +0x2000; pop rbx; ret
    code = bytes.fromhex("53ffd0e8f80f0000e8f31f00005bc3")
    names = {ADDRESS + 0x1000: {"__x86_indirect_thunk_rax"}, ADDRESS + 0x2000: {"nft_cmp_eval"}}
    assert indirect_calls(code, ADDRESS, lambda address: names.get(address, set())) == (1, 3)
    with pytest.raises(GuestError, match=r"calls through memory at \+0x1"):
        indirect_calls(bytes.fromhex("53ff50085bc3"), ADDRESS, functions)


def test_returns_are_all_places_that_leave_a_function_and_a_tail_call_is_refused() -> None:
    # push rbx; pop rbx; ret; int3; pop rbx; ret
    assert returns(bytes.fromhex("535bc3cc5bc3"), ADDRESS, functions, "nft_lookup_eval") == (2, 5)
    # push rbx; pop rbx; jmp +0x1000
    with pytest.raises(GuestError, match="nft_lookup_eval ends in a jump"):
        returns(bytes.fromhex("535be9f90f0000"), ADDRESS, functions, "nft_lookup_eval")


def test_a_jump_to_the_cold_part_of_a_function_does_not_leave_it() -> None:
    # push rbx; pop rbx; jmp +0x1000; ret; and far away: pop rbx; jmp back; or a return
    here, there = bytes.fromhex("535be9f90f0000c3"), range(ADDRESS + 0x1000, ADDRESS + 0x1010)
    assert returns(here, ADDRESS, functions, "tcp_ack", other=there) == (7,)
    whole = range(ADDRESS, ADDRESS + len(here))
    assert returns(bytes.fromhex("5be9ffefffff"), there.start, functions, "tcp_ack.cold", other=whole) == ()
    assert returns(bytes.fromhex("5bc3"), there.start, functions, "tcp_ack.cold", other=whole) == (1,)
