"""Namespaces, the veth pairs between them, VLANs and bridges on those, addresses and routes: what a scenario happens in.

Every namespace has ``lo``, up, besides the devices that are named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.netfilter import Family

__all__ = ("TOPOLOGIES", "Bridge", "Interface", "Link", "Route", "Topology", "VethEnd", "Vlan")

LOOPBACK = "lo"


@dataclass(frozen=True, slots=True)
class VethEnd:
    """One end of a veth pair.

    :param addresses: with their prefix length, IPv4 and IPv6: ``10.0.1.2/24``, ``fd00:1::2/64``
    """

    netns: str
    device: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """A veth pair.

    :param gro: generic receive offload, through which packets are received in lists
    """

    a: VethEnd
    b: VethEnd
    gro: bool = False


@dataclass(frozen=True, slots=True)
class Vlan:
    """A VLAN device.

    :param link: the device that carries the tagged frames
    :param id: 1 to 4094
    """

    netns: str
    device: str
    link: str
    id: int
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge, without STP, multicast snooping and VLAN filtering.

    :param ports: devices of its namespace, in the order in which they join
    :param netfilter: families that ``br_netfilter`` hands to IP's and ARP's hook points (``bridge-nf-call-*tables`` of the namespace);
        with none the module is not loaded for it
    """

    netns: str
    device: str
    ports: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    netfilter: tuple[Family, ...] = ()


Interface = VethEnd | Vlan | Bridge
"""What can have addresses."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route by way of a neighbour; networks on a link need none.

    :param destination: a network, ``0.0.0.0/0`` and ``::/0`` for everything
    :param via: address of the other end of one of the namespace's links
    """

    netns: str
    destination: str
    via: str


@dataclass(frozen=True, slots=True)
class Topology:
    """Namespaces, and the devices that join them.

    :param forwarding: namespaces that route between their devices, IPv4 and IPv6
    :param dummies: devices of type ``dummy``, without addresses
    :param first: the namespace that is the machine's first one (``init_net``), which only a guest lends; ``None``: all are made
    """

    name: str
    namespaces: tuple[str, ...]
    links: tuple[Link, ...] = ()
    routes: tuple[Route, ...] = ()
    forwarding: tuple[str, ...] = ()
    dummies: tuple[VethEnd, ...] = ()
    vlans: tuple[Vlan, ...] = ()
    bridges: tuple[Bridge, ...] = ()
    first: str | None = None

    def ends(self, netns: str | None = None) -> Iterator[VethEnd]:
        """Every end of every link, or those in one namespace, in the order of the links."""
        for link in self.links:
            for end in (link.a, link.b):
                if netns is None or end.netns == netns:
                    yield end

    def peer(self, netns: str, device: str) -> VethEnd:
        """The other end of a device's veth pair.

        :raises KeyError: no such device, or it is no end of a pair
        """
        for link in self.links:
            if (link.a.netns, link.a.device) == (netns, device):
                return link.b
            if (link.b.netns, link.b.device) == (netns, device):
                return link.a
        raise KeyError((netns, device))

    def has_gro(self, netns: str, device: str) -> bool:
        """Whether a device receives packets in lists."""
        return any(link.gro and (netns, device) in ((end.netns, end.device) for end in (link.a, link.b)) for link in self.links)

    def devices(self, netns: str) -> tuple[str, ...]:
        """Names of a namespace's devices, ``lo`` first."""
        return (LOOPBACK, *(interface.device for interface in self.interfaces(netns)))

    def interfaces(self, netns: str | None = None) -> Iterator[Interface]:
        """Every device but lo, or those in one namespace: veth ends, then dummies, VLANs and bridges."""
        every: tuple[Interface, ...] = (*self.ends(), *self.dummies, *self.vlans, *self.bridges)
        yield from (one for one in every if netns is None or one.netns == netns)

    def interface(self, netns: str, device: str) -> Interface:
        """The device of that name.

        :raises KeyError: no such device, or lo
        """
        for one in self.interfaces(netns):
            if one.device == device:
                return one
        raise KeyError((netns, device))

    def bridge_of(self, netns: str, device: str) -> Bridge | None:
        """The bridge that a device is a port of."""
        return next((bridge for bridge in self.bridges if bridge.netns == netns and device in bridge.ports), None)

    def vlan_on(self, netns: str, device: str, tag: int) -> Vlan | None:
        """The VLAN device that takes a tag off the frames of a device."""
        return next((vlan for vlan in self.vlans if (vlan.netns, vlan.link, vlan.id) == (netns, device, tag)), None)

    def segment(self, netns: str, device: str) -> tuple[Interface, ...]:
        """The interfaces that a broadcast out of a device comes to, by way of links, VLANs and bridges; itself left out."""
        found: dict[tuple[str, str], Interface] = {}
        seen: set[tuple[str, str, tuple[int, ...], bool]] = set()
        waiting: list[tuple[str, str, tuple[int, ...], bool]] = [(netns, device, (), True)]
        while waiting:
            step = waiting.pop(0)
            if step in seen:
                continue
            seen.add(step)
            here, name, tags, out = step
            one = self.interface(here, name)
            if out and isinstance(one, Vlan):
                waiting.append((here, one.link, (*tags, one.id), True))
            elif out and isinstance(one, Bridge):
                waiting += [(here, port, tags, True) for port in one.ports]
            elif out:
                pairs = [(link.a, link.b) for link in self.links] + [(link.b, link.a) for link in self.links]
                # of a dummy there is none
                waiting += [(peer.netns, peer.device, tags, False) for end, peer in pairs if (end.netns, end.device) == (here, name)]
            elif tags and (vlan := self.vlan_on(here, name, tags[-1])):
                waiting.append((here, vlan.device, tags[:-1], False))
            elif bridge := self.bridge_of(here, name):
                waiting.append((here, bridge.device, tags, False))
                waiting += [(here, port, tags, True) for port in bridge.ports if port != name]
            elif not tags and (here, name) != (netns, device):
                found[here, name] = one
        return tuple(found.values())


