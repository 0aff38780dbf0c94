"""Reading addresses and networks, each text once: every packet of a scenario asks for the same few."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

__all__ = ("Address", "ip_address", "ip_interface", "ip_network")

Address = IPv4Address | IPv6Address

_KEPT = 1024


@lru_cache(_KEPT)
def ip_address(text: str) -> Address:
    """``10.0.0.1``, ``fd00::1``.

    :raises ValueError: not an address
    """
    return ipaddress.ip_address(text)


@lru_cache(_KEPT)
def ip_interface(text: str) -> IPv4Interface | IPv6Interface:
    """``10.0.0.1/24``, ``fd00::1/64``.

    :raises ValueError: not an address with a prefix length
    """
    return ipaddress.ip_interface(text)


@lru_cache(_KEPT)
def ip_network(text: str) -> IPv4Network | IPv6Network:
    """``10.0.0.0/24``, ``fd00::/64``.

    :raises ValueError: not a network, or bits of a host in it
    """
    return ipaddress.ip_network(text)
