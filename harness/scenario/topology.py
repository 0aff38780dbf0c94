"""Namespaces, the veth pairs between them, their addresses and routes: the ground that a scenario stands on.

Every namespace has ``lo``, up, besides the devices of its links.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ("TOPOLOGIES", "End", "Link", "Route", "Topology")

LOOPBACK = "lo"


@dataclass(frozen=True, slots=True)
class End:
    """One end of a veth pair.

    :param addresses: with their prefix length, IPv4 and IPv6: ``10.0.1.2/24``, ``fd00:1::2/64``
    """

    netns: str
    device: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """A veth pair."""

    a: End
    b: End


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
    """:param forwarding: namespaces that route between their devices, IPv4 and IPv6
    :param dummies: devices of type ``dummy``, without addresses
    """

    name: str
    namespaces: tuple[str, ...]
    links: tuple[Link, ...] = ()
    routes: tuple[Route, ...] = ()
    forwarding: tuple[str, ...] = ()
    dummies: tuple[End, ...] = ()

    def ends(self, netns: str | None = None) -> Iterator[End]:
        """Every end of every link, or those in one namespace, in the order of the links."""
        for link in self.links:
            for end in (link.a, link.b):
                if netns is None or end.netns == netns:
                    yield end

    def peer(self, netns: str, device: str) -> End:
        """The other end of a device's veth pair. :raises KeyError: no such device, or it is no end of a pair"""
        for link in self.links:
            if (link.a.netns, link.a.device) == (netns, device):
                return link.b
            if (link.b.netns, link.b.device) == (netns, device):
                return link.a
        raise KeyError((netns, device))

    def devices(self, netns: str) -> tuple[str, ...]:
        """Names of a namespace's devices, ``lo`` first."""
        return (LOOPBACK, *(end.device for end in self.ends(netns)), *(end.device for end in self.dummies if end.netns == netns))


ROUTER = Topology(
    "router",
    ("client", "router", "server"),
    links=(
        Link(End("client", "eth0", ("10.0.1.2/24", "fd00:1::2/64")), End("router", "to-client", ("10.0.1.1/24", "fd00:1::1/64"))),
        Link(End("router", "to-server", ("10.0.2.1/24", "fd00:2::1/64")), End("server", "eth0", ("10.0.2.2/24", "fd00:2::2/64"))),
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
    links=(Link(End("peer", "eth0", ("10.0.0.2/24", "fd00::2/64")), End("host", "eth0", ("10.0.0.1/24", "fd00::1/64"))),),
)

SINGLE = Topology("single", ("host",))

#: The topologies that a scenario may call by name.
TOPOLOGIES = {topology.name: topology for topology in (ROUTER, PAIR, SINGLE)}
