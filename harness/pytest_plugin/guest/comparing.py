"""What a comparison of fates shows that fails: the packet's walk, and the hook that decided."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import get_args

import pytest

from harness.outcome import fate
from harness.outcome.fate import Fate, FateKind
from harness.pytest_plugin.walks import Walk

__all__ = ("WALKED", "Comparing", "explained")

#: Where a test keeps the walks of the packets that it sent or traced.
WALKED = pytest.StashKey[list[Walk]]()


class Comparing:
    """Hooks of a pytest whose tests compare fates."""

    def __init__(self) -> None:
        self._item: pytest.Item | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Remember which test it is that compares."""
        self._item = item

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> list[str] | None:
        """A fate and what it is compared with; the walk is that of either, or of one of several."""
        sides = [*_each(left), *_each(right)]
        fates = [one for one in sides if isinstance(one, Fate)]
        if not (isinstance(left, Fate) or isinstance(right, Fate)) or self._item is None:
            return None
        walks = (walk for walk in self._item.stash.get(WALKED, []) if any(walk.fate is one for one in fates))
        return [f"{left!r} {op} {right!r}", *map(_no_fate, (one for one in sides if not isinstance(one, Fate))), *explained(walks)]


def _each(side: object) -> Collection[object]:
    """The members of what ``in`` looks through; anything else alone."""
    return side if isinstance(side, (tuple, list, set, frozenset)) else (side,)


def _no_fate(value: object) -> str:
    """What to compare a fate with instead."""
    meant = _ENDS.get(_letters(value)) if isinstance(value, str) else None
    return f"{value!r} is no fate; " + (f"compare with {meant}" if meant else f"fates are {', '.join(dict.fromkeys(_ENDS.values()))}")


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text)).lower()


def _ends() -> Iterator[tuple[str, str]]:
    for kind in get_args(FateKind):
        name = repr(Fate(kind)).partition("(")[0]
        if name in fate.__all__:
            yield from ((_letters(text), f"{name}()") for text in (kind, name))


#: Letters of an end's word, and of its name → how a test writes it.
_ENDS = dict(_ends())


def explained(walks: Iterable[Walk]) -> Iterator[str]:
    """The first of the walks, hook point by hook point, and what decided."""
    for walk in walks:
        yield f"the walk of {walk.packet}"
        yield from (f"  {visit}" for visit in walk.visits)
        yield f"  {walk.decided}"
        return
