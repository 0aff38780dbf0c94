"""How steps are drawn at random: for each concern that is drawn a file of its name, which says how (:mod:`harness.scenario.step`).

The life of a drawn step: :mod:`harness.explore.scenarios` picks a concern by its ``times`` for the sort of scenario, and one of its
``makers``, which draws a step that makes sense after those so far, or none; the step is checked like one from a file; ``faults`` may let
its allocations fail. When a scenario is shrunk, ``plainer`` gives steps like it that are simpler.

Read ``maker`` first, then ``hooks``. What each file says of its concern is a :class:`~harness.explore.steps.maker.Drawn`. A concern of
which no kind is drawn has no file here; the fact ``not_drawn`` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from harness.explore.steps.maker import Drawn
from harness.scenario.step import KINDS

__all__ = ("DRAWN",)


def _drawn() -> dict[str, Drawn]:
    found = {}
    for concern in dict.fromkeys(kind.concern for kind in KINDS.values() if not kind.facts.not_drawn):
        module = import_module(f"{__name__}.{concern}")
        if not isinstance(getattr(module, "DRAWN", None), Drawn):
            raise ImportError(f"{module.__name__} has no DRAWN, which says how its steps are drawn")
        found[concern] = module.DRAWN
    return found


#: By the name of the concern.
DRAWN: Mapping[str, Drawn] = _drawn()
