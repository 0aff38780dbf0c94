"""What execnet carries from one pytest to another: anything that a test can put into a report, and no lone surrogate."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import execnet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.pytest_plugin.carried import plain

pytest_plugins = ["pytester"]


class Sized(enum.IntEnum):
    ONE = 1


class Unshown:
    def __repr__(self) -> str:
        raise KeyboardInterrupt


ODD: list[Any] = [object(), Path("/"), Sized.ONE, type("Text", (str,), {})("x"), 10**5000, Unshown(), {1: {2: object()}}, 1j, range(3)]


def odd(place: int) -> Any:
    return ODD[place]


SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.integers(0, len(ODD) - 1).map(odd)
TEXT = st.text(st.characters(categories=["Cs", "L", "Cc"]))


@given(st.recursive(SIMPLE | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)))
def test_anything_becomes_what_execnet_carries(value: object) -> None:
    execnet.dumps(plain(value))


@pytest.mark.parametrize("value", [None, True, 7, 1.5, b"x", "ü", [1, (2,)], {"a": {3}}, frozenset([4])])
def test_what_is_plain_stays_as_it_is(value: object) -> None:
    assert plain(value) == value
    assert type(plain(value)) is type(value)


def test_what_contains_itself_ends() -> None:
    value: list[object] = []
    value.append(value)
    execnet.dumps(plain(value))


def test_a_worker_of_xdist_sends_what_its_tests_say(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import warnings
        def test_surrogate(): assert "\\udcff" == ""
        def test_property(record_property): record_property("x", object())
        def test_warning(): warnings.warn("\\udcff")
    """)
    done = pytester.runpytest_subprocess("-n1", "-p", "no:cacheprovider")
    done.assert_outcomes(failed=1, passed=2, warnings=1)
