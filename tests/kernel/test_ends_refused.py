"""What is refused without a word of the kernel's that says so: TCP's segments, a bridge's reject, a chain that could not reroute."""

from __future__ import annotations

import socket
import time

import pytest
from scapy.layers.inet import IP, TCP, IPOption
from scapy.packet import Raw

from harness.outcome import describe
from harness.pytest_plugin import Delivered, DroppedByStack, Rejected
from harness.pytest_plugin.lab import Lab
from harness.pytest_plugin.networks import Host
from tests.kernel.test_ends import about, chain, raw, sockets


def forger(host: Host) -> socket.socket:
    """A raw socket that sends packets together with their headers."""
    made = raw(host, socket.IPPROTO_RAW)
    made.setsockopt(socket.SOL_IP, socket.IP_HDRINCL, 1)
    return made


@pytest.mark.parametrize("flags", ["", "F", "FPU", "FS", "R", "SR", "SRP", "SRU"])
def test_a_listener_throws_away_a_segment_that_neither_asks_nor_acknowledges(lab: Lab, flags: str) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv4", "INPUT")
    with sockets(socket.SOCK_STREAM, (net.host, ("", 7))) as (server,), forger(net.peer) as sender, lab.trace() as walks:
        server.listen()
        segment = IP(src=net.peer.address, dst=net.host.address) / TCP(sport=5000, dport=7, flags=flags, seq=1)
        sender.sendto(bytes(segment), (net.host.address, 0))
    assert [walk.fate for walk in about(walks, ":5000 > ")] == [DroppedByStack()]


