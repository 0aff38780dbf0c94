"""Namespaces, devices and packets of a scenario, on a real kernel."""

from __future__ import annotations

import errno
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.guest import netns, traffic
from harness.guest.module import Hook, HookModule
from harness.guest.topology import Network, built
from harness.netfilter import Family, Verdict, VerdictKind
from harness.scenario.topology import ROUTER, SINGLE, Link, Topology, VethEnd

pytestmark = pytest.mark.usefixtures("nfharness_ko")

ACCEPT = Verdict(VerdictKind.ACCEPT)
HOOKS_BRIDGE = {"PREROUTING": 0, "FORWARD": 2, "POSTROUTING": 4}
HOOKS_ARP = {"INPUT": 0, "OUTPUT": 1}


@pytest.fixture
def router() -> Iterator[Network]:
    with built(ROUTER) as network:
        yield network


def names() -> set[str]:
    return {path.name for path in netns.DIRECTORY.iterdir()} if netns.DIRECTORY.exists() else set()


# Topologies

def test_a_namespace_is_found_by_its_inode_number(router: Network) -> None:
    for name, namespace in router.namespaces.items():
        with namespace.inside():
            assert router.scenario_name(netns.current_inum()) == name
    assert router.scenario_name(netns.current_inum()) is None


def test_two_networks_of_one_topology_stand_side_by_side(router: Network) -> None:
    with built(ROUTER) as other:
        assert {namespace.inum for namespace in router.namespaces.values()}.isdisjoint(
            namespace.inum for namespace in other.namespaces.values())
        for network in (router, other):
            with traffic.Sinks() as sinks:
                sinks.add_udp(network.namespaces["server"], socket.AF_INET, 9)
                traffic.send_udp(network.namespaces["client"], "10.0.2.2", 9, traffic.payload(16, 1))
                assert sinks.wait([1], 10)


def test_nothing_is_left_behind_after_an_exception() -> None:
    before, home = names(), netns.current_inum()
    with pytest.raises(ZeroDivisionError), built(ROUTER):
        assert len(names() - before) == 3
        raise ZeroDivisionError
    assert (names(), netns.current_inum()) == (before, home)


def test_nothing_is_left_behind_when_a_topology_cannot_be_built() -> None:
    before, home = names(), netns.current_inum()
    twice = Link(VethEnd("a", "eth0"), VethEnd("b", "eth0"))
    with pytest.raises(Exception, match="File exists"), built(Topology("twice", ("a", "b"), links=(twice, twice))):
        pass
    assert (names(), netns.current_inum()) == (before, home)


def test_a_name_that_is_taken_is_refused_and_stays() -> None:
    first = netns.create("nfh-taken")
    try:
        with pytest.raises(FileExistsError):
            netns.create("nfh-taken")
        assert netns.Namespace.find("nfh-taken") == first
    finally:
        first.delete()


def test_no_packet_but_ours_crosses_the_ipv4_and_arp_hook_points(router: Network) -> None:
    """No ARP, whose answers the neighbour tables know. (IPv6 has its multicast listener reports.)"""
    hooks = [Hook(1, Family.IPV4, 0, 0, ACCEPT), Hook(2, Family.ARP, 0, 0, ACCEPT), Hook(3, Family.ARP, 1, 0, ACCEPT)]
    with HookModule(router.namespaces["router"]) as module, traffic.Sinks() as sinks:
        for family in (socket.AF_INET, socket.AF_INET6):
            sinks.add_udp(router.namespaces["server"], family, 9)
        assert module.add_hooks(hooks) == [None] * 3
        traffic.send_udp(router.namespaces["client"], "10.0.2.2", 9, traffic.payload(16, 1))
        traffic.send_udp(router.namespaces["client"], "fd00:2::2", 9, traffic.payload(16, 2))
        assert {arrival.cookie for arrival in sinks.wait([1, 2], 10)} == {1, 2}
        assert [state.calls for state in module.hooks()] == [1, 0, 0]


# Packets

@pytest.mark.parametrize("to", ["10.0.2.2", "fd00:2::2"])
@pytest.mark.parametrize("size", [16, 1400])
def test_a_datagram_reaches_the_sink_with_its_cookie(router: Network, to: str, size: int) -> None:
    server = router.namespaces["server"]
    with traffic.Sinks() as sinks:
        sinks.add_udp(server, socket.AF_INET6 if ":" in to else socket.AF_INET, 9)
        assert traffic.send_udp(router.namespaces["client"], to, 9, traffic.payload(size, 2**64 - 1), source_port=40000) == 0
        assert sinks.wait([2**64 - 1], 10) == (traffic.Arrival(server.name, 2**64 - 1, port=9),)


@pytest.mark.parametrize("to", ["10.0.2.2", "fd00:2::2"])
def test_an_echo_request_is_seen_and_answered_with_its_cookie(router: Network, to: str) -> None:
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    pf = Family.IPV6 if ":" in to else Family.IPV4
    with traffic.Sinks() as sinks, HookModule(router.namespaces["client"]) as module:
        module.add_hook(Hook(1, pf, 1, 0, ACCEPT, cookie=5))
        sinks.add_echo(router.namespaces["server"], family)
        assert traffic.send_echo(router.namespaces["client"], to, traffic.payload(32, 5)) == 0
        assert [arrival.cookie for arrival in sinks.wait([5], 10)] == [5]
        assert module.hook(1).matches == 1


