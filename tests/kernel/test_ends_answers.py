"""What is answered and what is not: rejects on a bridge, ICMP's questions, and errors about which no socket wants to know."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6MLQuery,
    ICMPv6PacketTooBig,
    ICMPv6Unknown,
    IPv6,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    RouterAlert,
    fragment6,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.sendrecv import send, sendp

from harness.outcome.fate import Fate
from harness.pytest_plugin import Absorbed, Consumed, Delivered, Dropped, DroppedByStack, Rejected
from harness.pytest_plugin.lab import Lab
from harness.pytest_plugin.networks import Bridge, Pair
from tests.kernel.test_ends import about, chain, raw, sockets

LEFT, RIGHT = "fd00::1", "fd00::2"
REJECTED = (Rejected(0), Rejected("EPERM"))


def with_ipv6(net: Bridge) -> Bridge:
    for host, address in ((net.left, LEFT), (net.right, RIGHT)):
        host.sysctl("net.ipv6.conf.eth0.disable_ipv6", 0)
        host.run("ip", "addr", "add", f"{address}/64", "dev", "eth0", "nodad")
    return net


@pytest.mark.parametrize(("rule", "question"), [
    ("udp dport 53 reject", UDP(dport=53)),
    ("udp dport 53 reject with icmpx admin-prohibited", UDP(dport=53)),
    ("tcp dport 80 reject with tcp reset", TCP(sport=5000, dport=80, flags="S")),
])
def test_a_reject_on_a_bridge_is_one_whether_its_answer_is_seen_or_not(lab: Lab, rule: str, question: Packet) -> None:
    net = with_ipv6(lab.bridge())
    lab.nft(chain("prerouting", rule, table="bridge t"))
    packets = [IP(dst=net.right.address) / question, IPv6(dst=RIGHT) / question]
    unseen = [lab.send(net.left, packet) for packet in packets]
    assert [walk.fate in REJECTED for walk in unseen] == [True, True]
    for pf in ("ipv4", "ipv6"):
        lab.hook(net.left, pf, "INPUT")
    seen = [lab.send(net.left, packet) for packet in packets]
    assert [walk.fate in REJECTED for walk in seen] == [True, True]
    names = ["TCP [RA]"] * 2 if question.haslayer(TCP) else ["ICMP destination unreachable", "ICMPv6 destination unreachable"]
    assert [[answer.packet.partition(" 10.")[0].partition(" [fd")[0].partition(" fd")[0] for answer in walk.answers] for walk in seen] == [
        [name] for name in names]


def test_a_reject_on_a_bridge_that_sends_no_answer_is_a_drop(lab: Lab) -> None:
    net = lab.bridge()
    lab.nft(chain("prerouting", "udp dport 53 reject", table="bridge t"))
    walk = lab.send(net.left, IP(dst=net.right.address) / UDP(dport=53, chksum=1))
    assert walk.fate in (Dropped(0), Dropped("EPERM"))


def test_a_ping_that_the_host_ignores_is_dropped(lab: Lab) -> None:
    net = lab.pair()
    for pf in ("ipv4", "ipv6"):
        lab.hook(net.host, pf, "INPUT")
    ping = IP(src=net.peer.address, dst=net.host.address)
    ping6 = IPv6(src=net.peer.address6, dst=net.host.address6)
    pings = {"echo": ping / ICMP() / Raw(b"data"), "without data": ping / ICMP(), "time": ping / ICMP(type=13),
             "echo, IPv6": ping6 / ICMPv6EchoRequest(data=b"data"), "without data, IPv6": ping6 / ICMPv6EchoRequest()}

    def fates() -> dict[str, list[Fate]]:
        found = {}
        for name, packet in pings.items():
            with lab.trace() as walks, net.peer.inside():
                send(packet, verbose=False)
            asked = ("echo request", "icmp type 13")
            found[name] = [walk.fate for walk in walks if walk.outcome.kind in asked]
        return found

    assert fates() == {name: [Delivered()] for name in pings}
    net.host.sysctl("net.ipv4.icmp_echo_ignore_all", 1)
    net.host.sysctl("net.ipv6.icmp.echo_ignore_all", 1)
    assert fates() == {name: [Delivered() if name == "time" else DroppedByStack()] for name in pings}


PROBE = "net.ipv4.icmp_echo_enable_probe"


def test_a_question_about_a_device_is_delivered_only_where_it_is_answered(lab: Lab) -> None:
    """By default it is not; kernels before 5.13 do not know it."""
    net = lab.pair()
    for pf in ("ipv4", "ipv6"):
        lab.hook(net.host, pf, "INPUT")
    of_eth0 = bytes.fromhex("2000 0000 0008 0301") + b"eth0"  # RFC 8335, 2: a device by its name
    packets = [IP(src=net.peer.address, dst=net.host.address) / ICMP(type=42, unused=0x10001) / Raw(of_eth0),
               IPv6(src=net.peer.address6, dst=net.host.address6) / ICMPv6Unknown(type=160, code=0, msgbody=b"\0\1\0\1" + of_eth0)]

    def fates() -> list[Fate]:
        with lab.trace() as walks, net.peer.inside():
            for packet in packets:
                send(packet, verbose=False)
        return [walk.fate for walk in walks if walk.outcome.kind in ("icmp type 42", "icmp type 160")]

    assert fates() == [DroppedByStack()] * 2
    if Path("/proc/sys", *PROBE.split(".")).exists():
        net.host.sysctl(PROBE, 1)
        assert fates() == [Delivered()] * 2


@pytest.mark.parametrize("last_first", [False, True])
def test_a_ping_in_fragments_that_the_host_ignores_is_dropped(lab: Lab, *, last_first: bool) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv6", "INPUT")
    ping = IPv6(src=net.peer.address6, dst=net.host.address6) / IPv6ExtHdrFragment(id=7) / ICMPv6EchoRequest(data=b"x" * 800)

    def fates() -> list[Fate]:
        parts = fragment6(ping, 576)  # type: ignore[no-untyped-call]
        with lab.trace() as walks, net.peer.inside():
            send(parts[::-1] if last_first else parts, verbose=False)
        return [walk.fate for walk in about(walks, f"ICMPv6 {'' if last_first else 'echo request '}{net.peer.address6} >")
                + about(walks, f"ICMPv6 {'echo request ' if last_first else ''}{net.peer.address6} >")]

    assert fates() == [Absorbed(), Delivered()]
    net.host.sysctl("net.ipv6.icmp.echo_ignore_all", 1)
    assert fates() == [Absorbed(), DroppedByStack()]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_icmp_of_a_type_that_the_host_only_discards_is_dropped_unless_a_raw_socket_takes_it(
        lab: Lab, family: socket.AddressFamily) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv6" if family is socket.AF_INET6 else "ipv4", "INPUT")
    packets: list[Packet]
    if family is socket.AF_INET6:
        packets = [IPv6(dst=net.host.address6) / ICMPv6Unknown(type=kind, code=0, msgbody=b"x" * 24) for kind in (132, 140, 144, 161, 200)]
        icmp = socket.IPPROTO_ICMPV6
    else:
        packets = [IP(dst=net.host.address) / ICMP(type=kind) / Raw(b"x" * 24) for kind in (1, 9, 10, 14, 15, 17, 18)]
        icmp = socket.IPPROTO_ICMP

    def fates() -> list[Fate]:
        with lab.trace() as walks, net.peer.inside():
            send(packets, verbose=False)
        return [walk.fate for walk in walks if walk.points[-1].endswith("INPUT")]

    assert fates() == [DroppedByStack()] * len(packets)
    with net.host.inside():
        heard = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, icmp)
    with heard:
        assert fates() == [Delivered()] * len(packets)


def test_a_query_for_listeners_that_does_not_come_from_the_link_is_dropped(lab: Lab) -> None:
    """RFC 3810, 6.2: a link-local source, a hop limit of 1 and a router alert are wanted."""
    net = lab.pair()
    lab.hook(net.host, "ipv6", "INPUT")
    local = "fe80::2"
    alert, query = IPv6ExtHdrHopByHop(options=[RouterAlert()]), ICMPv6MLQuery(mladdr="::")
    packets = [IPv6(src=source, dst="ff02::1", hlim=limit) / rest for source, limit, rest in (
        (local, 1, alert / query), (net.peer.address6, 1, alert / query), (local, 2, alert / query), (local, 1, query))]
    with lab.trace() as walks, net.peer.inside():
        for packet in packets:
            sendp(Ether(dst="33:33:00:00:00:01") / packet, iface="eth0", verbose=False)
        time.sleep(1.5)
    found = [walk for walk in walks if walk.outcome.kind == "icmp type 130"]
    assert [walk.fate for walk in found] == [Delivered(), *[DroppedByStack()] * 3], [walk.outcome.fate for walk in found]


IP_RECVERR, IPV6_RECVERR = (socket.IPPROTO_IP, 11), (socket.IPPROTO_IPV6, 25)
IDENT = 77


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_an_icmp_error_in_a_socket_s_error_queue_is_delivered(lab: Lab, family: socket.AddressFamily) -> None:
    """A ping socket asks for errors about what it sent (``ping_err``), as does a raw socket (``raw_icmp_error``)."""
    net = lab.pair()
    net.host.sysctl("net.ipv4.ping_group_range", "0 0")
    lab.hook(net.host, "ipv6" if family is socket.AF_INET6 else "ipv4", "INPUT")
    here, there, here6, there6 = net.host.address, net.peer.address, net.host.address6, net.peer.address6
    unreachable: Packet
    echo: Packet
    if family is socket.AF_INET6:
        unreachable = IPv6(dst=here6) / ICMPv6DestUnreach() / IPv6(src=here6, dst=there6)
        echo, icmp, name, wanted = ICMPv6EchoRequest(id=IDENT), socket.IPPROTO_ICMPV6, "::", IPV6_RECVERR
    else:
        unreachable = IP(dst=here) / ICMP(type=3, code=1) / IP(src=here, dst=there)
        echo, icmp, name, wanted = ICMP(id=IDENT), socket.IPPROTO_ICMP, "", IP_RECVERR

    def fates(kind: socket.SocketKind, protocol: int, quoted: Packet) -> list[Fate]:
        """Of an error that comes before the socket asks for errors, and of one after."""
        with net.host.inside():
            waiting = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
        with waiting, lab.trace() as walks, net.peer.inside():
            waiting.bind((name, IDENT if kind is socket.SOCK_DGRAM else 0))
            send(unreachable / quoted, verbose=False)
            waiting.setsockopt(*wanted, 1)
            send(unreachable / quoted, verbose=False)
            assert waiting.recvmsg(99, 999, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)[1]
        return [walk.fate for walk in about(walks, "destination unreachable")]

    assert fates(socket.SOCK_DGRAM, icmp, echo) == [Consumed(), Delivered()]
    assert fates(socket.SOCK_RAW, socket.IPPROTO_UDP, UDP(sport=9, dport=9)) == [DroppedByStack(), Delivered()]


def test_the_time_of_sending_in_an_error_queue_delivers_nothing(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.peer, "ipv4", "OUTPUT")
    with sockets(socket.SOCK_DGRAM, (net.peer, ("", 0))) as (client,), lab.trace() as walks:
        client.setsockopt(socket.SOL_SOCKET, 37, 1 << 8 | 1 << 4)  # SO_TIMESTAMPING: SOF_TIMESTAMPING_TX_SCHED, _SOFTWARE
        for _ in range(4):
            client.sendto(b"nobody reads it", (net.host.address, 9))
        told = [client.recvmsg(99, 999, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)[1] for _ in range(4)]
    assert all(told)
    assert [walk.fate for walk in about(walks, "UDP")] == [DroppedByStack()] * 4


def errors(net: Pair, *, udp: int, tcp: int, to: int) -> Mapping[str, Packet]:
    """ICMP errors to the host, about what it has not sent.

    :param udp: its port
    :param tcp: its port, of a connection to the peer's port *to*
    """
    here, there = net.host.address, net.peer.address
    here6, there6 = net.host.address6, net.peer.address6
    asked = {"UDP": UDP(sport=udp, dport=9), "TCP": TCP(sport=tcp, dport=to), "echo": ICMP()}
    return {
        **{name: IP(dst=here) / ICMP(type=3, code=1) / IP(src=here, dst=there) / packet for name, packet in asked.items()},
        "too long": IP(dst=here) / ICMP(type=3, code=4, nexthopmtu=1300) / IP(src=here, dst=there) / asked["UDP"],
        "UDP, IPv6": IPv6(dst=here6) / ICMPv6DestUnreach() / IPv6(src=here6, dst=there6) / asked["UDP"],
        "TCP, IPv6": IPv6(dst=here6) / ICMPv6DestUnreach() / IPv6(src=here6, dst=there6) / asked["TCP"],
        "too long, IPv6": IPv6(dst=here6) / ICMPv6PacketTooBig(mtu=1300) / IPv6(src=here6, dst=there6) / asked["UDP"],
    }


def test_an_icmp_error_that_no_socket_waits_for_is_dropped(lab: Lab) -> None:
    net = lab.pair()
    for pf in ("ipv4", "ipv6"):
        lab.hook(net.host, pf, "INPUT")

    def fates(**ports: int) -> dict[str, list[Fate]]:
        found = {}
        for name, packet in errors(net, **ports).items():
            with lab.trace() as walks, net.peer.inside():
                send(packet, verbose=False)
            found[name] = [walk.fate for walk in about(walks, "ICMP") if "neighbour" not in walk.packet]
        return found

    for_the_stack = {"too long": [Delivered()], "too long, IPv6": [Delivered()]}
    nobody = fates(udp=7, tcp=7, to=7)
    assert nobody == {name: [DroppedByStack()] for name in nobody} | {"echo": [Consumed()]} | for_the_stack
    with ExitStack() as stack:
        for family, here in ((socket.AF_INET, net.host.address), (socket.AF_INET6, net.host.address6)):
            with net.host.inside():
                waiting = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC))
            waiting.bind((here, 7))
        server, client = stack.enter_context(sockets(socket.SOCK_STREAM, (net.peer, ("", 7)), (net.host, ("", 0))))
        server.listen()
        client.connect((net.peer.address, 7))
        waited = fates(udp=7, tcp=client.getsockname()[1], to=7)
        assert waited == {name: [Delivered()] for name in waited} | {"echo": [Consumed()], "TCP, IPv6": [DroppedByStack()]}
    with raw(net.host, socket.IPPROTO_ICMP):
        taken = fates(udp=7, tcp=7, to=7)
    assert [taken[name] for name in ("UDP", "TCP", "echo")] == [[Delivered()]] * 3
