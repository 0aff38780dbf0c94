"""Scenario ↔ JSON. What is read is checked in full: a scenario that comes out of here makes sense."""

from __future__ import annotations

import json
from typing import Any

from harness.scenario.check import check
from harness.scenario.reader import Value, parse, suggest
from harness.scenario.step import KINDS, Scenario, Step
from harness.scenario.topologies import topology, topology_json
from harness.scenario.topology import TOPOLOGIES

__all__ = ("dumps", "from_json", "line", "loads", "to_json")


def loads(text: str) -> Scenario:
    """The scenario that a JSON text describes.

    :raises UserError: not JSON, or not a scenario that makes sense; the message has the place
    """
    return from_json(parse(text).value)


def dumps(scenario: Scenario) -> str:
    """JSON that :func:`loads` reads back as an equal scenario."""
    return json.dumps(to_json(scenario), indent=2, ensure_ascii=False) + "\n"


def line(scenario: Scenario) -> str:
    """The JSON of :func:`dumps`, on one line."""
    return json.dumps(to_json(scenario), separators=(",", ":")) + "\n"


def from_json(document: object) -> Scenario:
    """The scenario that a JSON document describes.

    :raises UserError: the document is no scenario that makes sense
    """
    value = Value(document)
    value.keys(("name", "topology", "steps"), ("summary",))
    scenario = Scenario(
        name=value["name"].line(),
        summary=value["summary"].line() if "summary" in value else "",
        topology=topology(value["topology"]),
        steps=tuple(_step(step) for step in value["steps"]),
    )
    check(scenario)
    return scenario


def to_json(scenario: Scenario) -> dict[str, Any]:
    """The scenario as :func:`json.dumps` takes it; a built-in topology by its name."""
    topology = scenario.topology
    return {
        "name": scenario.name,
        "summary": scenario.summary,
        "topology": topology.name if TOPOLOGIES.get(topology.name) == topology else topology_json(topology),
        "steps": [_step_json(step) for step in scenario.steps],
    }


def _step(value: Value) -> Step:
    if "do" not in value:
        value.fail('the key "do" is missing', f"it names the step: {', '.join(KINDS)}")
    do = value["do"].string()
    if do not in KINDS:
        value["do"].fail(f"unknown step {do!r}", suggest(do, KINDS, what="steps"))
    return KINDS[do].read(value)


def _step_json(step: Step) -> dict[str, Any]:
    return {key: value for key, value in {"do": step.do, **step.write()}.items() if value is not None}
