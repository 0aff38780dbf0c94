"""The kernel's vocabulary: numbers, names and verdicts as netfilter.h has them."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.netfilter import HOOK_POINTS, Family, Verdict, VerdictKind, errno_name, hook_name, hook_number
from harness.outcome.codec import verdict_from_text
from tests.strategies import verdicts


@given(verdicts)
def test_a_verdict_survives_encoding(verdict: Verdict) -> None:
    assert Verdict.decode(verdict.encode()) == verdict


@pytest.mark.parametrize(("verdict", "value", "text"), [
    (Verdict(VerdictKind.DROP), 0, "DROP"),
    (Verdict(VerdictKind.ACCEPT), 1, "ACCEPT"),
    (Verdict(VerdictKind.DROP, errno.EHOSTUNREACH), 113 << 16, "DROP(EHOSTUNREACH)"),
    (Verdict(VerdictKind.STOLEN, errno.EPERM), 0x10002, "STOLEN(EPERM)"),
    (Verdict(VerdictKind.QUEUE, queue=3), 0x30003, "QUEUE(3)"),
    (Verdict(VerdictKind.QUEUE, queue=3, bypass=True), 0x38003, "QUEUE(3, bypass)"),
])
def test_verdicts_as_a_hook_returns_them(verdict: Verdict, value: int, text: str) -> None:
    assert (verdict.encode(), Verdict.decode(value), str(verdict)) == (value, verdict, text)


def test_only_the_low_byte_makes_an_accept() -> None:
    assert Verdict.decode(0xABCD0001) == Verdict(VerdictKind.ACCEPT, rest=0xABCD0000)


@pytest.mark.parametrize(("value", "text"), [
    (6, "VERDICT6"), (0xFF, "VERDICT255"), (0x10007, "VERDICT7+0x10000"), (0xABCD0001, "ACCEPT+0xabcd0000"),
    (0x71FF00, "DROP(EHOSTUNREACH)+0xff00"), (0x3FF03, "QUEUE(3, bypass)+0x7f00"),
])
def test_what_has_no_name_keeps_its_number(value: int, text: str) -> None:
    verdict = Verdict.decode(value)
    assert (str(verdict), verdict.encode(), verdict_from_text(text)) == (text, value, verdict)


@pytest.mark.parametrize("value", [-1, 0x100])
def test_more_than_a_byte_is_no_kind_of_verdict(value: int) -> None:
    with pytest.raises(ValueError, match="is not a valid VerdictKind"):
        VerdictKind(value)


@given(st.sampled_from([(family, name) for family in Family for name in HOOK_POINTS[family]]))
def test_hook_points_have_a_number_and_a_name(point: tuple[Family, str]) -> None:
    family, name = point
    assert hook_name(family, hook_number(family, name)) == name


def test_names_of_what_has_none() -> None:
    assert hook_name(Family.IPV4, 7) == "HOOK7"
    assert [errno_name(-1), errno_name(113), errno_name(4000)] == ["EPERM", "EHOSTUNREACH", "4000"]
    with pytest.raises(KeyError):
        hook_number(Family.IPV4, "INGRESS")
