"""What becomes of a packet in a tunnel's device whose own packet has no way."""

from __future__ import annotations

import socket

import pytest

from harness.pytest_plugin import DroppedByStack, Sent
from harness.pytest_plugin.lab import Lab
from tests.kernel.test_ends import sockets

#: Kind of the device → the rest of `ip link add`.
TUNNELS = {
    "geneve": ("id", "7", "remote", "198.51.100.9"),
    "vxlan": ("id", "7", "remote", "198.51.100.9", "dstport", "4789"),
    "gretap": ("local", "10.0.0.2", "remote", "198.51.100.9"),
    "ipip": ("local", "10.0.0.2", "remote", "198.51.100.9"),
}


@pytest.mark.parametrize("kind", [*TUNNELS, "dummy"])
def test_a_tunnel_without_a_route_drops_what_it_is_to_carry(lab: Lab, kind: str) -> None:
    net = lab.pair()
    net.peer.run("ip", "link", "add", "t0", "type", kind, *TUNNELS.get(kind, ()))
    net.peer.run("ip", "addr", "add", "10.9.9.1/24", "dev", "t0")
    net.peer.run("ip", "link", "set", "t0", "up")
    if kind != "ipip":
        net.peer.run("ip", "neigh", "add", "10.9.9.2", "lladdr", "02:00:00:00:00:09", "dev", "t0")
    lab.hook(net.peer, "ipv4", "POSTROUTING")
    with sockets(socket.SOCK_DGRAM, (net.peer, ("", 0))) as (client,), lab.trace() as walks:
        client.sendto(b"carried", ("10.9.9.2", 9))
    assert [walk.fate for walk in walks if "10.9.9.2:9," in walk.packet] == [Sent() if kind == "dummy" else DroppedByStack()]
