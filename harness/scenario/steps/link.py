"""Steps below IP: what a neighbour is asked, and frames as they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Any

from harness.scenario.keys import COOKIE_MAX, ipv4
from harness.scenario.reader import Value, fail, quote, suggest
from harness.scenario.scope import Scope
from harness.scenario.step import DRAWN, Facts, Step, Traffic, flushed, no_rules, no_sinks, none_wait, nothing, nowhere, same_topology
from harness.scenario.steps.packets import COOKIE_BYTES, WHOLE_MAX
from harness.scenario.topology import LOOPBACK, Topology

__all__ = ("BROADCAST", "MULTICAST", "UNKNOWN", "Arp", "Frame", "arp_cookie", "asking_device")

BROADCAST, MULTICAST, UNKNOWN = "broadcast", "multicast", "unknown"
_NOBODYS = (BROADCAST, MULTICAST, UNKNOWN)


def arp_cookie(one: str | IPv4Address, other: str | IPv4Address) -> int:
    """An ARP packet is too short for a cookie: the two addresses that it is about stand for one, in a request as in its reply."""
    low, high = sorted((int(IPv4Address(one)), int(IPv4Address(other))))
    return low << 32 | high


_FACTS = Facts(flushed=flushed, touches=nowhere, allocates=nothing, sends=lambda step: Traffic(step.cookie, frozenset({4})),
               sinks=no_sinks, queues=none_wait, redirects=False, needs=(), rules=no_rules, modules=False, baseline=False,
               leaves=same_topology, not_drawn=DRAWN)


@dataclass(frozen=True, slots=True)
class Arp(Step):
    """The kernel asks for a neighbour (``arp_solicit``), and the host that has the address answers.

    :param source: the namespace that asks (``from`` in JSON)
    :param sender: an IPv4 address of the source, on the device that it asks out of
    :param target: the IPv4 address that it asks for
    """

    source: str
    sender: str
    target: str

    do = "arp"
    facts = _FACTS

    @property
    def cookie(self) -> int:
        return arp_cookie(self.sender, self.target)

    @classmethod
    def read(cls, value: Value) -> Arp:
        value.keys(("do", "from", "sender", "target"))
        hint = 'ARP asks for one like "10.0.0.2"'
        return cls(value["from"].string(), ipv4(value["sender"], hint), ipv4(value["target"], hint))

    def write(self) -> dict[str, Any]:
        return {"from": self.source, "sender": self.sender, "target": self.target}

    def check(self, scope: Scope, path: str) -> None:
        scope.netns(self.source, f"{path}.from")
        if asking_device(scope.topology, self) is None:
            own = [address.partition("/")[0] for one in scope.topology.interfaces(self.source) for address in one.addresses]
            fail(f"{path}.sender", f"{self.sender} is no address of {self.source}", suggest(self.sender, own, what="addresses"))
        if self.target == self.sender:
            fail(f"{path}.target", f"{self.target} is the asker's own", "ask for a neighbour")
        if self.cookie in scope.cookies:
            fail(path, f"steps[{scope.cookies[self.cookie]}] is about these two addresses already", "ask for a pair of addresses once")
        scope.cookies[self.cookie] = scope.index


@dataclass(frozen=True, slots=True)
class Frame(Step):
    """An Ethernet frame of a type for local experiments (0x88b5) out of a device, which no protocol takes at its end.

    :param source: the sending namespace (``from`` in JSON)
    :param to: ``broadcast``, ``multicast`` for a group, ``unknown`` for an address that nobody has, or whose address: ``netns/device``
    :param vlan: the tag that it carries
    :param size: bytes behind the header, the cookie at their end
    """

    source: str
    device: str
    to: str
    cookie: int
    vlan: int | None = None
    size: int = 64

    do = "frame"
    facts = replace(_FACTS, sends=lambda step: Traffic(step.cookie, frozenset()))

    @classmethod
    def read(cls, value: Value) -> Frame:
        value.keys(("do", "from", "device", "to", "cookie"), ("vlan", "size"))
        return cls(
            source=value["from"].string(),
            device=value["device"].string(),
            to=value["to"].string(),
            cookie=value["cookie"].integer(1, COOKIE_MAX),
            vlan=value["vlan"].integer(1, 4094) if "vlan" in value else None,
            size=value["size"].integer(COOKIE_BYTES, WHOLE_MAX) if "size" in value else 64,
        )

    def write(self) -> dict[str, Any]:
        return {"from": self.source, "device": self.device, "to": self.to, "cookie": self.cookie, "vlan": self.vlan, "size": self.size}

    def check(self, scope: Scope, path: str) -> None:
        topology = scope.topology
        scope.netns(self.source, f"{path}.from")
        scope.device(self.source, self.device, f"{path}.device")
        if self.device == LOOPBACK or not topology.segment(self.source, self.device):
            fail(f"{path}.device", f"{self.device} leads nowhere else", "choose a device of a link")
        known = [f"{one.netns}/{one.device}" for one in topology.interfaces()]
        if self.to not in (*_NOBODYS, *known):
            fail(f"{path}.to", f"{quote(self.to)} is nobody's address", suggest(self.to, [*_NOBODYS, *known], what="addresses"))
        scope.new_cookie(self.cookie, f"{path}.cookie")


def asking_device(topology: Topology, step: Arp) -> str | None:
    """The device that has the asker's address."""
    return next((one.device for one in topology.interfaces(step.source)
                 if step.sender in (address.partition("/")[0] for address in one.addresses)), None)
