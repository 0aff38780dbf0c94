"""Whether a scenario makes sense as a whole: names that exist, ids used once, addresses that lead somewhere."""

from __future__ import annotations

from harness.scenario.forms import BY_STEP
from harness.scenario.forms.form import Scope
from harness.scenario.forms.topologies import check_topology
from harness.scenario.reader import fail, suggest
from harness.scenario.steps import Scenario

__all__ = ("check",)


def check(scenario: Scenario) -> None:
    """:raises UserError: with the path of the first thing that makes no sense"""
    if not scenario.name or len(scenario.name) > 64:
        fail("name", "a scenario's name has 1 to 64 characters")
    check_topology(scenario.topology)
    scope = Scope(scenario.topology)
    for scope.index, step in enumerate(scenario.steps):
        BY_STEP[type(step)].check(scope, step, f"steps[{scope.index}]")
    for path, cookie in scope.awaited:
        if cookie not in scope.cookies:
            fail(path, f"no packet of the scenario carries the cookie {cookie}", suggest(cookie, map(str, scope.cookies), what="sent"))
