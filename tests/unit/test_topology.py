"""What a broadcast reaches: links, VLANs and bridges put together."""

from __future__ import annotations

import pytest

from harness.scenario.codec import from_json, to_json
from harness.scenario.step import Scenario
from harness.scenario.topology import BRIDGE, TOPOLOGIES, VLAN, Topology, Vlan, with_vlans


def reached(topology: Topology, netns: str, device: str) -> set[str]:
    return {f"{one.netns}/{one.device}" for one in topology.segment(netns, device)}


def test_a_link_leads_to_its_other_end() -> None:
    assert reached(TOPOLOGIES["pair"], "peer", "eth0") == {"host/eth0"}


def test_a_bridge_leads_from_each_port_to_all_others_and_to_itself() -> None:
    assert reached(BRIDGE, "left", "eth0") == {"bridge/br0", "right/eth0", "third/eth0"}
    assert reached(BRIDGE, "bridge", "br0") == {"left/eth0", "right/eth0", "third/eth0"}


def test_a_port_leads_away_from_its_bridge() -> None:
    assert reached(BRIDGE, "bridge", "to-left") == {"left/eth0"}


def test_a_tag_is_taken_off_by_the_vlan_that_has_it() -> None:
    assert reached(VLAN, "peer", "eth0.10") == {"host/eth0.10"}
    assert reached(VLAN, "peer", "eth0") == {"host/eth0"}


def test_a_bridge_carries_tags_through() -> None:
    tagged = with_vlans(BRIDGE, Vlan("left", "v", "eth0", 7), Vlan("third", "v", "eth0", 7), Vlan("right", "v", "eth0", 8))
    assert reached(tagged, "left", "v") == {"third/v"}


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_topology_survives_json(name: str) -> None:
    own = to_json(Scenario("s", "", Topology("own", *(getattr(TOPOLOGIES[name], field) for field in Topology.__slots__[1:])), ()))
    assert from_json(own).topology == Topology("own", *(getattr(TOPOLOGIES[name], field) for field in Topology.__slots__[1:]))
