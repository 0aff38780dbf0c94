"""Where a packet goes from a namespace: the routing that a topology's addresses and routes amount to."""

from __future__ import annotations

from dataclasses import dataclass

from harness.netfilter import Family
from harness.scenario.addresses import Address, ip_address, ip_interface, ip_network
from harness.scenario.topology import LOOPBACK, Topology

__all__ = ("Hop", "family_of", "first_address", "lookup", "owner", "owns", "source_address")

_LOOPBACK = {Family.IPV4: "127.0.0.1/8", Family.IPV6: "::1/128"}


@dataclass(frozen=True, slots=True)
class Hop:
    """What the routing tables answer.

    :param device: that the packet leaves by; ``lo`` when the address is the namespace's own
    :param via: the neighbour to hand it to; ``None`` when local
    """

    device: str
    via: Address | None

    @property
    def local(self) -> bool:
        return self.via is None


def family_of(address: str | Address) -> Family:
    """IPV4 or IPV6.

    :raises ValueError: not an address
    """
    version = (ip_address(address) if isinstance(address, str) else address).version
    return Family.IPV4 if version == 4 else Family.IPV6


def _addresses(topology: Topology, netns: str) -> list[tuple[str, str]]:
    """(device, address/prefix) of a namespace, those of ``lo`` last."""
    named = [(one.device, address) for one in topology.interfaces(netns) for address in one.addresses]
    return named + [(LOOPBACK, address) for address in _LOOPBACK.values()]


def owns(topology: Topology, netns: str, address: Address) -> bool:
    """Whether the address is local to the namespace (all of 127.0.0.0/8 is)."""
    if address.is_loopback:
        return True
    return any(ip_interface(own).ip == address for _, own in _addresses(topology, netns))


def owner(topology: Topology, address: Address) -> str | None:
    """The namespace that an address, not a loopback one, belongs to."""
    return next((netns for netns in topology.namespaces if not address.is_loopback and owns(topology, netns, address)), None)


def first_address(topology: Topology, netns: str, pf: Family, device: str | None = None) -> Address | None:
    """A namespace's first address of a family: on any device, or on the one named; a loopback address comes last."""
    for name, address in _addresses(topology, netns):
        if device in (None, name) and family_of(ip_interface(address).ip) is pf:
            return ip_interface(address).ip
    return None


def lookup(topology: Topology, netns: str, destination: Address) -> Hop | None:
    """``fib_lookup``: local addresses first, then the longest prefix; ``None`` for no route."""
    if owns(topology, netns, destination):
        return Hop(LOOPBACK, None)
    best: tuple[int, Hop] | None = None
    for device, own in _addresses(topology, netns):
        network = ip_interface(own).network
        if device != LOOPBACK and destination in network and (best is None or network.prefixlen > best[0]):
            best = network.prefixlen, Hop(device, destination)
    for route in topology.routes:
        network, via = ip_network(route.destination), ip_address(route.via)
        if route.netns == netns and destination in network and (best is None or network.prefixlen > best[0]):
            reached_by = _on_link(topology, netns, via)
            if reached_by is not None:
                best = network.prefixlen, Hop(reached_by, via)
    return best[1] if best else None


def _on_link(topology: Topology, netns: str, neighbour: Address) -> str | None:
    """The device whose network a neighbour is on."""
    on_link = [(ip_interface(own).network, device) for device, own in _addresses(topology, netns) if device != LOOPBACK]
    reaching = [(network.prefixlen, device) for network, device in on_link if neighbour in network]
    return max(reaching, key=lambda found: found[0])[1] if reaching else None


def source_address(topology: Topology, netns: str, destination: Address) -> Address | None:
    """The address that a socket bound to none sends from; ``None`` for no route."""
    hop = lookup(topology, netns, destination)
    if hop is None:
        return None
    pf = family_of(destination)
    if hop.local:
        return destination
    return first_address(topology, netns, pf, hop.device)
