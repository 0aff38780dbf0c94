"""Records of the programs, decoded."""

from __future__ import annotations

import struct

import pytest

from harness.walks.events import NAME_BYTES, Call, Decision, chain_name, decode

CALL = struct.pack("<BBHIQQQQiIQ", 5, 2, 3, 1, 11, 0xFFFF, 0xBEEF, 0, -5, 70, 99)


def name(text: str) -> bytes:
    """A name as the kernel's copy leaves it: cut to fit with its NUL, rubbish behind."""
    return (text.encode()[:NAME_BYTES - 1] + b"\0").ljust(NAME_BYTES, b"x")


def test_the_call_of_a_base_chain_has_its_name() -> None:
    record = CALL + struct.pack("<QQiI4QQ", 0, 7, -3, 1, 5, 0, 0, 0, 9) + struct.pack("<H6x", 1 | 0x2C0) + name("admin") + name("forward")
    decision = Decision(0, 7, -3, (5,), 1, 9)
    assert decode([record]) == [Call(11, 3, 0xFFFF, 0xBEEF, None, -5, 1, 70, 99, "inet admin forward", decision)]


@pytest.mark.parametrize(("family", "word"), [(2, "ip"), (10, "ip6"), (3, "arp"), (7, "bridge"), (5, "netdev"), (12, "family 12")])
def test_families_go_by_the_names_that_nft_has_for_them(family: int, word: str) -> None:
    assert chain_name(family, name("t"), name("c")) == f"{word} t c"


def test_a_name_that_was_cut_shows_it() -> None:
    assert chain_name(2, name("t" * 63), name("c" * 62)) == f"ip {'t' * 63}… {'c' * 62}"
