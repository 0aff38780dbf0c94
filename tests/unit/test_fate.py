"""The vocabulary of ends: one list, and how a fate prints."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources
from typing import get_args

import pytest

from harness import pytest_plugin
from harness.errors import Mistake
from harness.outcome import fate as module
from harness.outcome.fate import Dropped, Fate, FateKind, Rejected, Stolen


def test_the_documents_have_every_end_and_no_other() -> None:
    page = resources.files("harness").joinpath("docs/writing-tests.md").read_text()
    rows = re.findall(r"^\| (?:`(\w+)\(.*\)`)? ?\| ([a-z ]+) \| ", page, re.MULTILINE)
    assert [word for _, word in rows] == list(get_args(FateKind)) == re.findall(r"^``([a-z ]+)``  ", module.__doc__ or "", re.MULTILINE)
    names = {name for name, _ in rows if name}
    assert names == set(pytest_plugin.__all__) - {"Walk"}
    for name, word in rows:
        assert not name or getattr(pytest_plugin, name)().kind == word


@pytest.mark.parametrize("name", sorted(set(pytest_plugin.__all__) - {"Walk"}))
def test_a_fate_prints_as_it_is_written(name: str) -> None:
    made = getattr(pytest_plugin, name)()
    assert eval(repr(made), vars(pytest_plugin)) == made  # noqa: S307


def test_an_errno_prints_by_its_name() -> None:
    assert [repr(one) for one in (Dropped("EHOSTUNREACH"), Dropped(0), Rejected(), Stolen(), Stolen("EPERM"), Fate("unknown"))] == [
        'Dropped("EHOSTUNREACH")', "Dropped(0)", 'Rejected("EPERM")', "Stolen()", 'Stolen("EPERM")', "Unknown()"]


@pytest.mark.parametrize("end", [Dropped, Rejected, Stolen])
def test_an_errno_that_there_is_not_is_a_mistake(end: Callable[[str], Fate]) -> None:
    with pytest.raises(ValueError, match=r'there is no errno "EPREM"; did you mean "EPERM"\?') as mistake:
        end("EPREM")
    assert isinstance(mistake.value, Mistake)


def test_a_reason_is_not_compared() -> None:
    assert Fate("dropped", 1, "nft_do_chain") == Dropped("EPERM") != Dropped("EACCES")
