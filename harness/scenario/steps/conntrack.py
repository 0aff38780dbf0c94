"""Steps with connection tracking: its kernel modules, core's pointers to them, and core's functions that go by way of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from harness.netfilter import Family
from harness.scenario.keys import ipv4
from harness.scenario.reader import Value, fail, quote, suggest
from harness.scenario.routing import first_address, lookup
from harness.scenario.scope import Scope
from harness.scenario.step import Facts, Step, Traffic, no_packets, no_rules, no_sinks, none_wait, nothing, nowhere, same_topology, stays
from harness.scenario.steps.hooks import FOREIGN

__all__ = ("KERNEL_MODULES", "OWN", "ConntrackTuple", "CtRead", "CtRun", "KernelModule", "Tee", "Track")

KERNEL_MODULES = {"nf_conntrack": (), "nf_conntrack_netlink": ("nf_conntrack",), "nf_nat": ("nf_conntrack",)}
"""Those that a :class:`KernelModule` may be about, with what each needs of the others."""

OWN = ("connection", "hooks", "orphan", "untracked")

_FACTS = Facts(
    flushed=stays, touches=nowhere, allocates=nothing, sends=no_packets, sinks=no_sinks, queues=none_wait, redirects=False, needs=(),
    rules=no_rules, modules=False, baseline=False, leaves=same_topology,
    not_drawn="modules come and go for the whole kernel, which takes a guest seconds, and what follows finds them there or not")


@dataclass(frozen=True, slots=True)
class ConntrackTuple:
    """What tells a datagram from others: IPv4 addresses and UDP ports. Also ``struct nf_conntrack_tuple``."""

    source: str
    source_port: int
    destination: str
    port: int

    def __str__(self) -> str:
        return f"{self.source}:{self.source_port} > {self.destination}:{self.port}"

    def inverted(self) -> ConntrackTuple:
        """``nf_ct_invert_tuple``: that of an answer."""
        return ConntrackTuple(self.destination, self.port, self.source, self.source_port)


@dataclass(frozen=True, slots=True)
class KernelModule(Step):
    """Load a kernel module with what it needs, or unload it with all that need it, the scenario's rulesets first.

    What is built in stays. When the scenario is over, those that were loaded before it are again.
    """

    name: str
    loaded: bool = True

    do = "kernel-module"
    facts = replace(_FACTS, modules=True)

    @classmethod
    def read(cls, value: Value) -> KernelModule:
        value.keys(("do", "name", "loaded"))
        return cls(value["name"].choice(KERNEL_MODULES), value["loaded"].boolean())

    def write(self) -> dict[str, Any]:
        return {"name": self.name, "loaded": self.loaded}

    def check(self, scope: Scope, path: str) -> None:
        if self == KernelModule("nf_conntrack", loaded=False):
            scope.tracking_known = True
        _check_known(scope, path)


@dataclass(frozen=True, slots=True)
class Track(Step):
    """Have the IPv4 packets of a namespace tracked, by a ruleset that asks for their state."""

    netns: str

    do = "track"
    facts = replace(_FACTS, rules=lambda step: (step.netns,), not_drawn=FOREIGN)

    @classmethod
    def read(cls, value: Value) -> Track:
        value.keys(("do", "netns"))
        return cls(value["netns"].string())

    def write(self) -> dict[str, Any]:
        return {"netns": self.netns}

    def check(self, scope: Scope, path: str) -> None:
        scope.netns(self.netns, f"{path}.netns")


@dataclass(frozen=True, slots=True)
class CtRead(Step):
    """Read core's pointers ``nf_ct_hook``, ``nfnl_ct_hook``, ``nf_nat_hook``, on older kernels ``ip_ct_attach``; ``nf_ct_zone_dflt``."""

    do = "ct-read"
    facts = _FACTS

    @classmethod
    def read(cls, value: Value) -> CtRead:
        value.keys(("do",))
        return cls()

    def write(self) -> dict[str, Any]:
        return {}

    def check(self, scope: Scope, path: str) -> None:
        _check_known(scope, path)