def test_a_ttl_that_ends_at_the_router_keeps_the_datagram_from_the_server(router: Network) -> None:
    with traffic.Sinks() as sinks, HookModule(router.namespaces["router"]) as module:
        sinks.add_udp(router.namespaces["server"], socket.AF_INET, 9)
        assert module.add_hooks([Hook(1, Family.IPV4, 0, 0, ACCEPT, cookie=1), Hook(2, Family.IPV4, 2, 0, ACCEPT)]) == [None, None]
        traffic.send_udp(router.namespaces["client"], "10.0.2.2", 9, traffic.payload(16, 1), ttl=1)
        traffic.send_udp(router.namespaces["client"], "10.0.2.2", 9, traffic.payload(16, 2), ttl=2)
        assert [arrival.cookie for arrival in sinks.wait([2], 10)] == [2]
        assert [state.matches for state in module.hooks()] == [1, 1]


def test_sendto_says_that_there_is_no_route(router: Network) -> None:
    assert traffic.send_udp(router.namespaces["router"], "192.0.2.1", 9, traffic.payload(16, 1)) == errno.ENETUNREACH


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES])
def test_a_packet_of_scapy_carries_a_cookie_and_its_sendto_sees_a_drop(router: Network, number: int) -> None:
    from scapy.layers.inet import IP, UDP  # noqa: PLC0415

    client = router.namespaces["client"]
    packet = IP(src="10.0.1.2", dst="10.0.2.2") / UDP(sport=7, dport=9)
    with traffic.Sinks() as sinks, HookModule(client) as module:
        sinks.add_udp(router.namespaces["server"], socket.AF_INET, 9)
        module.add_hook(Hook(1, Family.IPV4, 3, 0, Verdict(VerdictKind.DROP, errno=number), cookie=1))
        assert [traffic.send_ip(client, packet, cookie) for cookie in (1, 2)] == [number, 0]
        assert [arrival.cookie for arrival in sinks.wait([2], 10)] == [2]


def test_a_frame_crosses_no_ip_hook_point_of_its_sender(router: Network) -> None:
    from scapy.layers.inet import IP, UDP  # noqa: PLC0415
    from scapy.layers.l2 import Ether  # noqa: PLC0415

    client = router.namespaces["client"]
    frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="10.0.1.2", dst="10.0.2.2") / UDP(sport=7, dport=9)
    with traffic.Sinks() as sinks, HookModule(client) as module:
        sinks.add_udp(router.namespaces["server"], socket.AF_INET, 9)
        module.add_hook(Hook(1, Family.IPV4, 3, 0, ACCEPT))
        assert traffic.send_frame(client, "eth0", frame, 3) == 0
        assert [arrival.cookie for arrival in sinks.wait([3], 10)] == [3]
        assert module.hook(1).calls == 0


def test_a_datagram_to_oneself_arrives() -> None:
    with built(SINGLE) as network, traffic.Sinks() as sinks:
        for family, to in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            sinks.add_udp(network.namespaces["host"], family, 9)
            assert traffic.send_udp(network.namespaces["host"], to, 9, traffic.payload(16, int(family))) == 0
        assert len(sinks.wait([socket.AF_INET, socket.AF_INET6], 10)) == 2


def test_waiting_ends_at_its_deadline_when_a_packet_does_not_come(router: Network) -> None:
    with traffic.Sinks() as sinks:
        sinks.add_udp(router.namespaces["server"], socket.AF_INET, 9)
        start = time.monotonic()
        assert sinks.wait([1], 0.2) == ()
        assert time.monotonic() - start >= 0.2


# Families without their own address

SWITCHED = Topology("switched", ("a", "switch", "b"), links=(
    Link(VethEnd("a", "eth0", ("10.0.0.1/24",)), VethEnd("switch", "port1")),
    Link(VethEnd("b", "eth0", ("10.0.0.2/24",)), VethEnd("switch", "port2")),
))


def test_hooks_of_bridge_and_arp_see_what_a_bridge_forwards() -> None:
    with built(SWITCHED) as network, traffic.Sinks() as sinks:
        with network.namespaces["switch"].inside():
            for command in ("add br0 type bridge", "set br0 up", "set port1 master br0", "set port2 master br0"):
                subprocess.run(["ip", "link", *command.split()], check=True)
        sinks.add_udp(network.namespaces["b"], socket.AF_INET, 9)
        with HookModule(network.namespaces["switch"]) as switch, HookModule(network.namespaces["b"]) as b:
            bridge = [Hook(number, Family.BRIDGE, hook, 0, ACCEPT, cookie=1)
                      for number, hook in enumerate(HOOKS_BRIDGE.values(), 1)]
            arp = [Hook(number, Family.ARP, hook, 0, ACCEPT) for number, hook in enumerate(HOOKS_ARP.values(), 1)]
            drop = replace(bridge[1], id=9, priority=1, verdict=Verdict(VerdictKind.DROP), cookie=2)
            assert switch.add_hooks([*bridge, drop]) == [None] * 4
            assert b.add_hooks(arp) == [None] * 2
            for cookie in (2, 1):
                traffic.send_udp(network.namespaces["a"], "10.0.0.2", 9, traffic.payload(16, cookie))
            assert [arrival.cookie for arrival in sinks.wait([1], 20)] == [1]
            assert [state.matches for state in switch.hooks()] == [1, 1, 1, 1]
            assert [state.calls > 0 for state in b.hooks()] == [True, True]
