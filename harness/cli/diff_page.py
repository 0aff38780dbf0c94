"""``diff --html``: what two kernels do differently, as a page."""

from __future__ import annotations

import time

from harness.cli.pages import rendered
from harness.cli.profile import in_words
from harness.conformance.contrast import OTHERS, KernelContrast, outcome
from harness.conformance.contrast_notes import functions, notes, of_state
from harness.conformance.coverage import functions_of
from harness.conformance.report import printable

__all__ = ("page",)


def page(run: KernelContrast, seconds: float) -> str:
    """The report's HTML.

    :param seconds: that the comparison took
    """
    return printable(rendered(
        "diff.html",
        made=time.strftime("%Y-%m-%d %H:%M:%S %z"),
        seconds=seconds,
        names=[one.name for one in run.on],
        identities=[one.identity() for one in run.on],
        total=len(run.rules),
        outcome=outcome(run),
        notes=notes(run),
        others=OTHERS,
        in_words=in_words,
        functions=functions,
        functions_of=functions_of,
        different=of_state(run, "different"),
        explained=of_state(run, "explained"),
        inconclusive=of_state(run, "inconclusive"),
        alike=of_state(run, "alike"),
        neither=of_state(run, "neither"),
        missed=run.missed,
        hooks=sorted(run.names.items()),
    ))