@dataclass(frozen=True, slots=True)
class CtRun(Step):
    """``nf_ct_get_tuple_skb`` of a datagram made for it, ``nf_ct_attach`` of a second one to it, the end of the second and then of the
    first: ``nf_conntrack_destroy`` with the last reference.

    :param track: the namespace's hooks at IPv4 PREROUTING see the first one before
    :param own: ``connection``: the first one has one of the module's; ``hooks``: core's pointers lead to the module meanwhile;
        ``orphan``: the last reference to the module's connection is put, twice, while there is no hook to destroy it; ``untracked``: the
        first one is marked as one to leave alone; all of it while nf_conntrack is not loaded
    :param close: ``nf_ct_set_closing`` of the first one's connection before, and of none; the step finds how often the module's
        ``set_closing`` was called (``closings``)
    """

    netns: str
    flow: ConntrackTuple
    track: bool = False
    own: tuple[str, ...] = ()
    close: bool = False

    do = "ct-run"
    facts = _FACTS

    @classmethod
    def read(cls, value: Value) -> CtRun:
        value.keys(("do", "netns", "source", "source_port", "destination", "port"), ("track", "own", "close"))
        flow = ConntrackTuple(_address(value["source"]), value["source_port"].integer(1, 65535),
                              _address(value["destination"]), value["port"].integer(1, 65535))
        own = tuple(each.choice(OWN) for each in value["own"]) if "own" in value else ()
        return cls(value["netns"].string(), flow, value["track"].boolean() if "track" in value else False, own,
                   value["close"].boolean() if "close" in value else False)

    def write(self) -> dict[str, Any]:
        flow = self.flow
        return {"netns": self.netns, "source": flow.source, "source_port": flow.source_port, "destination": flow.destination,
                "port": flow.port, "track": self.track or None, "own": list(self.own) or None, "close": self.close or None}

    def check(self, scope: Scope, path: str) -> None:
        scope.netns(self.netns, f"{path}.netns")
        _check_known(scope, path)
        if len(set(self.own)) < len(self.own):
            fail(f"{path}.own", "lists a value twice", "remove one of the two")
        if "orphan" in self.own and set(self.own) != {"connection", "orphan"}:
            fail(f"{path}.own", "an orphan is the module's connection, without the module's hooks", 'write ["connection", "orphan"]')
        if {"connection", "untracked"} <= set(self.own):
            fail(f"{path}.own", "what is not tracked has no connection", "remove one of the two")
        if self.track and self.own:
            fail(f"{path}.own", "track is about nf_conntrack's own connections", "remove one of the two keys")


@dataclass(frozen=True, slots=True)
class Tee(Step):
    """nft's ``dup to`` for the UDP datagrams that leave a namespace by OUTPUT, where the copies come too; one datagram is sent.

    :param to: the namespace at the other end of a link, to which the datagram goes and its copy
    """

    netns: str
    to: str

    do = "tee"
    facts = replace(_FACTS, sends=lambda _step: Traffic(None, frozenset({4})), needs=("tee",), not_drawn=FOREIGN)

    @classmethod
    def read(cls, value: Value) -> Tee:
        value.keys(("do", "netns", "to"))
        return cls(value["netns"].string(), value["to"].string())

    def write(self) -> dict[str, Any]:
        return {"netns": self.netns, "to": self.to}

    def check(self, scope: Scope, path: str) -> None:
        topology = scope.topology
        scope.netns(self.netns, f"{path}.netns")
        scope.netns(self.to, f"{path}.to")
        address = first_address(topology, self.to, Family.IPV4)
        hop = lookup(topology, self.netns, address) if address and self.to != self.netns else None
        if hop is None or hop.via != address:
            neighbours = {topology.peer(end.netns, end.device).netns for end in topology.ends(self.netns)}
            fail(f"{path}.to", f"{quote(self.to)} is not at the other end of a link of {self.netns} with IPv4 addresses",
                 suggest(self.to, neighbours, what="neighbours"))


def _address(value: Value) -> str:
    return ipv4(value, 'write it like "10.0.0.2"')


def _check_known(scope: Scope, path: str) -> None:
    if not scope.tracking_known:
        fail(path, "no step before says whether nf_conntrack is loaded",
             'begin with {"do": "kernel-module", "name": "nf_conntrack", "loaded": false}')