def test_a_connection_throws_away_what_has_no_flags_or_acknowledges_what_was_not_sent(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv4", "INPUT")
    with sockets(socket.SOCK_STREAM, (net.host, ("", 7)), (net.peer, ("", 0))) as (server, client), forger(net.peer) as sender:
        with lab.trace() as before:
            server.listen()
            client.connect((net.host.address, 7))
            accepted, _ = server.accept()
        handshake = about(before, "TCP [A] ")
        port, head = client.getsockname()[1], handshake[0].outcome.traversals[-1].head
        seq, ack = (int.from_bytes(head[at:at + 4], "big") for at in (24, 28))
        with accepted, lab.trace() as walks:
            for flags, number in (("", ack), ("A", ack + 50_000)):
                segment = IP(src=net.peer.address, dst=net.host.address) / TCP(
                    sport=port, dport=7, flags=flags, seq=seq, ack=number % 2**32, options=[])
                sender.sendto(bytes(segment), (net.host.address, 0))
                time.sleep(0.1)
            client.sendall(b"data")
            assert accepted.recv(9) == b"data"
            accepted.sendall(b"answer")
            assert client.recv(9) == b"answer"
            time.sleep(0.2)
    sent = about(walks, f":{port} > {net.host.address}:7,")
    # The last one is an acknowledgement of use.
    assert [walk.fate for walk in sent] == [DroppedByStack(), DroppedByStack(), Delivered(), Delivered()]
    assert [walk.fate for walk in handshake] == [Delivered()]


@pytest.mark.parametrize("rule", ["udp dport 53 reject", "tcp dport 80 reject with tcp reset"])
def test_a_bridge_that_rejects(lab: Lab, rule: str) -> None:
    net = lab.bridge()
    lab.hook(net.left, "ipv4", "INPUT")
    lab.nft(chain("prerouting", rule, table="bridge t"))
    kind, port = (socket.SOCK_DGRAM, 53) if rule.startswith("udp") else (socket.SOCK_STREAM, 80)
    with sockets(kind, (net.left, ("", 0))) as (client,), lab.trace() as walks, pytest.raises(ConnectionRefusedError):
        client.connect((net.right.address, port))
        client.send(b"question")
        client.recv(9)
    asked, answer = walks[0], walks[-1]
    assert asked.fate in (Rejected(0), Rejected("EPERM"))
    assert (answer.outcome.relation, asked.answers[0].packet) == (("answer to", asked.outcome.number), answer.packet)


def test_a_chain_that_cannot_reroute_what_it_accepted_has_no_policy_to_blame(lab: Lab) -> None:
    net = lab.pair()
    net.peer.run("ip", "rule", "add", "fwmark", "5", "prohibit")
    net.peer.run("nft", "table ip r { chain o { type route hook output priority 0; policy accept; udp dport 55 meta mark set 5; }; }")
    with sockets(socket.SOCK_DGRAM, (net.peer, ("", 0))) as (client,), lab.trace() as walks, pytest.raises(PermissionError):
        client.sendto(b"marked", (net.host.address, 55))
    call = walks[0].outcome.traversals[-1].calls[-1]
    assert (str(call.verdict), call.policy, call.rule) == ("DROP(EACCES)", False, None)
    assert describe.decided_by(call) == "its chain accepted, and there was no route for what it made of the packet"


def test_a_packet_that_a_socket_for_router_alerts_takes_is_delivered(lab: Lab) -> None:
    net = lab.router()
    lab.hook(net.client, "ipv4", "POSTROUTING")
    with raw(net.router, 46) as taker, forger(net.client) as sender, lab.trace() as walks:
        taker.setsockopt(socket.SOL_IP, 5, 1)  # IP_ROUTER_ALERT
        taker.settimeout(5)
        packet = IP(src=net.client.address, dst=net.server.address, proto=46, options=[IPOption(b"\x94\x04\x00\x00")]) / Raw(b"rsvp" * 4)
        sender.sendto(bytes(packet), (net.server.address, 0))
        assert len(taker.recv(99)) == 40
    assert [walk.fate for walk in about(walks, "protocol 46")] == [Delivered()]


def test_a_syn_that_comes_again_is_delivered_if_its_listener_answers_it_again(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv4", "INPUT")
    lab.nft(chain("input", "tcp flags & (syn | ack) == syn | ack drop"), at=net.peer)
    net.host.sysctl("net.ipv4.tcp_invalid_ratelimit", 60_000)  # ms: the second SYN is answered, the third one is not
    with sockets(socket.SOCK_STREAM, (net.host, ("", 7))) as (server,), forger(net.peer) as sender, lab.trace() as walks:
        server.listen()
        for _ in range(3):
            segment = IP(src=net.peer.address, dst=net.host.address) / TCP(sport=5000, dport=7, flags="S", seq=1)
            sender.sendto(bytes(segment), (net.host.address, 0))
    assert [walk.fate for walk in about(walks, "TCP [S] ")] == [Delivered(), Delivered(), DroppedByStack()]
    assert len(about(walks, "TCP [SA] ")) >= 2


@pytest.mark.parametrize("window", [0, 1], ids=["on the fast path", "with another window"])
def test_an_ack_that_is_far_too_old_is_dropped(lab: Lab, window: int) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv4", "INPUT")
    for host in (net.host, net.peer):
        host.sysctl("net.ipv4.tcp_timestamps", 0)  # a forged segment has no options, and shall look like the one before
    with sockets(socket.SOCK_STREAM, (net.host, ("", 7)), (net.peer, ("", 0))) as (server, client), forger(net.peer) as sender:
        with lab.trace() as before:
            server.listen()
            client.connect((net.host.address, 7))
            accepted, _ = server.accept()
        handshake, = about(before, "TCP [A] ")
        port, head = client.getsockname()[1], handshake.outcome.traversals[-1].head
        seq, ack = (int.from_bytes(head[at:at + 4], "big") for at in (24, 28))
        with accepted, lab.trace() as walks:
            for acknowledged in (ack - 1_000_000, ack):
                segment = IP(src=net.peer.address, dst=net.host.address) / TCP(
                    sport=port, dport=7, flags="A", seq=seq, ack=acknowledged % 2**32, window=int.from_bytes(head[34:36], "big") + window)
                sender.sendto(bytes(segment), (net.host.address, 0))
            client.sendall(b"data")
            assert accepted.recv(9) == b"data"
    sent = about(walks, f":{port} > {net.host.address}:7,")
    assert [walk.fate for walk in sent[:3]] == [DroppedByStack(), Delivered(), Delivered()]
