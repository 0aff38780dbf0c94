"""Packet sockets beside the stack, as tcpdump's: they hold what they take, and the packet's story goes on without them."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from harness.guest.module import Hook, HookModule
from harness.guest.topology import built
from harness.guest.tracing import tracer
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.types import Relation
from harness.pytest_plugin import Consumed, Delivered, DroppedByStack, Walk
from harness.pytest_plugin.lab import Lab
from harness.pytest_plugin.networks import Host, Pair
from harness.scenario.topology import BRIDGE
from harness.trace.capture import Capture
from harness.walks.assembly import assembled

ALL, IP, ARP, IPV6, NOBODYS = 3, 0x0800, 0x0806, 0x86DD, 0x88B5
PREROUTING, INPUT, FORWARD, OUTPUT = range(4)
ACCEPT = Verdict(VerdictKind.ACCEPT)
RAW, COOKED = socket.SOCK_RAW, socket.SOCK_DGRAM
SOL_PACKET, PACKET_VERSION, PACKET_RX_RING, TPACKET_V2 = 263, 10, 5, 1


def tap(host: Host, protocol: int, kind: socket.SocketKind, device: str, *, ring: bool) -> socket.socket:
    with host.inside():
        made = socket.socket(socket.AF_PACKET, kind | socket.SOCK_CLOEXEC, 0 if device else socket.htons(protocol))
    if ring:
        made.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
        made.setsockopt(SOL_PACKET, PACKET_RX_RING, struct.pack("IIII", 4096, 8, 2048, 16))
    if device:
        made.bind((device, protocol))
    made.setblocking(False)
    return made


@contextmanager
def taps(*ends: tuple[Host, str], protocols: Sequence[int], kind: socket.SocketKind = RAW, ring: bool = False,
         read: bool = False) -> Iterator[None]:
    """Packet sockets that are closed with what is in their queues, or are read before."""
    with ExitStack() as stack:
        opened = [stack.enter_context(tap(host, protocol, kind, device, ring=ring)) for host, device in ends for protocol in protocols]
        yield
        for one in opened if read and not ring else ():
            try:
                while one.recv(1):
                    pass
            except BlockingIOError:
                pass


def told(walks: Sequence[Walk], words: str) -> list[Walk]:
    return [walk for walk in walks if words in walk.packet]


def hooked(lab: Lab) -> Pair:
    net = lab.pair()
    lab.hook(net.host, "netdev", "INGRESS", device="eth0")
    for pf in ("ipv4", "ipv6", "arp"):
        lab.hook(net.peer, pf, "OUTPUT")
        lab.hook(net.host, pf, "INPUT")
    return net


@pytest.mark.parametrize("read", [True, False], ids=["read", "closed"])
@pytest.mark.parametrize(("protocol", "kind", "device", "ring"), [
    (IP, RAW, "eth0", False), (IP, COOKED, "eth0", False), (IP, RAW, "eth0", True), (IP, RAW, "", False),
    (ALL, RAW, "", False), (ALL, COOKED, "eth0", False), (ALL, RAW, "", True),
], ids=["ip raw", "ip cooked", "ip ring", "ip on any", "all on any", "all cooked", "all ring"])
def test_a_packet_that_a_tap_takes_too_has_one_story(lab: Lab, protocol: int, kind: socket.SocketKind, device: str, *, ring: bool,
                                                     read: bool) -> None:
    net = hooked(lab)
    with ExitStack() as stack:
        with net.host.inside():
            server = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with net.peer.inside():
            client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        server.bind(("", 7))
        server.settimeout(5)
        with lab.trace() as walks, taps((net.host, device), (net.peer, device), protocols=[protocol], kind=kind, ring=ring, read=read):
            for _ in range(2):
                client.sendto(b"x", (net.host.address, 7))
                assert server.recv(9) == b"x"
            client.sendto(b"x", (net.host.address, 9))
    seen = told(walks, "UDP")
    assert [walk.fate for walk in seen] == [Delivered(), Delivered(), DroppedByStack()]
    way = ["peer IPV4 OUTPUT", "host NETDEV INGRESS", "host IPV4 INPUT"]
    assert [[point for point in walk.points if point in way] for walk in seen] == [way] * 3


@pytest.mark.parametrize("read", [True, False], ids=["read", "closed"])
def test_ipv6_and_arp_too(lab: Lab, *, read: bool) -> None:
    net = hooked(lab)
    with lab.trace() as walks, taps((net.host, "eth0"), protocols=[ARP, IPV6], read=read):
        net.peer.run("ping", "-c1", "-W2", "-n", net.host.address6)
        net.peer.run("ping", "-c1", "-W1", "-n", "10.0.0.77", check=False)
    asked, = told(walks, "echo request fd00")
    assert (asked.fate, asked.points[-1]) == (Delivered(), "host IPV6 INPUT")
    asked = told(walks, "ARP who has 10.0.0.77")[0]
    assert (asked.fate, asked.points[:3]) == (Consumed(), ["peer ARP OUTPUT", "host NETDEV INGRESS", "host ARP INPUT"])


@pytest.mark.parametrize("how", ["read", "closed", "no tap"])
def test_what_only_a_tap_gets_is_dropped_as_it_is_without_one(lab: Lab, how: str) -> None:
    net = hooked(lab)
    datagram = bytes.fromhex("4500001d00004000401126ce0a0000020a000001") + struct.pack("!HHHH", 5, 9, 9, 0) + b"x"
    own = bytes.fromhex(json.loads(net.host.run("ip", "-j", "link", "show", "eth0"))[0]["address"].replace(":", ""))
    sender = bytes.fromhex("020000000078")
    with lab.trace() as walks, taps((net.host, "eth0"), protocols=[] if how == "no tap" else [IP, NOBODYS], read=how == "read"), \
            tap(net.peer, 0, RAW, "eth0", ring=False) as out:
        out.send(bytes.fromhex("020000000077") + sender + struct.pack("!H", IP) + datagram)
        out.send(own + sender + struct.pack("!H", NOBODYS) + bytes(46))
    seen = told(walks, "UDP 10.0.0.2:5") + told(walks, "0x88b5")
    assert [walk.fate for walk in seen] == [DroppedByStack()] * 2
    said = [str(walk.reason).partition(",")[0] for walk in seen]
    assert (said == ["only a packet socket got it"] * 2) == (how != "no tap")


@pytest.mark.usefixtures("nfharness_ko")
def test_what_a_bridge_floods_and_what_a_host_sends_itself_are_copies() -> None:
    """Without a cookie, which would make them one packet."""
    with built(BRIDGE) as network, HookModule(network.namespaces["left"]) as left, HookModule(network.namespaces["bridge"]) as bridge:
        left.add_hook(Hook(1, Family.IPV4, OUTPUT, 0, ACCEPT))
        left.add_hook(Hook(2, Family.IPV4, INPUT, 0, ACCEPT))
        for number, hook in enumerate((PREROUTING, INPUT, FORWARD), 1):
            bridge.add_hook(Hook(number, Family.BRIDGE, hook, 0, ACCEPT))
        with Capture(tracer()) as capture, network.namespaces["left"].inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
            out.sendto(b"x", ("255.255.255.255", 9))
            while capture.drain(0.5):
                continue
    seen = [packet for packet in assembled(capture.recording()).packets if packet.packet.startswith("UDP")]
    sent, *copies = seen
    assert sent.relation is None
    assert {packet.relation for packet in copies} == {Relation("copy of", sent.number)}
    assert {packet.traversals[-1].hook for packet in copies} == {INPUT, FORWARD}


@pytest.mark.parametrize("group", ["1 0", "0 0"], ids=["raw", "ping socket"])
@pytest.mark.parametrize("version", [4, 6])
def test_an_icmp_error_that_ping_has_in_its_error_queue_is_delivered_beside_a_tap(lab: Lab, version: int, group: str) -> None:
    """The error is seen at no hook point behind the tap."""
    net = lab.pair()
    net.host.sysctl("net.ipv4.ping_group_range", group)
    net.peer.sysctl("net.ipv4.icmp_ratelimit", 0)
    for pf in ("ipv4", "ipv6"):
        lab.hook(net.peer, pf, "OUTPUT")
    lab.nft("table inet t { chain i { type filter hook input priority 0; meta l4proto { icmp, icmpv6 } reject; }; }", at=net.peer)
    address = net.peer.address if version == 4 else net.peer.address6
    with lab.trace() as walks, taps((net.host, "eth0"), protocols=[IP, IPV6]):
        said = net.host.run("ping", "-c1", "-W2", "-n", address, check=False)
    assert "+1 errors" in said
    error, = told(walks, "destination unreachable")
    assert (error.fate, error.points[0].split()[0], error.points[-1].split()[0]) == (Delivered(), "peer", "peer")
