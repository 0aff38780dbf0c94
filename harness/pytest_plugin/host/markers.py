"""Whether a test's markers make sense: one that is misspelt would have no effect, or another."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from harness.outcome.profile import KernelProfile
from harness.pytest_plugin.mistakes import Mistake, chosen, text

__all__ = ("check_markers",)

_LEVELS = {level: level for level in ("worker", "module", "test")}
#: Marker → what it takes by name, beside its one argument.
_TAKES: dict[str, dict[str, str]] = {"isolation": {}, "deadline": {}, "may_warn": {}, "known_bug": {"unless": "unless"}}
_PROBES = {one.name: one.name for one in fields(KernelProfile)}


def check_markers(item: pytest.Item) -> None:
    """Look whether a test's markers make sense.

    :raises Mistake: a marker of ours lacks an argument, or has one that means nothing
    """
    for mark in item.iter_markers():
        if mark.name in _TAKES:
            _check_arguments(mark)
        if mark.name == "isolation":
            chosen("level of isolation", mark.args[0], _LEVELS)
        elif mark.name == "deadline" and not (isinstance(mark.args[0], (int, float)) and mark.args[0] > 0):
            raise Mistake(f"the deadline is {mark.args[0]!r}", hint="seconds, more than 0")
        elif mark.name == "may_warn":
            try:
                re.compile(text("may_warn's pattern", mark.args[0], "a regular expression"))
            except re.error as error:
                raise Mistake(f"may_warn({mark.args[0]!r}): {error}", hint="a regular expression") from None
        elif mark.name == "known_bug" and mark.kwargs.get("unless") is not None:
            chosen("probe", mark.kwargs["unless"], _PROBES)


def _check_arguments(mark: pytest.Mark) -> None:
    """One argument, and by name none that the marker does not have."""
    if not mark.args:
        raise Mistake(f"the marker {mark.name} has no argument", hint="pytest --markers")
    if len(mark.args) > 1:
        raise Mistake(f"the marker {mark.name} has {len(mark.args)} arguments and takes one", hint="pytest --markers")
    for name in mark.kwargs:
        chosen(f"argument of the marker {mark.name}", name, _TAKES[mark.name])
