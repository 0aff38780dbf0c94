"""A followed session as JSON Lines: a head, a numbered line for each packet and each registration of a hook, and a numbered tail.

A line's number is its place in the file, the head's being 1: what is missing, doubled or out of place in a recording shows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

__all__ = ("HEAD", "Lines", "numbered", "parted")

#: The number of the head.
HEAD = 1
_NUMBER = "line"


class Lines(NamedTuple):
    """What the lines of a recording hold.

    :param head: the first line
    :param seen: packets and registrations, each once
    :param tail: the last line, ``None`` of a recording that was cut short
    :param damage: what is wrong between them, empty for nothing
    """

    head: dict[str, Any]
    seen: list[dict[str, Any]]
    tail: dict[str, Any] | None
    damage: str


def numbered(documents: Iterable[dict[str, Any]], last: int) -> Iterator[dict[str, Any]]:
    """Lines with their numbers.

    :param last: the number of the line before
    """
    for number, document in enumerate(documents, last + 1):
        yield {**document, _NUMBER: number}


def parted(lines: Sequence[str]) -> Lines:
    """The lines of a recording; a last one that was not written whole is left out.

    :raises ValueError: the first line is no head
    """
    parsed = list(map(_parsed, lines))
    while parsed and parsed[-1] is None:
        parsed.pop()
    if not parsed or not isinstance(parsed[0], dict) or "trace" not in parsed[0]:
        raise ValueError("no session")
    head, *rest = parsed
    tail = rest.pop() if rest and _is_tail(rest[-1]) else None
    between = [each for each in rest if _is_numbered(each) and not _is_tail(each)]
    numbers = [each.pop(_NUMBER) for each in between]
    kept: dict[int, dict[str, Any]] = {}
    for number, each in zip(numbers, between, strict=True):
        kept.setdefault(number, each)
    end = tail.pop(_NUMBER) if tail else max(kept, default=HEAD) + 1
    return Lines(head, list(kept.values()), tail, "; ".join(_damage(numbers, end, len(rest) - len(between))))


def _parsed(line: str) -> Any:
    """What a line holds; ``None`` if it is not JSON."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def _is_numbered(document: Any) -> bool:
    return isinstance(document, dict) and type(document.get(_NUMBER)) is int


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
