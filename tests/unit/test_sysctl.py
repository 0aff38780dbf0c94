"""The step ``sysctl``: what may be written, and what is drawn."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import find, settings
from hypothesis import strategies as st

import harness
from harness.errors import UserError
from harness.explore.steps import DRAWN
from harness.scenario import Scenario, dumps, loads
from harness.scenario.scope import Scope
from harness.scenario.steps.sysctl import SETTINGS, Sysctl
from harness.scenario.topology import BRIDGE, BRIDGE_NETFILTER, PAIR, Topology


def test_it_round_trips() -> None:
    scenario = Scenario("all", "", BRIDGE_NETFILTER, tuple(Sysctl("bridge", name, most) for name, most in SETTINGS.items()))
    assert loads(dumps(scenario)) == scenario


@pytest.mark.parametrize(("step", "topology", "message"), [
    (Sysctl("far", "net.ipv4.ip_forward", 1), PAIR, 'steps[0].netns: no namespace "far" in the topology "pair"'),
    (Sysctl("host", "net.ipv4.ip_forward", 2), PAIR, "steps[0].value: 2 is out of range (0 … 1)"),
    (Sysctl("host", "net.ipv4.ip_forwards", 1), PAIR, 'steps[0].name: unknown value "net.ipv4.ip_forwards"'),
    (Sysctl("bridge", "net.bridge.bridge-nf-call-iptables", 1), BRIDGE,
     "steps[0].name: net.bridge.bridge-nf-call-iptables comes with br_netfilter, which no bridge of the topology has"),
])
def test_what_makes_no_sense_is_named(step: Sysctl, topology: Topology, message: str) -> None:
    with pytest.raises(UserError) as error:
        loads(dumps(Scenario("wrong", "", topology, (step,))))
    assert error.value.message == message


def test_the_settings_names_are_written_in_one_place() -> None:
    """But for the rules, whose scripts are written out by hand."""
    room = Path(harness.__file__).parent
    written = {str(path.relative_to(room)) for path in room.rglob("*.py") if path.parent.name != "conformance"
               for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant) and node.value in SETTINGS}
    assert written == {"scenario/steps/sysctl.py"}


@pytest.mark.parametrize(("topology", "names"), [
    (PAIR, {"net.ipv4.ip_forward", "net.ipv4.conf.all.rp_filter"}), (BRIDGE_NETFILTER, set(SETTINGS)),
], ids=lambda given: getattr(given, "name", ""))
def test_it_is_drawn_where_it_makes_sense(topology: Topology, names: set[str]) -> None:
    (make,) = DRAWN["sysctl"].makers
    steps = st.composite(make)(Scope(topology))
    for name in names:
        step = find(steps, lambda step, name=name: step is not None and step.name == name,  # type: ignore[misc]
                    settings=settings(database=None, derandomize=True, deadline=None))
        assert step is not None
        step.check(Scope(topology), "drawn")
    with pytest.raises(Exception, match=r"(?i)satisf|examples"):
        find(steps, lambda step: step is not None and getattr(step, "name", "") not in names,
             settings=settings(database=None, derandomize=True, deadline=None))