ROUTER = Topology(
    "router",
    ("client", "router", "server"),
    links=(
        Link(VethEnd("client", "eth0", ("10.0.1.2/24", "fd00:1::2/64")), VethEnd("router", "to-client", ("10.0.1.1/24", "fd00:1::1/64"))),
        Link(VethEnd("router", "to-server", ("10.0.2.1/24", "fd00:2::1/64")), VethEnd("server", "eth0", ("10.0.2.2/24", "fd00:2::2/64"))),
    ),
    routes=(
        Route("client", "0.0.0.0/0", "10.0.1.1"),
        Route("client", "::/0", "fd00:1::1"),
        Route("server", "0.0.0.0/0", "10.0.2.1"),
        Route("server", "::/0", "fd00:2::1"),
    ),
    forwarding=("router",),
)

PAIR = Topology(
    "pair",
    ("peer", "host"),
    links=(Link(VethEnd("peer", "eth0", ("10.0.0.2/24", "fd00::2/64")), VethEnd("host", "eth0", ("10.0.0.1/24", "fd00::1/64"))),),
)

SINGLE = Topology("single", ("host",))

FIRST = replace(PAIR, name="first", first="host")

ROUTER_GRO = replace(ROUTER, name="router-gro", links=tuple(replace(link, gro=True) for link in ROUTER.links))

BRIDGE = Topology(
    "bridge",
    ("left", "bridge", "right", "third"),
    links=(
        Link(VethEnd("left", "eth0", ("10.0.0.1/24", "fd00::1/64")), VethEnd("bridge", "to-left")),
        Link(VethEnd("right", "eth0", ("10.0.0.2/24", "fd00::2/64")), VethEnd("bridge", "to-right")),
        Link(VethEnd("third", "eth0", ("10.0.0.3/24", "fd00::3/64")), VethEnd("bridge", "to-third")),
    ),
    bridges=(Bridge("bridge", "br0", ("to-left", "to-right", "to-third"), ("10.0.0.254/24", "fd00::fe/64")),),
)

BRIDGE_NETFILTER = replace(
    BRIDGE, name="bridge-netfilter", bridges=(replace(BRIDGE.bridges[0], netfilter=(Family.IPV4, Family.IPV6, Family.ARP)),))

VLAN = Topology(
    "vlan",
    ("peer", "host"),
    links=(Link(VethEnd("peer", "eth0"), VethEnd("host", "eth0")),),
    vlans=(Vlan("peer", "eth0.10", "eth0", 10, ("10.0.10.2/24", "fd00:10::2/64")),
           Vlan("host", "eth0.10", "eth0", 10, ("10.0.10.1/24", "fd00:10::1/64"))),
)

def with_vlans(topology: Topology, *vlans: Vlan) -> Topology:
    """A topology with more VLANs."""
    return replace(topology, name=f"{topology.name}, {', '.join(vlan.device for vlan in vlans)}", vlans=(*topology.vlans, *vlans))


#: The topologies that a scenario may call by name.
TOPOLOGIES = {topology.name: topology for topology in (ROUTER, ROUTER_GRO, PAIR, FIRST, SINGLE, BRIDGE, BRIDGE_NETFILTER, VLAN)}
