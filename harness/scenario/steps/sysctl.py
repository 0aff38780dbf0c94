"""Steps with settings of a namespace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.netfilter import Family
from harness.scenario.reader import Value, fail
from harness.scenario.scope import Scope
from harness.scenario.step import (
    DRAWN,
    Facts,
    Step,
    no_packets,
    no_rules,
    no_sinks,
    none_wait,
    nothing,
    nowhere,
    same_topology,
    stays,
)

__all__ = ("BRIDGE", "BRIDGE_CALLS", "IP_FORWARD", "RP_FILTER", "SETTINGS", "Sysctl")

IP_FORWARD, RP_FILTER = "net.ipv4.ip_forward", "net.ipv4.conf.all.rp_filter"
BRIDGE_CALLS = {Family.IPV4: "net.bridge.bridge-nf-call-iptables", Family.IPV6: "net.bridge.bridge-nf-call-ip6tables",
                Family.ARP: "net.bridge.bridge-nf-call-arptables"}
"""The settings of ``br_netfilter``, by the family whose hooks a frame of a bridge crosses."""

SETTINGS = {IP_FORWARD: 1, RP_FILTER: 2, **dict.fromkeys(BRIDGE_CALLS.values(), 1)}
"""Settings that decide which hook points a packet crosses, each with its largest value."""

BRIDGE = "net.bridge."
"""How the names of those begin that come with ``br_netfilter``."""


@dataclass(frozen=True, slots=True)
class Sysctl(Step):
    """Another value for a setting of a namespace, as ``sysctl -w`` writes it.

    :param name: one of :data:`SETTINGS`
    :param value: from 0 on; of ``rp_filter`` 1 drops what does not come by the device that leads back to its source, 2 what no device
        leads back to
    """

    netns: str
    name: str
    value: int

    do = "sysctl"
    facts = Facts(flushed=stays, touches=nowhere, allocates=nothing, sends=no_packets, sinks=no_sinks, queues=none_wait, redirects=False,
                  needs=(), rules=no_rules, modules=False, baseline=False, leaves=same_topology, not_drawn=DRAWN)

    @classmethod
    def read(cls, value: Value) -> Sysctl:
        value.keys(("do", "netns", "name", "value"))
        name = value["name"].choice(SETTINGS)
        return cls(value["netns"].string(), name, value["value"].integer(0, SETTINGS[name]))

    def write(self) -> dict[str, Any]:
        return {"netns": self.netns, "name": self.name, "value": self.value}

    def check(self, scope: Scope, path: str) -> None:
        scope.netns(self.netns, f"{path}.netns")
        if self.name.startswith(BRIDGE) and not any(bridge.netfilter for bridge in scope.topology.bridges):
            fail(f"{path}.name", f"{self.name} comes with br_netfilter, which no bridge of the topology has",
                 'give a bridge the key "netfilter"')
