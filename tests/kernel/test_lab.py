"""The fixture ``lab``: what a test builds with it, what a packet's walk tells, and that nothing of it stays."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether

from harness.guest import netns
from harness.guest.module import HookRefused
from harness.pytest_plugin import Delivered, Dropped
from harness.pytest_plugin.guest.rehearsal import test_rehearsal  # noqa: F401 - whether a template's rehearsal passes
from harness.pytest_plugin.kernel import RunningKernel
from harness.pytest_plugin.lab import Lab
from harness.pytest_plugin.mistakes import Mistake
from harness.pytest_plugin.networks import CommandFailed
from harness.scenario.topology import PAIR, Link, Topology, VethEnd


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
    assert walk.at("forward").calls[0].rule == "udp dport 53 drop"
    assert walk.decided.startswith("dropped (EPERM) at router IPV4 FORWARD by ip fence newer ")
    assert ", rule 'udp dport 53 drop'" in walk.decided
    assert lab.send(net.client, IP(dst=net.server.address) / UDP(dport=54)).at("forward").names == ["fence newer", "fence older"]


def test_among_equal_priorities_the_kernel_says_which_chain_a_call_is_of(lab: Lab) -> None:
    """``nft list chains`` has both of ``docker`` before ``admin``, whichever came first."""
    net = lab.router()
    lab.nft("""
        table ip docker { chain first { type filter hook forward priority 0; }; }
        table inet admin { chain second { type filter hook forward priority 0; }; }
    """)
    lab.nft("table ip docker { chain third { type filter hook forward priority 0; udp dport 53 drop; }; }")
    walk = lab.send(net.client, IP(dst=net.server.address) / UDP(dport=54))
    assert walk.at("FORWARD").names == ["docker third", "admin second", "docker first"]
    assert [call.chain for call in walk.at("FORWARD").calls] == ["ip docker third", "inet admin second", "ip docker first"]
    assert lab.send(net.client, IP(dst=net.server.address) / UDP(dport=53)).at("FORWARD").names == ["docker third"]


def test_a_chain_at_a_device_has_its_name(lab: Lab) -> None:
    net = lab.pair()
    lab.nft("table netdev guard { chain in { type filter hook ingress device eth0 priority 0; }; }", at=net.host)
    walk = lab.send(net.peer, IP(dst=net.host.address) / UDP(dport=9))
    assert walk.at("INGRESS").names == ["guard in"]


def test_nat_s_hook_tells_which_nat_chains_it_called(lab: Lab) -> None:
    net = lab.router()
    lab.nft("""
        table ip a { chain pre { type nat hook prerouting priority -100; udp dport 7 redirect to :70; }; }
        table ip b { chain pre { type nat hook prerouting priority -100; udp dport 7 dnat to 10.0.2.2:71; }; }
    """)
    nat, = (call for call in lab.send(net.client, IP(dst=net.server.address) / UDP(dport=7)).at("PREROUTING").calls if call.calls)
    assert [(call.name, call.verdict) for call in nat.calls] == [("b pre", "ACCEPT")]
    nat, = (call for call in lab.send(net.client, IP(dst=net.server.address) / UDP(dport=8)).at("PREROUTING").calls if call.calls)
    assert [call.name for call in nat.calls] == ["b pre", "a pre"]


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


def test_a_reset_is_an_answer(lab: Lab) -> None:
    net = lab.router()
    lab.hook(net.client, "ipv4", "INPUT")
    lab.nft("table ip t { chain c { type filter hook forward priority 0; tcp dport 80 reject with tcp reset; }; }")
    rejected = lab.send(net.client, IP(dst=net.server.address) / TCP(sport=1234, dport=80, flags="S"))
    refused = lab.send(net.client, IP(dst=net.server.address) / TCP(sport=1235, dport=81, flags="S"))
    assert [answer.at("INPUT").netns for walk in (rejected, refused) for answer in walk.answers] == ["client", "client"]
    assert [walk.at("FORWARD").calls[-1].rule for walk in (rejected, refused)] == ["tcp dport 80 reject with tcp reset", None]


def test_a_server_of_the_tests_own_keeps_its_port(lab: Lab) -> None:
    net = lab.pair()
    with net.host.inside():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server:
        server.bind(("", 53))
        walk = lab.send(net.peer, IP(dst=net.host.address) / UDP(dport=53), cookie=7)
        assert server.recv(100).endswith((7).to_bytes(8, "big"))
        assert walk.sent_errno == 0


def mistakes(lab: Lab, net: Any) -> list[tuple[Callable[[], object], str]]:
    """Each with what must be said of it."""
    return [
        (lambda: lab.hook(net.host, "netdev", "INGRESS", device="eth7"), 'no device of host "eth7"; did you mean "eth0"?'),
        (lambda: lab.hook(net.host, "ipv4", "FORWAD"), 'no hook point of ipv4 "FORWAD"; did you mean "FORWARD"?'),
        (lambda: lab.hooks(net.host, "arp", "PREROUTING"), "there are: FORWARD, INPUT, OUTPUT"),
        (lambda: lab.hook(net.host, "ipv44", "INPUT"), 'no family "ipv44"; did you mean "IPV4"?'),
        (lambda: lab.hook(net.host, "ipv4", "INPUT", verdict="DORP"), 'no verdict "DORP"; did you mean "DROP"?'),
        (lambda: lab.hook(net.host, "ipv4", "INPUT", errno="EPREM"), 'no errno "EPREM"; did you mean "EPERM"?'),
        (lambda: lab.hook(net.host, "ipv4", "INPUT", priority=2**31), "a number from -2147483648 to 2147483647"),
        (lambda: lab.hook(net.host, "ipv4", "INPUT", queue=-1), "the queue is -1; a number from 0 to 65535"),
        (lambda: lab.hook(net.host, "ipv4", "INPUT", cookie=-1), "the cookie is -1"),
        (lambda: lab.hook(net.host, "netdev", "ingress"),
         "device= is missing: each device has a separate NETDEV INGRESS; devices of host: lo"),
        (lambda: lab.hook(net.host, "inet", "INGRESS"), "device= is missing"),
        (lambda: lab.hooks(net.host, "netdev", "INGRESS"), "device= is missing"),
        (lambda: lab.hook(net.host, "ipv4", "INPUT", device="eth0"), "IPV4 INPUT is no device's; only hook points of netdev"),
        (lambda: lab.hook(net.host, "ipv4", "INPUT", errno="EPERM"), "ACCEPT has no errno; only DROP and STOLEN have one"),
        (lambda: lab.hook(net.host, "ipv4", "INPUT", verdict="DROP", errno=4096), "errno is 4096; a number from 0 to 4095"),
        (lambda: lab.hook(net.host, "ipv4", "INPUT", verdict="DROP", queue=7), "DROP has no queue=; only QUEUE has one"),
        (lambda: lab.hook(net.host, "ipv4", "INPUT", bypass=True), "ACCEPT has no bypass=; only QUEUE has one"),
        (lambda: lab.hook(net.host, "ipv4", "INPUT", verdict="REPEAT"), "there are: ACCEPT, DROP, QUEUE, STOLEN"),
        (lambda: lab.hook(net.host, "arp", "INPUT", verdict="QUEUE"), "ARP INPUT cannot queue"),
        (lambda: lab.hook(net.host, "netdev", "INGRESS", device="eth0", verdict="QUEUE"), "NETDEV INGRESS cannot queue"),
        (lambda: Dropped("EPREM"), 'there is no errno "EPREM"; did you mean "EPERM"?'),
        (lambda: lab.hook("host", "ipv4", "INPUT"), "hosts, as in net.host: peer, host"),  # type: ignore[arg-type]
        (lambda: net["hots"], 'no host "hots"; did you mean "host"?'),
        (lambda: lab.kernel.require(probe="inet_ingres"), 'no probe "inet_ingres"; did you mean "inet_ingress"?'),
        (lambda: lab.nft("tabel ip t {}"), "syntax error"),
        (lambda: lab.send(net.peer, b"x"), "which is no Packet"),  # type: ignore[arg-type]
        (lambda: lab.send(net.peer, Ether(), device="eth9"), 'did you mean "eth0"?'),
        (lambda: lab.send(net.peer, Ether()), "devices of peer: lo, "),  # then those that modules bring which an earlier test loaded
        (lambda: net.peer.run("pingg"), 'no command "pingg"; did you mean "ping"?'),
        (lambda: net.peer.sysctl("net.ipv4.ip_forwrad", 1), 'did you mean "net.ipv4.ip_forward"?'),
        (lambda: lab.vlan(5000), "a number from 1 to 4094"),
        (lambda: lab.namespace("a/b"), "use letters, digits"),
        (lambda: lab.network(Topology("t", ("a",), links=(Link(VethEnd("a", "x"), VethEnd("b", "y")),))), 'no namespace "b"'),
        (lambda: lab.network(PAIR, main="hots"), 'did you mean "host"?'),
        (lambda: lab.expect_splat("("), "is no regular expression"),
        (lambda: net.hots, 'no host "hots"; did you mean "host"?'),
        (lambda: lab.namespace("peer"), 'the lab has a host "peer" already'),
        (lab.pair, 'the lab has a host "peer" already'),
        (lambda: lab.hook(net.host, "ipv4", "INPUT", name="a\0b"), "printable characters"),
        (lambda: lab.hook(net.host, "ipv4", "INPUT", name=5), "the name is 5, which is no str"),  # type: ignore[arg-type]
        (lambda: lab.nft(None), "the ruleset is None, which is no str"),  # type: ignore[arg-type]
        (lambda: lab.send(net.peer, IP(dst="10.0.0.0/30") / UDP()), "one address"),
        (lambda: lab.send(net.peer, IP(dst="10.9.9.9") / UDP()), "peer has no way to 10.9.9.9: Network is unreachable"),
        (net.peer.run, "the command is empty"),
        (lambda: net.peer.run(""), "the command is ''"),
        (lambda: net.peer.run("a\0b"), "the command is 'a\\x00b'"),
        (lambda: net.peer.run("/etc/passwd"), 'the command "/etc/passwd" cannot be run: Permission denied'),
        (lambda: lab.nft("table ip x\0 {}"), "the ruleset has a NUL at character 10"),
        (lambda: net.peer.run(["ip", "link"]), "a string for each word"),
        (lambda: net.peer.sysctl("net.ipv4.ip_forward", "abc"), 'net.ipv4.ip_forward does not take "abc": Invalid argument; it is 0'),
        (lambda: net.peer.sysctl(None, 1), "the setting's name is None, which is no str"),
        (lambda: lab.namespace(5), "the name is 5, which is no str"),  # type: ignore[arg-type]
        (lambda: lab.hook(net.host, "ip", "INPUT"), 'there is no family "ip"; did you mean "IPV4"?'),
        (lambda: net.peer.sysctl("kernel.panic", 1), "kernel.panic is the whole kernel's"),
        (lambda: lab.send(net.peer, IP(dst=net.host.address) / UDP()).fate == "delivered", "compare it with Delivered()"),
    ]


def test_a_mistake_is_told_with_what_there_is(lab: Lab) -> None:
    with pytest.raises(Mistake, match="make one before"):
        lab.nft("table ip t {}")
    net = lab.pair()
    for mistake, said in mistakes(lab, net):
        with pytest.raises(Mistake, match=re.escape(said)):
            mistake()


def test_a_lab_whose_test_is_over_takes_nothing(kernel: RunningKernel, request: pytest.FixtureRequest) -> None:
    with Lab(kernel, request.node) as lab:
        net = lab.pair()
        hook = lab.hook(net.host, "ipv4", "INPUT")
    packet, optimised = IP(dst=net.host.address) / UDP(dport=9), Path("/proc/sys/debug/kprobes-optimization")
    before = optimised.read_text() if optimised.exists() else ""
    uses: list[Callable[[], object]] = [
        lab.pair, lab.bridge, lambda: lab.namespace("lone"), lambda: lab.module("nfharness"), lambda: lab.nft("table ip t {}"),
        lambda: lab.hook(net.host, "ipv4", "INPUT"), lambda: lab.hooks(net.host, "ipv4", "INPUT"), lambda: lab.send(net.peer, packet),
        lambda: lab.connect(net.peer, net.host, 80), lambda: lab.flood(net.peer, net.host), lambda: lab.trace().__enter__(),
        lambda: lab.listener(net.host).__enter__(), lambda: lab.expect_splat("WARNING"),
    ]
    for use in uses:
        with pytest.raises(Mistake, match="this lab's test is over"):
            use()
    assert (optimised.read_text() if optimised.exists() else "") == before
    uses = [lambda: net.host.run("true"), lambda: net.host.sysctl("net.ipv4.ip_forward", 1), net.host.flows,
            lambda: net.host.routes().__enter__()]
    for use in uses:
        with pytest.raises(Mistake, match="the host host is gone"):
            use()
    for use in (lambda: hook.calls, hook.remove):
        with pytest.raises(Mistake, match="is gone"):
            use()


def test_a_host_of_another_lab_is_refused(lab: Lab, kernel: RunningKernel, request: pytest.FixtureRequest) -> None:
    with Lab(kernel, request.node) as other:
        gone = other.pair()
    lab.pair()
    for use in (lambda: lab.send(gone.peer, IP(dst="10.0.0.1") / UDP(dport=9)), lambda: lab.nft("table ip t {}", at=gone.host),
                lambda: lab.hook(gone.host, "ipv4", "INPUT"), lambda: lab.connect(gone.peer, "10.0.0.1", 80)):
        with pytest.raises(Mistake, match="is gone"):
            use()


def test_a_block_is_traced_once(lab: Lab) -> None:
    net = lab.pair()
    with lab.trace():
        with pytest.raises(Mistake, match="call it outside of trace"):
            lab.send(net.peer, IP(dst=net.host.address) / UDP(dport=9))
        with pytest.raises(Mistake, match="one trace"), lab.trace():
            pass
    assert lab.send(net.peer, IP(dst=net.host.address) / UDP(dport=9)).fate == Delivered()


def test_a_command_that_fails_shows_what_it_said(lab: Lab) -> None:
    with pytest.raises(CommandFailed) as failed:
        lab.pair().host.run("sh", "-c", "echo told; echo why >&2; exit 3")
    assert str(failed.value) == "sh -c 'echo told; echo why >&2; exit 3' ended with exit status 3 in host\nstdout:\ntold\nstderr:\nwhy"


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
    net = lab.network(Topology("one", ("a", "b"), links=(Link(VethEnd("a", "x", ("10.9.0.1/24",)), VethEnd("b", "y", ("10.9.0.2/24",))),)))
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
    with pytest.raises(Mistake, match=r'no hook point "FORWAD"; did you mean "FORWARD"\?'):
        walk.at("FORWAD")


def test_a_warning_that_is_expected(lab: Lab) -> None:
    net = lab.pair()
    with lab.expect_splat("__nf_unregister_net_hook|core.c", harmless=True):
        net.host.module.del_absent_hook(2, 1)


def test_nothing_of_the_tests_above_is_left() -> None:
    assert not netns.DIRECTORY.exists() or not list(netns.DIRECTORY.iterdir())


def test_the_kernel_has_a_release_a_configuration_and_a_profile(kernel: RunningKernel) -> None:
    assert kernel.profile.release == kernel.release
    assert kernel.config["CONFIG_NETFILTER"] == kernel.config["NETFILTER"] == "y"
    assert kernel.config.get("NETFILTER") == "y"
    assert "NO_SUCH_OPTION" not in kernel.config


def test_a_command_in_one_word_has_the_hint_to_take_it_apart(lab: Lab) -> None:
    with pytest.raises(Mistake) as told:
        lab.pair().host.run("nft list ruleset")
    assert told.value.hint == 'give each argument by itself: run("nft", "list", "ruleset")'


def test_a_packet_that_scapy_cannot_build_is_a_mistake(lab: Lab) -> None:
    net = lab.pair()
    with pytest.raises(Mistake, match="scapy cannot build the packet"):
        lab.send(net.peer, IP(dst=net.host.address) / UDP(dport=9) / bytes(70_000))
