"""What becomes of a packet in a tunnel's device whose own packet has no way."""

from __future__ import annotations

import socket

import pytest

from harness.pytest_plugin import Consumed, DroppedByStack, Sent
from harness.pytest_plugin.lab import Lab
from tests.kernel.test_ends import about, sockets

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


def test_a_question_that_a_vxlan_answers_for_others_is_consumed_and_its_answer_is_new(lab: Lab) -> None:
    """What asks is a macvlan above: the vxlan's table of neighbours answers (``arp_reduce``). ARP consumes the answer, too."""
    net, mac = lab.pair(), "02:00:00:00:00:09"
    for command in ("link add t0 type vxlan id 7 remote 198.51.100.9 dstport 4789 proxy", "link set t0 up",
                    f"neigh add 10.9.9.2 lladdr {mac} nud permanent dev t0", "link add m0 link t0 type macvlan mode bridge",
                    "addr add 10.9.9.1/24 dev m0", "link set m0 up"):
        net.peer.run("ip", *command.split())
    for hook in ("OUTPUT", "INPUT"):
        lab.hook(net.peer, "arp", hook)
    with sockets(socket.SOCK_DGRAM, (net.peer, ("", 0))) as (client,), lab.trace() as walks:
        client.sendto(b"carried", ("10.9.9.2", 9))
    asked, answer = (about(walks, words) for words in ("who has 10.9.9.2", f"10.9.9.2 is at {mac}"))
    assert ([walk.fate for walk in asked], [walk.fate for walk in answer]) == ([Consumed()], [Consumed()])
