"""Neighbours: ``net/core/neighbour.c``. Every entry is permanent: it stays until its device goes, wherever the neighbour is meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.model.path.packet import NOBODY, Mac, mac_of
from harness.scenario.addresses import Address, ip_interface
from harness.scenario.topology import Topology

__all__ = ("Neighbours",)


@dataclass(slots=True)
class Neighbours:
    """``arp_tbl`` and ``nd_tbl`` of all namespaces.

    :param entries: by namespace and device
    """

    entries: dict[tuple[str, str], dict[Address, Mac]] = field(default_factory=dict)

    def add_device(self, topology: Topology, netns: str, device: str) -> None:
        """A device that comes up is told of everyone whom it reaches."""
        self.entries[netns, device] = {ip_interface(address).ip: mac_of(topology, one.netns, one.device)
                                       for one in topology.segment(netns, device) for address in one.addresses}

    def update(self, topology: Topology, asker: tuple[str, str], address: Address) -> None:
        """What a device knows of an address after it has asked for it: whose it is, on whichever device."""
        owners = [mac_of(topology, one.netns, one.device) for one in topology.interfaces()
                  if address in [ip_interface(own).ip for own in one.addresses]]
        if owners:
            self.entries.setdefault(asker, {})[address] = owners[0]
        else:
            self.entries.get(asker, {}).pop(address, None)

    def lookup(self, netns: str, device: str, address: Address) -> Mac | None:
        """``__ipv4_neigh_lookup_noref``, ``__ipv6_neigh_lookup_noref``."""
        return self.entries.get((netns, device), {}).get(address)

    def ifdown(self, netns: str, device: str, now: Mac = NOBODY) -> None:
        """``neigh_ifdown`` of a device that goes or moves.

        :param now: whose its hardware address is from now on
        """
        self.entries.pop((netns, device), None)
        for known in self.entries.values():
            known.update({address: now for address, mac in known.items() if mac == (netns, device)})
