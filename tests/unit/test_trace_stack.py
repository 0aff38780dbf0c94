"""How deep the stack is at an instruction, whatever stands above it in the code."""

from __future__ import annotations

import pytest

from harness.trace.stack import depths


@pytest.mark.parametrize(("code", "offset", "depth"), [
    ("53ffd05bc3", 1, 8),  # push %rbx; call *%rax; pop %rbx; ret
    ("534883ec20ffd04883c4205bc3", 5, 0x28),
    ("53 50 e8fb0f0000 5a ffd0 5bc3", 8, 8),  # an argument is pushed for a call in between: push %rax; call; pop %rdx
    ("53 6a01 e8fb0f0000 4883c408 ffd0 5bc3", 12, 8),  # push $1; call; add $8, %rsp
    ("53 85ff 7402 5bc3 ffd0 5bc3", 7, 8),  # test; je behind the return, which has given back what is in use there
    ("85ff 7401 c3 53 ffd0 5bc3", 6, 8),  # an early return before anything is taken
    ("55 4889e5 53 4883ec30 ffd0 488d65f8 5b 5d c3", 9, 0x40),  # mov %rsp, %rbp
    ("55 4889e5 53 4883ec30 ffd0 488d65f8 5b 5d c3", 15, 0x10),  # lea -8(%rbp), %rsp
    ("55 4889e5 4883ec30 c9 c3", 9, 0),  # leave
    ("53 74fd ffd0 5bc3", 3, 8),  # a jump back to what is known
    ("53 7405 e8fb0f0000 ffd0 5bc3", 8, 8),  # a call that does not return, before what a jump leads to
])
def test_depth(code: str, offset: int, depth: int) -> None:
    assert depths(bytes.fromhex(code))[offset] == depth


def test_what_a_static_key_leads_to_is_as_deep_as_most() -> None:
    found = depths(bytes.fromhex("53 4883ec10 0f1f440000 31c0 31c0 4883c410 5bc3 cccc ffd0 ebf0"))
    assert {offset: depth for offset, depth in found.items() if offset > 19} == {22: 0x18, 24: 0x18}  # not the int3 before it


def test_behind_an_aligned_stack_there_is_no_depth() -> None:
    assert depths(bytes.fromhex("4883e4e0 ffd0 c3")) == {0: 0}  # and $-32, %rsp
