"""Steps below IP: what a neighbour is asked, and frames as they are."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from harness.scenario.topology import Topology

__all__ = ("BROADCAST", "UNKNOWN", "Arp", "Frame", "arp_cookie", "asking_device")

BROADCAST, UNKNOWN = "broadcast", "unknown"


def arp_cookie(one: str | IPv4Address, other: str | IPv4Address) -> int:
    """An ARP packet is too short for a cookie: the two addresses that it is about stand for one, in a request as in its reply."""
    low, high = sorted((int(IPv4Address(one)), int(IPv4Address(other))))
    return low << 32 | high


@dataclass(frozen=True, slots=True)
class Arp:
    """The kernel asks for a neighbour (``arp_solicit``), and whoever has the address answers.

    :param source: the namespace that asks (``from`` in JSON)
    :param sender: an IPv4 address of its own, on the device that it asks out of
    :param target: the IPv4 address that it asks for
    """

    source: str
    sender: str
    target: str

    @property
    def cookie(self) -> int:
        return arp_cookie(self.sender, self.target)


@dataclass(frozen=True, slots=True)
class Frame:
    """An Ethernet frame of a type for local experiments (0x88b5) out of a device, which no protocol takes at its end.

    :param source: the sending namespace (``from`` in JSON)
    :param to: ``broadcast``, ``unknown`` for an address that nobody has, or whose address: ``netns/device``
    :param vlan: the tag that it carries
    :param size: bytes behind the header, the cookie at their end
    """

    source: str
    device: str
    to: str
    cookie: int
    vlan: int | None = None
    size: int = 64


def asking_device(topology: Topology, step: Arp) -> str | None:
    """The device that has the asker's address."""
    return next((one.device for one in topology.interfaces(step.source)
                 if step.sender in (address.partition("/")[0] for address in one.addresses)), None)
