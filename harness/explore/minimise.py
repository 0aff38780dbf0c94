"""Making a scenario smaller while it still differs in the same way: delta debugging of its steps, then of what is in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import MISSING, fields, replace
from typing import Any

from harness.errors import UserError
from harness.explore.sound import without_idle_cookies
from harness.explore.steps import DRAWN
from harness.scenario.check import admit, check
from harness.scenario.scope import Scope
from harness.scenario.step import Scenario, Step
from harness.scenario.topologies import check_topology
from harness.scenario.topology import Topology

__all__ = ("Differs", "fewest", "minimised")

Differs = Callable[[Scenario], Awaitable[bool]]


async def minimised(scenario: Scenario, differs: Differs) -> Scenario:
    """The smallest that can be reached, one change at a time.

    :param differs: asks the kernel, once for each scenario; what it raises ends this
    """
    smaller = _asked_once(scenario, differs)
    before = None
    while before != scenario:
        before = scenario
        scenario = await _with_fewer_steps(scenario, smaller)
        scenario = await _with_plainer_steps(scenario, smaller)
        scenario = await _on_less_ground(scenario, smaller)
    return scenario


async def fewest(scenario: Scenario, differs: Differs) -> Scenario:
    """The scenario with steps of which none can be left out, each as it is.

    :param differs: as :func:`minimised` has it
    """
    return await _with_fewer_steps(scenario, _asked_once(scenario, differs))


Try = Callable[[Scenario | None], Awaitable[bool]]


def _asked_once(scenario: Scenario, differs: Differs) -> Try:
    """Whether a candidate that was not tried before differs."""
    known: dict[Scenario, bool] = {scenario: True}

    async def smaller(candidate: Scenario | None) -> bool:
        if candidate is None or candidate in known:
            return False
        known[candidate] = await differs(candidate)
        return known[candidate]

    return smaller


async def _with_fewer_steps(scenario: Scenario, smaller: Try) -> Scenario:
    """Leave out halves, quarters … single steps, the last ones first: what they need may go after them."""
    size = len(scenario.steps)
    while size:
        end = len(scenario.steps)
        while end > 0:
            start = max(0, end - size)
            candidate = _sound(scenario, scenario.steps[:start] + scenario.steps[end:])
            if await smaller(candidate):
                assert candidate is not None  # noqa: S101
                scenario = candidate
            end = min(start, len(scenario.steps))
        size //= 2
    return scenario


def _sound(scenario: Scenario, steps: Sequence[Step]) -> Scenario | None:
    """The scenario with these steps, less those that make no sense without others; ``None`` if it is no scenario."""
    scope = Scope(scenario.topology)
    kept: list[Step] = []
    for step in steps:
        try:
            admit(scope, step, "")
        except UserError:
            continue
        kept.append(step)
    return _checked(replace(scenario, steps=without_idle_cookies(kept)))


def _checked(scenario: Scenario) -> Scenario | None:
    try:
        check(scenario)
    except UserError:
        return None
    return scenario


async def _with_plainer_steps(scenario: Scenario, smaller: Try) -> Scenario:
    for priority in sorted({step.common("priority") for step in scenario.steps} - {0}):
        # Those of equal priority together: that they are equal may be what matters.
        steps = tuple(_with(step, priority=0) if step.common("priority") == priority else step for step in scenario.steps)
        if (candidate := _sound(scenario, steps)) is not None and await smaller(candidate):
            scenario = candidate
    for index in range(len(scenario.steps)):
        for plainer in _plainer(scenario.steps[index]):
            candidate = _sound(scenario, (*scenario.steps[:index], plainer, *scenario.steps[index + 1:]))
            if candidate is not None and len(candidate.steps) == len(scenario.steps) and await smaller(candidate):
                scenario = candidate
                break
    return scenario


def _plainer(step: Step) -> Iterator[Step]:
    """Everything at its default; then one thing after the other. Fewer hooks, where there are several."""
    values: dict[str, Any] = {field.name: field.default for field in fields(step) if field.default is not MISSING}
    defaults = {name: value for name, value in values.items() if name != "device" and getattr(step, name) != value}
    if len(defaults) > 1:
        yield _with(step, **defaults)
    for name, value in defaults.items():
        yield _with(step, **{name: value})
    for name, hooks in _parts(step):
        yield from (_with(step, **{name: hooks[:at] + hooks[at + 1:]}) for at in range(len(hooks)))
        yield from (_with(step, **{name: (*hooks[:at], plain, *hooks[at + 1:])})
                    for at, hook in enumerate(hooks) for plain in _plainer(hook))
    if step.concern in DRAWN:
        yield from DRAWN[step.concern].plainer(step)


def _parts(step: Step) -> Iterator[tuple[str, tuple[Step, ...]]]:
    """The steps that a step is made of, by the name that they have in it."""
    for field in fields(step):
        value = getattr(step, field.name)
        if isinstance(value, tuple) and value and all(isinstance(one, Step) for one in value):
            yield field.name, value


def _with(step: Step, **changes: Any) -> Step:
    return replace(step, **changes)


async def _on_less_ground(scenario: Scenario, smaller: Try) -> Scenario:
    """Leave out namespaces with all that is in them, links, routes, addresses, forwarding."""
    shrunk = True
    while shrunk:
        shrunk = False
        for topology in _lesser(scenario.topology):
            candidate = replace(scenario, topology=topology)
            if _is_topology(topology) and _checked(candidate) and await smaller(candidate):
                scenario, shrunk = candidate, True
                break
    return scenario


def _is_topology(topology: Topology) -> bool:
    try:
        check_topology(topology)
    except UserError:
        return False
    return True


def _lesser(topology: Topology) -> Iterator[Topology]:
    named = replace(topology, name="less")
    for netns in topology.namespaces:
        links = tuple(link for link in topology.links if netns not in (link.a.netns, link.b.netns))
        yield replace(named, namespaces=tuple(name for name in topology.namespaces if name != netns), links=links,
                      dummies=tuple(end for end in topology.dummies if end.netns != netns),
                      routes=tuple(route for route in topology.routes if route.netns != netns),
                      forwarding=tuple(name for name in topology.forwarding if name != netns),
                      first=None if netns == topology.first else topology.first)
    if topology.first is not None:
        yield replace(named, first=None)
    for name in ("links", "routes", "forwarding", "dummies"):
        parts = getattr(topology, name)
        yield from (replace(named, **{name: parts[:at] + parts[at + 1:]}) for at in range(len(parts)))
