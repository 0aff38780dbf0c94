"""``mutate --html``: core.c with its mutants at their lines, and who caught which."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from harness.cli.pages import rendered
from harness.conformance.matrix import Target
from harness.conformance.report import printable
from harness.mutate.report import STATES, Judged, counted, pace

__all__ = ("page",)


def page(source: str, on: Target, text: str, judged: Sequence[Judged], left_out: Mapping[str, str]) -> str:
    """The report's HTML.

    :param source: the tree
    :param text: its core.c, without mutants
    :param left_out: mutants that are not in the kernel, by name, and why
    """
    at: dict[int, list[Judged]] = {}
    for one in judged:
        at.setdefault(one.mutant.line, []).append(one)
    worst = {line: next(state for state in STATES if any(one.outcome == state for one in those)) for line, those in at.items()}
    return printable(rendered(
        "mutate.html", made=time.strftime("%Y-%m-%d %H:%M:%S %z"), source=source, identity=on.identity(), judged=judged,
        lines=list(enumerate(text.splitlines(), 1)), at=at, worst=worst, states=STATES, counts=counted(judged), pace=pace(judged),
        told=[one for state in STATES for one in judged if one.outcome == state and state not in ("caught", "equivalent", "unseen")],
        left_out=left_out))
