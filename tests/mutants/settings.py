"""Wrong answers to settings of a namespace."""

from __future__ import annotations

from harness.model.path import brnf, ip
from harness.model.path.stack import Stack
from harness.netfilter import Family
from harness.scenario.addresses import Address
from harness.scenario.routing import lookup
from tests.mutants.mutant import collected, named, rules_only

__all__ = ("MUTANTS",)


def as_the_topology_says(on: Stack, netns: str, _pf: Family) -> bool:
    return netns in on.topology.forwarding


def for_both_families(on: Stack, netns: str, _pf: Family) -> bool:
    return bool(on.nets[netns].sysctl["net.ipv4.ip_forward"])


def never_strict(on: Stack, netns: str, _device: str, source: Address) -> bool:
    return not on.nets[netns].sysctl["net.ipv4.conf.all.rp_filter"] or lookup(on.topology, netns, source) is not None


def never_loose(on: Stack, netns: str, device: str, source: Address) -> bool:
    back = lookup(on.topology, netns, source)
    return not on.nets[netns].sysctl["net.ipv4.conf.all.rp_filter"] or (back is not None and back.device == device)


def as_the_bridge_says(on: Stack, netns: str, pf: Family) -> bool:
    return any(pf in bridge.netfilter for bridge in on.topology.bridges if bridge.netns == netns)


def one_for_all(on: Stack, netns: str, _pf: Family) -> bool:
    return bool(on.nets[netns].sysctl["net.bridge.bridge-nf-call-iptables"])


MUTANTS = collected((
    rules_only(named("a router forwards for ever", ip, "_forwards", as_the_topology_says, "sysctl.ip-forward")),
    rules_only(named("ip_forward is for both families", ip, "_forwards", for_both_families, "sysctl.ip-forward")),
    rules_only(named("nobody looks at the way back", ip, "_rp_filter", lambda *_: True, "sysctl.rp-filter")),
    rules_only(named("rp_filter is never strict", ip, "_rp_filter", never_strict, "sysctl.rp-filter")),
    rules_only(named("rp_filter is always strict", ip, "_rp_filter", never_loose, "sysctl.rp-filter")),
    rules_only(named("br_netfilter does as the bridge says", brnf, "_calls", as_the_bridge_says, "sysctl.bridge-nf-call")),
    rules_only(named("one setting is for all families", brnf, "_calls", one_for_all, "sysctl.bridge-nf-call")),
))
