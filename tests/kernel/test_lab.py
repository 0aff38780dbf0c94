"""The fixture ``lab``: what a test builds with it, what a packet's walk tells, and that nothing of it stays."""

from __future__ import annotations

import errno

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether

from harness.guest import netns
from harness.guest.module import HookRefused
from harness.pytest_plugin import Delivered, Dropped
from harness.pytest_plugin.kernel import RunningKernel
from harness.pytest_plugin.lab import Lab
from harness.pytest_plugin.rehearsal import test_rehearsal  # noqa: F401 - whether a template's rehearsal passes
from harness.scenario.topology import End, Link, Topology


def test_a_rule_drops_what_it_is_told_to(lab: Lab) -> None:
    net = lab.router()
    lab.hook(net.router, "ipv4", "FORWARD", priority=0, verdict="DROP", errno="EHOSTUNREACH")
    walk = lab.send(net.client, IP(dst=net.server.address) / UDP(dport=53))
    assert walk.fate == Dropped(errno=errno.EHOSTUNREACH)
    assert walk.at("FORWARD").calls[-1].verdict == "DROP"


def test_a_packet_that_nobody_stops_is_delivered(lab: Lab) -> None:
    net = lab.router()
    hook = lab.hook(net.router, "ipv4", "FORWARD", name="seen")
    walk = lab.send(net.client, IP(dst=net.server.address) / UDP(dport=9))
    assert walk.fate == Delivered()
    assert walk.at("FORWARD", netns=net.router).names == ["seen"]
    assert hook.calls == 1


def test_a_hook_that_is_removed_is_called_no_more(lab: Lab) -> None:
    net = lab.pair()
    hook = lab.hook(net.host, "ipv4", "INPUT", verdict="DROP")
    assert lab.send(net.peer, IP(dst=net.host.address) / UDP(dport=9)).fate == Dropped()
    hook.remove()
    assert lab.send(net.peer, IP(dst=net.host.address) / UDP(dport=9)).fate == Delivered()


def test_a_base_chain_is_named_by_its_table(lab: Lab) -> None:
    net = lab.router()
    lab.nft("""
        table ip fence {
            chain older { type filter hook forward priority 0; }
            chain newer { type filter hook forward priority 0; udp dport 53 drop; }
        }
    """)
    walk = lab.send(net.client, IP(dst=net.server.address) / UDP(dport=53))
    assert walk.at("forward").names == ["fence newer"]
    assert walk.at("forward").calls[0].verdict in ("DROP", "STOLEN")
    assert lab.send(net.client, IP(dst=net.server.address) / UDP(dport=54)).at("forward").names == ["fence newer", "fence older"]


def test_conntrack_tells_what_it_tracks(lab: Lab) -> None:
    net = lab.router()
    lab.nft("table ip t { chain c { type filter hook forward priority 0; ct state new accept; }; }")
    lab.send(net.client, IP(dst=net.server.address) / UDP(sport=4000, dport=53))
    (flow,) = net.router.flows()
    assert (flow.protocol, flow.source, flow.destination_port) == ("udp", net.client.address, 53)


def test_an_echo_is_answered(lab: Lab) -> None:
    net = lab.pair()
    for host in (net.peer, net.host):
        lab.hook(host, "ipv4", "INPUT")
    walk = lab.send(net.peer, IP(dst=net.host.address) / ICMP())
    assert walk.fate == Delivered()
    assert [answer.at("INPUT").netns for answer in walk.answers] == ["peer"]


def test_a_bridge_forwards_between_its_ports(lab: Lab) -> None:
    net = lab.bridge()
    lab.hook(net.bridge, "bridge", "FORWARD", name="seen")
    walk = lab.send(net.left, IP(dst=net.right.address) / UDP(dport=9))
    assert walk.fate == Delivered()
    assert (walk.at("FORWARD", pf="bridge").indev, walk.at("FORWARD", pf="bridge").outdev) == ("to-left", "to-right")


def test_a_vlan_device_carries_packets(lab: Lab) -> None:
    net = lab.vlan(10)
    lab.hook(net.host, "ipv4", "INPUT")
    walk = lab.send(net.peer, IP(dst=net.host.address) / UDP(dport=9))
    assert (walk.fate, walk.at("INPUT").indev) == (Delivered(), "eth0.10")


def test_a_frame_leaves_by_the_device_that_is_named(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.host, "netdev", "INGRESS", device="eth0", verdict="DROP")
    frame = Ether(dst="02:00:00:00:00:02") / IP(src=net.peer.address, dst=net.host.address) / UDP(dport=9)
    assert lab.send(net.peer, frame, device="eth0").fate == Dropped()


def test_a_topology_of_ones_own(lab: Lab) -> None:
    net = lab.network(Topology("one", ("a", "b"), links=(Link(End("a", "x", ("10.9.0.1/24",)), End("b", "y", ("10.9.0.2/24",))),)))
    assert lab.send(net["a"], IP(dst=net["b"].address) / UDP(dport=9)).fate == Delivered()


def test_a_namespace_filled_with_pyroute2(lab: Lab) -> None:
    host = lab.namespace("lone")
    with host.routes() as routes:
        routes.link("add", ifname="dummy0", kind="dummy")
    assert "dummy0" in host.run("ip", "-brief", "link")


def test_any_command_can_be_traced(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.peer, "ipv4", "OUTPUT")
    with lab.trace() as walks:
        net.peer.run("ping", "-c1", "-W1", net.host.address)
    assert "peer IPV4 OUTPUT" in [point for walk in walks for point in walk.points]


def test_what_the_kernel_refuses_is_an_error(lab: Lab) -> None:
    net = lab.pair()
    with pytest.raises(HookRefused):
        lab.hook(net.host, "ipv4", "HOOK9")


def test_a_walk_says_what_it_crossed_where_one_looks_in_vain(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv4", "INPUT")
    walk = lab.send(net.peer, IP(dst=net.host.address) / UDP(dport=9))
    with pytest.raises(AssertionError, match=r"did not cross FORWARD; it crossed .*host IPV4 INPUT"):
        walk.at("FORWARD")


def test_a_warning_that_is_expected(lab: Lab) -> None:
    net = lab.pair()
    with lab.expect_splat("__nf_unregister_net_hook|core.c", harmless=True):
        net.host.module.del_absent_hook(2, 1)


def test_nothing_of_the_tests_above_is_left() -> None:
    assert not netns.DIRECTORY.exists() or not list(netns.DIRECTORY.iterdir())


def test_the_kernel_has_a_release_a_configuration_and_a_profile(kernel: RunningKernel) -> None:
    assert kernel.profile.release == kernel.release
    assert kernel.config["CONFIG_NETFILTER"] == "y"
