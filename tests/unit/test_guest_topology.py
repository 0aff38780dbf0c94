"""Building a topology, as far as it needs no kernel."""

from __future__ import annotations

from harness.guest.netns import Namespace
from harness.guest.topology import Network, mac_address, mac_of
from harness.scenario.topology import BRIDGE, PAIR, VLAN


def test_no_two_ends_share_a_mac_address_and_all_are_local_unicast() -> None:
    addresses = [mac_address(link, end) for link in range(300) for end in range(2)]
    assert len(set(addresses)) == len(addresses)
    assert {len(address) for address in addresses} == {17}
    assert all(int(address[:2], 16) & 0b11 == 0b10 for address in addresses)


def test_an_inode_number_leads_back_to_the_scenarios_name() -> None:
    network = Network(PAIR, {"peer": Namespace("run1-peer", 4026532001), "host": Namespace("run1-host", 4026532002)}, {})
    assert network.scenario_name(4026532002) == "host"
    assert network.scenario_name(4026531840) is None


def test_every_device_of_a_link_and_every_bridge_has_an_address_of_its_own_a_vlan_that_of_the_device_below() -> None:
    macs = [mac_of(BRIDGE, one) for one in BRIDGE.interfaces()]
    assert len(set(macs)) == len(macs) == 7
    assert mac_of(VLAN, VLAN.interface("host", "eth0.10")) == mac_of(VLAN, VLAN.interface("host", "eth0")) == mac_address(0, 1)
