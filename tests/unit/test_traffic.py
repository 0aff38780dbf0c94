"""Packets and their cookies, as far as they need no kernel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.guest.traffic import COOKIE_BYTES, MAGIC, cookie_of, payload

HEADER = Path(__file__).parents[2] / "kmod" / "nfharness.h"


def test_a_payload_ends_with_the_magic_and_the_cookie_big_endian() -> None:
    assert payload(20, 0x0102)[-16:] == b"nfharnes\0\0\0\0\0\0\x01\x02"


@pytest.mark.parametrize("size", [COOKIE_BYTES, 17, 1400])
@pytest.mark.parametrize("cookie", [0, 1, 2**64 - 1])
def test_a_payload_has_the_size_asked_for_and_its_cookie_is_read_back(size: int, cookie: int) -> None:
    data = payload(size, cookie)
    assert len(data) == size
    assert cookie_of(data) == cookie


def test_a_payload_too_small_for_a_cookie_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes, not 15"):
        payload(COOKIE_BYTES - 1, 1)


@pytest.mark.parametrize("data", [b"", b"short", b"x" * 16, payload(16, 1) + b"\0"])
def test_what_does_not_end_with_a_cookie_has_none(data: bytes) -> None:
    assert cookie_of(data) is None


def test_the_magic_is_the_modules() -> None:
    magic = re.search(r'NFHARNESS_COOKIE_MAGIC\s+"(\w+)"', HEADER.read_text())
    assert magic
    assert magic[1].encode() == MAGIC
