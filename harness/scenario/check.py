"""Whether a scenario makes sense as a whole: names that exist, ids used once, addresses that lead somewhere."""

from __future__ import annotations

from harness.scenario.reader import fail, quote, suggest
from harness.scenario.scope import Scope
from harness.scenario.step import Scenario, Step
from harness.scenario.topologies import check_topology

__all__ = ("admit", "check")


def check(scenario: Scenario) -> None:
    """Look whether a scenario makes sense, step by step.

    :raises UserError: with the path of the first thing that makes no sense
    """
    if not scenario.name or len(scenario.name) > 64:
        fail("name", "a scenario's name has 1 to 64 characters")
    check_topology(scenario.topology)
    scope = Scope(scenario.topology)
    for step in scenario.steps:
        admit(scope, step, f"steps[{scope.index}]")
    for path, cookie in scope.awaited:
        if cookie not in scope.cookies:
            fail(path, f"no packet of the scenario carries the cookie {cookie}", suggest(cookie, map(str, scope.cookies), what="sent"))


def admit(scope: Scope, step: Step, path: str) -> None:
    """Take a step into the scope: what it brings about, the topology that it leaves, and the number of the next step.

    :raises UserError: with the path of what makes no sense after the steps before it
    """
    step.check(scope, path)
    if (first := scope.topology.first) and first in step.facts.rules(step):
        fail(path, f"{quote(first)} is the machine's first namespace, where a ruleset would stay",
             "give the ruleset to another namespace")
    scope.topology = step.after(scope.topology)
    scope.index += 1
