"""Steps that change a scenario's topology: namespaces and devices come, move and go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from harness.scenario.addresses import Address, ip_address, ip_interface
from harness.scenario.keys import fail_json, fail_of
from harness.scenario.reader import Value, fail, quote
from harness.scenario.routing import owner
from harness.scenario.scope import Scope
from harness.scenario.step import (
    DRAWN,
    Allocates,
    Facts,
    Step,
    flushed,
    lost_devices,
    no_packets,
    no_rules,
    no_sinks,
    none_wait,
    nothing,
    nowhere,
    same_topology,
    stays,
)
from harness.scenario.topologies import check_end, check_netns_name, end, end_json
from harness.scenario.topology import LOOPBACK, Link, Topology, VethEnd

__all__ = ("AddDevice", "AddLink", "AddNetns", "DeleteDevice", "DeleteNetns", "Keys", "Memory", "MoveDevice")


def _with_netns(step: AddNetns, topology: Topology) -> Topology:
    return topology if step.fail else replace(topology, namespaces=(*topology.namespaces, step.netns))


def _without_netns(step: DeleteNetns, topology: Topology) -> Topology:
    left = _without(topology, [(step.netns, device) for device in topology.devices(step.netns)])
    return replace(left, namespaces=tuple(name for name in left.namespaces if name != step.netns),
                   forwarding=tuple(name for name in left.forwarding if name != step.netns))


def _with_device(step: AddDevice, topology: Topology) -> Topology:
    return replace(topology, dummies=(*topology.dummies, VethEnd(step.netns, step.device)))


def _with_link(step: AddLink, topology: Topology) -> Topology:
    return replace(topology, links=(*topology.links, Link(step.a, step.b)))


def _without_device(step: DeleteDevice, topology: Topology) -> Topology:
    return _without(topology, [(step.netns, step.device)])


def _moved(step: MoveDevice, topology: Topology) -> Topology:
    def moved(one: VethEnd) -> VethEnd:
        return VethEnd(step.to, step.device) if (one.netns, one.device) == (step.netns, step.device) else one

    links = tuple(replace(link, a=moved(link.a), b=moved(link.b)) for link in topology.links)
    return _with_live_routes(replace(topology, links=links, dummies=tuple(map(moved, topology.dummies))))


_FACTS = Facts(flushed=stays, touches=nowhere, allocates=nothing, sends=no_packets, sinks=no_sinks, queues=none_wait, redirects=False,
               needs=(), rules=no_rules, modules=False, baseline=False, leaves=same_topology, not_drawn=DRAWN)


@dataclass(frozen=True, slots=True)
class AddNetns(Step):
    """A namespace comes; its ``lo`` is up.

    The step finds its ``proc``: ``own`` where it has a ``/proc/net/netfilter`` that no other namespace has; whether that lacks its
    ``nf_log``; and if there is none, what core printed of that (``log``).

    :param fail: ``(0,)`` if core's one allocation for it fails: then there is no namespace
    """

    netns: str
    fail: tuple[int, ...] = ()

    do = "netns-add"
    facts = replace(_FACTS, allocates=lambda _step: Allocates.NAMESPACE, leaves=_with_netns)

    @classmethod
    def read(cls, value: Value) -> AddNetns:
        value.keys(("do", "netns"), ("fail",))
        return cls(value["netns"].string(), fail_of(value))

    def write(self) -> dict[str, Any]:
        return {"netns": self.netns, **fail_json(self)}

    def check(self, scope: Scope, path: str) -> None:
        if self.netns in scope.topology.namespaces:
            fail(f"{path}.netns", f"there is a namespace {quote(self.netns)} already", "choose another name")
        check_netns_name(self.netns, f"{path}.netns")
        if any(self.fail):
            fail(f"{path}.fail", "core makes one allocation for a namespace", "write [0]")


@dataclass(frozen=True, slots=True)
class DeleteNetns(Step):
    """Nothing uses a namespace any more, and the kernel is waited for until it has cleaned up.

    Its hooks and private arrays go with it, and so do its devices, both ends of a veth pair. The step finds what is left: ``netns``
    and ``proc`` (its ``/proc/net/netfilter``) are ``gone``, or else ``there``.
    """

    netns: str

    do = "netns-delete"
    facts = replace(_FACTS, leaves=_without_netns)

    @classmethod
    def read(cls, value: Value) -> DeleteNetns:
        value.keys(("do", "netns"))
        return cls(value["netns"].string())

    def write(self) -> dict[str, Any]:
        return {"netns": self.netns}

    def check(self, scope: Scope, path: str) -> None:
        scope.netns(self.netns, f"{path}.netns")
        if self.netns == scope.topology.first:
            fail(f"{path}.netns", f"{quote(self.netns)} is the machine's first namespace, which never goes", "name another one")
        if len(scope.topology.namespaces) == 1:
            fail(f"{path}.netns", f"{quote(self.netns)} is the last namespace", "add another one first")
        for name in [name for name, link in scope.links.items() if link.netns == self.netns]:
            fail(f"{path}.netns", f"the BPF link {quote(name)} keeps {quote(self.netns)} alive", "put a bpf-unlink before it")
        scope.listening = {one for one in scope.listening if one[0] != self.netns}
        _take(scope, self)


@dataclass(frozen=True, slots=True)
class AddDevice(Step):
    """A device of type ``dummy``, without an address: nothing comes in, and what goes out is gone.

    :param up: whether it is set up; one that is down has hook points, too, and is up when it has moved
    """

    netns: str
    device: str
    up: bool = True

    do = "device-add"
    facts = replace(_FACTS, leaves=_with_device)

    @classmethod
    def read(cls, value: Value) -> AddDevice:
        value.keys(("do", "netns", "device"), ("up",))
        return cls(value["netns"].string(), value["device"].string(), value["up"].boolean() if "up" in value else True)

    def write(self) -> dict[str, Any]:
        return {**_device_json(self), **({} if self.up else {"up": False})}

    def check(self, scope: Scope, path: str) -> None:
        check_end(scope.topology, VethEnd(self.netns, self.device), path)
        _check_name_is_free(scope, self.netns, self.device, f"{path}.device")


@dataclass(frozen=True, slots=True)
class AddLink(Step):
    """A veth pair between two namespaces, up."""

    a: VethEnd
    b: VethEnd

    do = "link-add"
    facts = replace(_FACTS, leaves=_with_link)

    @classmethod
    def read(cls, value: Value) -> AddLink:
        value.keys(("do", "a", "b"))
        return cls(end(value["a"]), end(value["b"]))

    def write(self) -> dict[str, Any]:
        return {"a": end_json(self.a), "b": end_json(self.b)}

    def check(self, scope: Scope, path: str) -> None:
        taken: dict[Address, str] = {}
        for side, one in (("a", self.a), ("b", self.b)):
            check_end(scope.topology, one, f"{path}.{side}")
            _check_name_is_free(scope, one.netns, one.device, f"{path}.{side}.device")
            for number, text in enumerate(one.addresses):
                address = ip_interface(text).ip
                holder = taken.get(address) or owner(scope.topology, address)
                if holder:
                    fail(f"{path}.{side}.addresses[{number}]", f"{address} is already an address of {holder}",
                         "give every device its own address")
                taken[address] = one.netns
        if (self.a.netns, self.a.device) == (self.b.netns, self.b.device):
            fail(f"{path}.b.device", f"{self.b.netns} already has a device {quote(self.b.device)}", "choose another name")


@dataclass(frozen=True, slots=True)
class DeleteDevice(Step):
    """A device goes, a veth with its peer; the module unregisters the hooks on them, as every owner must (``NETDEV_UNREGISTER``)."""

    netns: str
    device: str

    do = "device-delete"
    facts = replace(_FACTS, leaves=_without_device)

    @classmethod
    def read(cls, value: Value) -> DeleteDevice:
        return cls(*_device(value))

    def write(self) -> dict[str, Any]:
        return _device_json(self)

    def check(self, scope: Scope, path: str) -> None:
        _check_own_device(scope, self, path)
        _take(scope, self)


@dataclass(frozen=True, slots=True)
class MoveDevice(Step):
    """A device moves to another namespace, without its addresses and its hooks; it is up there.

    :param to: the other namespace
    """

    netns: str
    device: str
    to: str

    do = "device-move"
    facts = replace(_FACTS, leaves=_moved)

    @classmethod
    def read(cls, value: Value) -> MoveDevice:
        value.keys(("do", "netns", "device", "to"))
        return cls(value["netns"].string(), value["device"].string(), value["to"].string())

    def write(self) -> dict[str, Any]:
        return {**_device_json(self), "to": self.to}

    def check(self, scope: Scope, path: str) -> None:
        _check_own_device(scope, self, path)
        scope.netns(self.to, f"{path}.to")
        _check_name_is_free(scope, self.to, self.device, f"{path}.to")
        _take(scope, self)


@dataclass(frozen=True, slots=True)
class Keys(Step):
    """Read ``nf_hooks_needed``, ``ingress_needed_key`` and ``egress_needed_key``: how often each point and each direction is needed, over
    all namespaces, more or less often than before the first step.
    """

    do = "keys"
    facts = replace(_FACTS, baseline=True, flushed=flushed)

    @classmethod
    def read(cls, value: Value) -> Keys:
        value.keys(("do",))
        return cls()

    def write(self) -> dict[str, Any]:
        return {}

    def check(self, scope: Scope, path: str) -> None:
        """Accept the step anywhere: it always makes sense."""


@dataclass(frozen=True, slots=True)
class Memory(Step):
    """Wait for RCU, and look what became of the arrays that core has allocated since the first step.

    The step finds how many those are (``allocated``), how many of them are neither in use nor freed (``left``), how many were freed
    by the very call that replaced them, with no time for readers to leave (``early``), and into the ops of how many core wrote before they
    were freed (``overwritten``).
    """

    do = "memory"
    facts = replace(_FACTS, needs=("failing_allocations",), not_drawn="every scenario's arrays are looked at when it is over")

    @classmethod
    def read(cls, value: Value) -> Memory:
        value.keys(("do",))
        return cls()

    def write(self) -> dict[str, Any]:
        return {}

    def check(self, scope: Scope, path: str) -> None:
        """Accept the step anywhere: it always makes sense."""


def _without(topology: Topology, devices: list[tuple[str, str]]) -> Topology:
    """The topology without some devices, their links with the other ends, and the routes that led over them."""
    links = tuple(link for link in topology.links
                  if (link.a.netns, link.a.device) not in devices and (link.b.netns, link.b.device) not in devices)
    dummies = tuple(end for end in topology.dummies if (end.netns, end.device) not in devices)
    bridges = tuple(bridge for bridge in topology.bridges if (bridge.netns, bridge.device) not in devices)
    left = replace(topology, links=links, dummies=dummies, bridges=bridges)
    vlans = tuple(vlan for vlan in topology.vlans
                  if (vlan.netns, vlan.device) not in devices and vlan.link in left.devices(vlan.netns))
    left = replace(left, vlans=vlans)
    bridges = tuple(replace(bridge, ports=tuple(port for port in bridge.ports if port in left.devices(bridge.netns)))
                    for bridge in bridges)
    return _with_live_routes(replace(left, bridges=bridges))


def _with_live_routes(topology: Topology) -> Topology:
    """The kernel forgets a route when its device or the address that made the neighbour reachable goes."""
    def lives(netns: str, via: str) -> bool:
        return any(ip_address(via) in ip_interface(own).network for one in topology.interfaces(netns) for own in one.addresses)

    return replace(topology, routes=tuple(route for route in topology.routes if lives(route.netns, route.via)))


def _device(value: Value) -> tuple[str, str]:
    value.keys(("do", "netns", "device"))
    return value["netns"].string(), value["device"].string()


def _check_name_is_free(scope: Scope, netns: str, device: str, path: str) -> None:
    if device in scope.topology.devices(netns):
        fail(path, f"{netns} already has a device {quote(device)}", "choose another name")


def _check_own_device(scope: Scope, step: DeleteDevice | MoveDevice, path: str) -> None:
    scope.netns(step.netns, f"{path}.netns")
    scope.device(step.netns, step.device, f"{path}.device")
    if step.device == LOOPBACK:
        fail(f"{path}.device", "lo comes and goes with its namespace", "choose another device")


def _take(scope: Scope, step: DeleteNetns | DeleteDevice | MoveDevice) -> None:
    """The hooks and private arrays that go with what the step takes away."""
    lost, left = lost_devices(scope.topology, step), step.after(scope.topology).namespaces
    for name, (netns, device) in scope.points.items():
        if netns not in left or (netns, device) in lost:
            scope.live[name] = 0
    for name in [name for name, hook in scope.private.items() if hook.netns not in left]:
        del scope.private[name]
    scope.arrays = {(netns, array) for netns, array in scope.arrays if netns in left}


def _device_json(step: AddDevice | DeleteDevice | MoveDevice) -> dict[str, Any]:
    return {"netns": step.netns, "device": step.device}
