"""Steps that change the ground that a scenario stands on: namespaces and devices come, move and go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from harness.scenario.addresses import ip_address, ip_interface
from harness.scenario.topology import End, Link, Topology

__all__ = ("AddDevice", "AddLink", "AddNetns", "DeleteDevice", "DeleteNetns", "Keys", "MoveDevice", "after", "grounds", "lost_devices")


@dataclass(frozen=True, slots=True)
class AddNetns:
    """A namespace comes; its ``lo`` is up.

    The step finds its ``proc``: ``own`` where it has a ``/proc/net/netfilter`` that no other namespace has.

    :param fail: ``(0,)`` if core's one allocation for it fails: then there is no namespace
    """

    netns: str
    fail: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteNetns:
    """Nothing uses a namespace any more, and the kernel is waited for until it has cleaned up.

    Its hooks and private arrays go with it, and so do its devices, both ends of a veth pair. The step finds what is left: ``netns``
    and ``proc`` (its ``/proc/net/netfilter``) are ``gone``, or else ``there``.
    """

    netns: str


@dataclass(frozen=True, slots=True)
class AddDevice:
    """A device of type ``dummy``, up, without an address: nothing comes in, and what goes out is gone."""

    netns: str
    device: str


@dataclass(frozen=True, slots=True)
class AddLink:
    """A veth pair between two namespaces, up."""

    a: End
    b: End


@dataclass(frozen=True, slots=True)
class DeleteDevice:
    """A device goes, a veth with its peer; the module unregisters the hooks on them, as every owner must (``NETDEV_UNREGISTER``)."""

    netns: str
    device: str


@dataclass(frozen=True, slots=True)
class MoveDevice:
    """A device moves to another namespace, without its addresses and its hooks; it is up there.

    :param to: the other namespace
    """

    netns: str
    device: str
    to: str


@dataclass(frozen=True, slots=True)
class Keys:
    """Read ``nf_hooks_needed``: how often each point is needed, over all namespaces, more or less often than before the first step."""


def after(topology: Topology, step: object) -> Topology:
    """The ground that a step leaves behind; the same for most."""
    match step:
        case AddNetns() if not step.fail:
            topology = replace(topology, namespaces=(*topology.namespaces, step.netns))
        case DeleteNetns():
            left = _without(topology, [(step.netns, device) for device in topology.devices(step.netns)])
            topology = replace(left, namespaces=tuple(name for name in left.namespaces if name != step.netns),
                               forwarding=tuple(name for name in left.forwarding if name != step.netns))
        case AddDevice():
            topology = replace(topology, dummies=(*topology.dummies, End(step.netns, step.device)))
        case AddLink():
            topology = replace(topology, links=(*topology.links, Link(step.a, step.b)))
        case DeleteDevice():
            topology = _without(topology, [(step.netns, step.device)])
        case MoveDevice():
            topology = _moved(topology, step)
    return topology


def grounds(topology: Topology, steps: Iterable[object]) -> tuple[Topology, ...]:
    """What each step finds, and at the end what is left."""
    found = [topology]
    for step in steps:
        found.append(after(found[-1], step))
    return tuple(found)


def lost_devices(before: Topology, step: object) -> tuple[tuple[str, str], ...]:
    """Namespace and name of the devices whose hooks a step takes along."""
    left = after(before, step)
    names = [(netns, device) for netns in before.namespaces for device in before.devices(netns)]
    return tuple((netns, device) for netns, device in names if netns not in left.namespaces or device not in left.devices(netns))


def _without(topology: Topology, devices: list[tuple[str, str]]) -> Topology:
    """Their links, with the other ends, and the routes that led over them, are gone too."""
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


def _moved(topology: Topology, step: MoveDevice) -> Topology:
    def moved(end: End) -> End:
        return End(step.to, step.device) if (end.netns, end.device) == (step.netns, step.device) else end

    links = tuple(replace(link, a=moved(link.a), b=moved(link.b)) for link in topology.links)
    return _with_live_routes(replace(topology, links=links, dummies=tuple(map(moved, topology.dummies))))


def _with_live_routes(topology: Topology) -> Topology:
    """The kernel forgets a route when its device or the address that made the neighbour reachable goes."""
    def lives(netns: str, via: str) -> bool:
        return any(ip_address(via) in ip_interface(own).network for one in topology.interfaces(netns) for own in one.addresses)

    return replace(topology, routes=tuple(route for route in topology.routes if lives(route.netns, route.via)))
