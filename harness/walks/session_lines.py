"""A followed session as JSON Lines: a head, a numbered line for each packet and each registration of a hook, and a numbered tail.

A line's number is its place in the file, the head's being 1: what is missing, doubled or out of place in a recording shows.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import pairwise
from operator import eq
from typing import Any, NamedTuple

__all__ = ("HEAD", "Lines", "looked_through", "numbered", "seen")

#: The number of the head.
HEAD = 1
_NUMBER, _NUMBERS = "line", 1 << 63


class Lines(NamedTuple):
    """What a recording's lines say of themselves.

    :param tail: the last line, ``None`` of a recording that was cut short
    :param doubled: numbers of lines that come more than once
    :param damage: what is wrong between head and tail, empty for nothing
    """

    tail: dict[str, Any] | None
    doubled: Set[int]
    damage: str


def numbered(documents: Iterable[dict[str, Any]], last: int) -> Iterator[dict[str, Any]]:
    """Lines with their numbers.

    :param last: the number of the line before
    """
    for number, document in enumerate(documents, last + 1):
        yield {**document, _NUMBER: number}


def looked_through(lines: Iterable[str]) -> Lines:
    """Whether a recording's lines are all there; of each eight bytes are held.

    :param lines: those behind the head; a last one that was not written whole is left out
    """
    numbers, strange, broken, tail = array("q"), 0, 0, None
    for found in map(_parsed, lines):
        if found is None:
            broken += 1
            continue
        strange, broken = strange + broken + (tail is not None), 0
        tail = found if _is_tail(found) else None
        if tail is None and _is_numbered(found):
            numbers.append(found[_NUMBER])
        elif tail is None:
            strange += 1
    end = tail.pop(_NUMBER) if tail else max(numbers, default=HEAD) + 1
    if _is_whole(numbers, end):
        return Lines(tail, frozenset(), "; ".join(_damage((), HEAD + 1, strange)))
    doubled = {number for number, times in Counter(numbers).items() if times > 1}
    return Lines(tail, doubled, "; ".join(_damage(numbers, end, strange)))


def seen(lines: Iterable[str], doubled: Set[int]) -> Iterator[dict[str, Any]]:
    """Each packet and each registration once, without its number. Parameters as of :func:`looked_through` and :class:`Lines`."""
    given: set[int] = set()
    for found in map(_parsed, lines):
        if _is_numbered(found) and not _is_tail(found) and (number := found.pop(_NUMBER)) not in given:
            given |= {number} & doubled
            yield found


def _is_whole(numbers: Sequence[int], end: int) -> bool:
    """Whether there is each number between the head's and the tail's, in its place."""
    return len(numbers) == end - HEAD - 1 and all(map(eq, numbers, range(HEAD + 1, end)))


def _parsed(line: str) -> Any:
    """What a line holds; ``None`` if it is not JSON."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def _is_numbered(document: Any) -> bool:
    return isinstance(document, dict) and type(number := document.get(_NUMBER)) is int and 0 < number < _NUMBERS


def _is_tail(document: Any) -> bool:
    return _is_numbered(document) and "verdict" in document


def _damage(numbers: Sequence[int], end: int, strange: int) -> Iterator[str]:
    """What is wrong with the lines between head and tail.

    :param numbers: theirs, as they stand
    :param end: the tail's
    :param strange: how many lines are no line of a session, or a head or a tail
    """
    wanted = range(HEAD + 1, end)
    if missing := sorted(set(wanted) - set(numbers)):
        yield f"{_named(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    if doubled := sorted(number for number, times in Counter(numbers).items() if times > 1):
        yield f"{_named(doubled)} {'comes' if len(doubled) == 1 else 'come'} more than once"
    if any(number not in wanted for number in numbers) or any(before > after for before, after in pairwise(numbers)):
        yield "lines are out of place"
    if strange:
        yield f"{strange} line{'s' * (strange > 1)} cannot be read"


def _named(numbers: Sequence[int]) -> str:
    """``line 5``, ``lines 5, 7-9``."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][-1] == number - 1:
            ranges[-1] = [ranges[-1][0], number]
        else:
            ranges.append([number])
    return f"line{'s' * (len(numbers) > 1)} {', '.join('-'.join(map(str, each)) for each in ranges)}"
