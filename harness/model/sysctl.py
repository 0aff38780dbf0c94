"""The settings that a namespace of a topology begins with."""

from __future__ import annotations

from collections import Counter

from harness.netfilter import Family
from harness.scenario.steps.sysctl import BRIDGE_CALLS, IP_FORWARD
from harness.scenario.topology import Topology

__all__ = ("FORWARDING", "given")

FORWARDING = {Family.IPV4: IP_FORWARD, Family.IPV6: "net.ipv6.conf.all.forwarding"}


def given(topology: Topology, netns: str) -> Counter[str]:
    """The values that a namespace has when its topology stands; 0 for others."""
    forwards = dict.fromkeys(FORWARDING.values(), int(netns in topology.forwarding))
    calls = {BRIDGE_CALLS[pf]: 1 for bridge in topology.bridges if bridge.netns == netns for pf in bridge.netfilter}
    return Counter({**forwards, **calls})
