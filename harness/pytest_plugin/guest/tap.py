"""The Test Anything Protocol and KTAP, its form in the kernel (Documentation/dev-tools/ktap.rst): the points that a program prints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

__all__ = ("TapPoint", "TapTold", "told")

_VERSION, _PLAN = re.compile(r"K?TAP version \d+"), re.compile(r"1\.\.(\d+)(?:\s*#\s*(.*))?")
_POINT = re.compile(
    r"(?P<indent>\s*)(?P<mark>(?:not )?ok)\b(?: +\d+)?(?: +-)?(?: +(?P<name>.*?))?"
    r"(?:\s*#\s*(?P<word>SKIP|TODO|XFAIL)\w*:?(?:\s+(?P<why>.*))?)?", re.IGNORECASE)
_BAIL = "Bail out!"


@dataclass(frozen=True, slots=True)
class TapPoint:
    """One point of TAP: a result.

    :param name: of a subtest, with those of the tests that it belongs to before it
    :param outcome: ``passed``, ``failed``, ``skipped`` or ``xfailed`` (``TODO`` and ``XFAIL`` that did fail)
    :param why: the reason that stands with ``SKIP``, ``TODO`` and ``XFAIL``
    :param detail: the lines before it since the point before
    """

    name: str
    outcome: str
    why: str = ""
    detail: tuple[str, ...] = ()


@dataclass(slots=True)
class TapTold:
    """What a program said by the protocol.

    :ivar points: without those whose subtests say all
    :ivar wrong: what is not as the protocol wants it, in words: an end before the plan's, ``Bail out!``
    :ivar skipped: why the plan is empty (``1..0 # SKIP reason``)
    """

    points: list[TapPoint] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    skipped: str | None = None


def told(output: str) -> TapTold | None:
    """What a program said; ``None`` if it does not speak the protocol: neither a version nor a plan in its output, or no point.

    Points that are indented deeper belong to the next one that is not.
    """
    found, pending, detail, plan, speaks, count = TapTold(), list[tuple[int, TapPoint]](), list[str](), None, False, 0
    for line in output.splitlines():
        words = line.strip()
        if _VERSION.fullmatch(words):
            speaks = True
        elif match := _PLAN.fullmatch(line):
            plan, speaks = int(match[1]), True
            found.skipped = (match[2] or "nothing to test").strip() if plan == 0 else None
        elif point := _POINT.fullmatch(line):
            indent = len(point["indent"].expandtabs())
            below = [one for depth, one in pending if depth > indent]
            pending = [(depth, one) for depth, one in pending if depth <= indent]
            pending += [(indent, one) for one in _joined(_read(point, tuple(detail)), below)]
            detail.clear()
            count += indent == 0
        elif words.startswith(_BAIL):
            found.wrong.append(words)
        elif words:
            detail.append(line)
    found.points = [one for _, one in pending]
    if plan is not None and count != plan and not found.wrong:
        found.wrong.append(f"the plan is {plan} tests, and {count} were seen")
    return found if speaks and (found.points or found.skipped is not None or found.wrong) else None


def _read(match: re.Match[str], detail: tuple[str, ...]) -> TapPoint:
    word, good = (match["word"] or "").upper(), match["mark"].lower() == "ok"
    outcome = "skipped" if word == "SKIP" else "passed" if good else "xfailed" if word else "failed"
    return TapPoint((match["name"] or "").strip() or "unnamed", outcome, (match["why"] or "").strip(), detail)


def _joined(point: TapPoint, below: Iterable[TapPoint]) -> Iterator[TapPoint]:
    """A test's subtests under its name; the test itself if it has none, or failed although none of them did."""
    own = list(below)
    yield from (replace(one, name=f"{point.name} / {one.name}") for one in own)
    if not own or (point.outcome == "failed" and all(one.outcome != "failed" for one in own)):
        yield point
