"""Settings of a namespace that decide where a packet goes, by the names that ``sysctl`` has for them."""

from __future__ import annotations

from collections import Counter

from harness.netfilter import Family
from harness.scenario.topology import Topology

__all__ = ("BRIDGE_CALLS", "FORWARDING", "RP_FILTER", "given")

FORWARDING = {Family.IPV4: "net.ipv4.ip_forward", Family.IPV6: "net.ipv6.conf.all.forwarding"}
RP_FILTER = "net.ipv4.conf.all.rp_filter"
BRIDGE_CALLS = {Family.IPV4: "net.bridge.bridge-nf-call-iptables", Family.IPV6: "net.bridge.bridge-nf-call-ip6tables",
                Family.ARP: "net.bridge.bridge-nf-call-arptables"}


def given(topology: Topology, netns: str) -> Counter[str]:
    """The values that a namespace has when its topology stands; 0 for others."""
    forwards = dict.fromkeys(FORWARDING.values(), int(netns in topology.forwarding))
    calls = {BRIDGE_CALLS[pf]: 1 for bridge in topology.bridges if bridge.netns == netns for pf in bridge.netfilter}
    return Counter({**forwards, **calls})
