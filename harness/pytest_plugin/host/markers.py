"""Whether a test's markers make sense: one that is misspelt would have no effect, or another."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from harness.outcome.profile import KernelProfile
from harness.pytest_plugin.mistakes import Mistake, chosen

__all__ = ("check_markers",)

_LEVELS = {level: level for level in ("worker", "module", "test")}
_PROBES = {one.name: one.name for one in fields(KernelProfile)}


def check_markers(item: pytest.Item) -> None:
    """Look whether a test's markers make sense.

    :raises Mistake: a marker of ours lacks an argument, or has one that means nothing
    """
    for mark in item.iter_markers():
        if mark.name == "isolation":
            chosen("level of isolation", _first(mark), _LEVELS)
        elif mark.name == "deadline" and not (isinstance(_first(mark), (int, float)) and mark.args[0] > 0):
            raise Mistake(f"the deadline is {mark.args[0]!r}", hint="seconds, more than 0")
        elif mark.name == "may_warn":
            try:
                re.compile(str(_first(mark)))
            except re.error as error:
                raise Mistake(f"may_warn({mark.args[0]!r}): {error}", hint="a regular expression") from None
        elif mark.name == "known_bug":
            _first(mark)
            if mark.kwargs.get("unless") is not None:
                chosen("probe", mark.kwargs["unless"], _PROBES)


def _first(mark: pytest.Mark) -> object:
    if not mark.args:
        raise Mistake(f"the marker {mark.name} has no argument", hint="pytest --markers")
    return mark.args[0]
