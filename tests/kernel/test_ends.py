"""The ends that packets come to, the same words on every kernel."""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6ParamProblem,
    IPv6,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.sendrecv import send

from harness.guest.queue import Listener
from harness.guest.topology import mac_address
from harness.netfilter import VerdictKind
from harness.pytest_plugin import Absorbed, Delivered, Dropped, DroppedByStack, Queued, Rejected, Segmented, Sent, Stolen, Walk
from harness.pytest_plugin.kernel import RunningKernel
from harness.pytest_plugin.lab import Lab
from harness.pytest_plugin.mistakes import Mistake
from harness.pytest_plugin.networks import Host
from harness.scenario.steps.queue import Listen

UDP_PAYLOAD, MTU = 2000, 1500


def chain(hook: str, *rules: str, table: str = "ip t", priority: int = 0, policy: str = "accept") -> str:
    name, _, _ = hook.partition(" ")
    head = f"type filter hook {hook} priority {priority}; policy {policy};"
    return f"table {table} {{ chain at_{name} {{ {' '.join([head, *(f'{rule};' for rule in rules)])} }}; }}"


@contextmanager
def sockets(kind: socket.SocketKind, *ends: tuple[Host, tuple[str, int]]) -> Iterator[Sequence[socket.socket]]:
    """A bound socket for each end."""
    with ExitStack() as stack:
        made = []
        for host, address in ends:
            with host.inside():
                made.append(stack.enter_context(socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC)))
            made[-1].settimeout(5)
            made[-1].bind(address)
        yield made


def about(walks: Sequence[Walk], words: str) -> list[Walk]:
    return [walk for walk in walks if words in walk.packet]


@pytest.mark.parametrize("table", ["ip t", "inet t"])
def test_a_chain_that_drops_and_one_that_rejects_are_told_apart(lab: Lab, table: str) -> None:
    net = lab.router()
    lab.nft(chain("forward", "udp dport 9 drop", "udp dport 53 reject", "tcp dport 22 reject with tcp reset", table=table))
    lab.hook(net.client, "ipv4", "INPUT")
    dropped, rejected = (lab.send(net.client, IP(dst=net.server.address) / UDP(dport=port)) for port in (9, 53))
    reset = lab.send(net.client, IP(dst=net.server.address) / TCP(sport=5000, dport=22, flags="S"))
    assert [dropped.fate, rejected.fate, reset.fate] == [Dropped("EPERM"), Rejected("EPERM"), Rejected("EPERM")]
    said = {(call.verdict, call.errno) for walk in (dropped, rejected, reset) for call in walk.at("FORWARD").calls[-1:]}
    assert said <= {("DROP", 0), ("STOLEN", 1)}
    assert dropped.answers == ()
    assert [walk.packet.partition(" 10.")[0] for walk in (rejected.answers + reset.answers)] == [
        "ICMP destination unreachable", "TCP [RA]"]


def test_iptables_reject(lab: Lab) -> None:
    net = lab.router()
    net.router.run("iptables-nft", "-A", "FORWARD", "-p", "udp", "--dport", "53", "-j", "REJECT")
    assert lab.send(net.client, IP(dst=net.server.address) / UDP(dport=53)).fate == Rejected("EPERM")


def test_a_hook_that_keeps_the_packet_is_a_thief_also_with_an_errno(lab: Lab) -> None:
    net = lab.pair()
    errno = "EPERM" if lab.kernel.profile.stolen_errno else 0
    lab.hook(net.host, "ipv4", "INPUT", verdict="STOLEN", errno="EPERM")
    assert lab.send(net.peer, IP(dst=net.host.address) / UDP(dport=9)).fate == Stolen(errno)


def test_what_the_stack_drops(lab: Lab) -> None:
    net = lab.router()
    lab.hook(net.router, "ipv4", "PREROUTING")
    lab.hook(net.router, "ipv6", "PREROUTING")
    lab.hook(net.server, "ipv4", "INPUT")
    there, there6 = net.server.address, net.server.address6

    def sent(packet: IP | IPv6) -> Walk:
        return lab.send(net.client, packet)

    found = {
        "time to live": sent(IP(dst=there, ttl=1) / UDP(dport=9)),
        "hop limit": sent(IPv6(dst=there6, hlim=1) / UDP(dport=9)),
        "no route": sent(IP(src=net.client.address, dst="198.51.100.1") / UDP(dport=9)),
        "no socket": sent(IP(dst=there) / TCP(dport=9, flags="S")),
    }
    net.router.sysctl("net.ipv4.conf.all.rp_filter", 1)
    net.client.run("ip", "addr", "add", "203.0.113.1/32", "dev", "lo")
    found["rp_filter"] = sent(IP(src="203.0.113.1", dst=there) / UDP(dport=9))
    net.router.sysctl("net.ipv4.ip_forward", 0)
    found["forwarding is off"] = sent(IP(dst=there) / UDP(dport=9))
    assert {name: walk.fate for name, walk in found.items()} == dict.fromkeys(found, DroppedByStack())
    assert all(walk.reason for walk in found.values())


def test_what_sockets_and_the_host_itself_take_is_delivered(lab: Lab) -> None:
    net = lab.pair()
    for pf in ("ipv4", "ipv6"):
        lab.hook(net.host, pf, "PREROUTING")
    with sockets(socket.SOCK_DGRAM, (net.host, ("", 7)), (net.peer, ("", 0))) as (server, client), lab.trace() as walks:
        client.sendto(b"read", (net.host.address, 7))
        assert server.recv(9) == b"read"
        client.sendto(b"not read", (net.host.address, 7))
    assert [walk.fate for walk in walks] == [Delivered(), Delivered()]
    with lab.trace() as walks:
        net.peer.run("ping", "-c1", "-W2", net.host.address)
        net.peer.run("ping", "-c1", "-W2", net.host.address6)
    assert [walk.fate for walk in about(walks, "echo ")] == [Delivered()] * 4


def test_nat_leads_a_packet_to_a_socket_of_the_lab_s(lab: Lab) -> None:
    net = lab.router()
    lab.nft(f"""table ip nat {{ chain pre {{ type nat hook prerouting priority dstnat;
        udp dport 80 dnat to {net.server.address}:8080
        udp dport 81 redirect to :8081
        meta l4proto udp dnat to {net.server.address}
    }}; }}""")
    fates = [lab.send(net.client, IP(dst=net.router.address) / UDP(sport=5000 + port, dport=port)).fate for port in (9, 80, 81)]
    assert fates == [Delivered()] * 3


def test_a_reset_of_the_stack_is_an_answer(lab: Lab) -> None:
    net = lab.router()
    for host, hook in ((net.router, "FORWARD"), (net.client, "INPUT")):
        lab.hook(host, "ipv4", hook)
    with lab.trace() as walks, sockets(socket.SOCK_STREAM, (net.client, ("", 0))) as (client,), pytest.raises(ConnectionRefusedError):
        client.connect((net.server.address, 9))
    assert [walk.packet.partition(" 10.")[0] for walk in walks] == ["TCP [S]", "TCP [RA]"]
    assert [walk.packet for walk in walks[0].answers] == [walks[1].packet]


@pytest.mark.parametrize("why", ["asked to", "with unread data", "as a listener"])
def test_a_reset_that_a_program_causes_is_no_answer(lab: Lab, why: str) -> None:
    net = lab.pair()
    for host in (net.host, net.peer):
        lab.hook(host, "ipv4", "INPUT")
        lab.hook(host, "ipv4", "OUTPUT")
    with sockets(socket.SOCK_STREAM, (net.host, ("", 7)), (net.peer, ("", 0))) as (server, client), lab.trace() as walks:
        server.listen()
        client.connect((net.host.address, 7))
        client.sendall(b"data")
        if why == "as a listener":
            server.close()
        else:
            accepted, _ = server.accept()
            with accepted:
                if why == "asked to":
                    assert accepted.recv(9) == b"data"
                    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert len(about(walks, "TCP [RA] ")) == 1
    assert [walk.answers for walk in walks] == [()] * len(walks)


def test_what_is_unread_when_its_socket_closes_was_delivered(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv4", "PREROUTING")
    with lab.trace() as walks:
        with sockets(socket.SOCK_DGRAM, (net.host, ("", 7)), (net.peer, ("", 0))) as (_, client):
            client.sendto(b"not read", (net.host.address, 7))
        with sockets(socket.SOCK_STREAM, (net.host, ("", 7)), (net.peer, ("", 0))) as (server, client):
            server.listen()
            client.connect((net.host.address, 7))
            answering, _ = server.accept()
            client.sendall(b"not read")
            client.shutdown(socket.SHUT_WR)
            answering.close()
    # Older kernels do not tell whether TCP heeded the reset that this ends with.
    assert {str(walk.fate) for walk in walks if "[R" not in walk.packet} == {"Delivered()"}
    assert {str(walk.fate) for walk in about(walks, "TCP [R")} <= {"Delivered()", "Consumed()"}
    # A UDP socket frees what it holds after a grace period, which may come later.
    assert (walks[0].reason or "unread when its socket closed, in udp").startswith("unread when its socket closed, in udp")


def test_a_packet_is_delivered_where_nat_leads_it_to_a_server_of_the_tests(lab: Lab) -> None:
    net = lab.router()
    lab.nft(f"""table ip nat {{ chain pre {{ type nat hook prerouting priority dstnat;
        udp dport 80 dnat to {net.server.address}:8080
        udp dport 81 redirect to :8081
    }}; }}""")
    ends = (net.server, ("", 8080)), (net.router, ("", 8081)), (net.server, ("", 82))
    with sockets(socket.SOCK_DGRAM, *ends) as (elsewhere, here, own):
        assert lab.send(net.client, IP(dst=net.router.address) / UDP(sport=5000, dport=80)).fate == Delivered()
        assert lab.send(net.client, IP(dst=net.server.address) / UDP(sport=5001, dport=81)).fate == Delivered()
        assert lab.send(net.client, IP(dst=net.server.address) / UDP(sport=5002, dport=82)).fate == Delivered()
        assert [len(one.recv(99)) for one in (elsewhere, here, own)] == [16, 16, 16]
    assert lab.send(net.client, IP(dst=net.server.address) / UDP(sport=5003, dport=83)).fate == Delivered()
    with sockets(socket.SOCK_DGRAM, (net.server, ("", 83))):
        assert lab.send(net.client, IP(dst=net.server.address) / UDP(sport=5004, dport=83)).fate == Delivered()


def test_what_the_fast_path_sends_on_is_delivered(lab: Lab) -> None:
    net = lab.router()
    lab.nft("""table inet fw {
        flowtable ft { hook ingress priority filter; devices = { to-client, to-server }; }
        chain forward { type filter hook forward priority filter; ip protocol udp flow add @ft; }
    }""")
    lab.hook(net.server, "ipv4", "INPUT")
    with sockets(socket.SOCK_DGRAM, (net.server, ("", 7)), (net.client, ("", 4000))) as (server, client), lab.trace() as walks:
        for number in range(4):
            client.sendto(bytes([number]), (net.server.address, 7))
            data, back = server.recvfrom(9)
            server.sendto(data, back)
            assert client.recv(9) == data
    there = about(walks, "> 10.0.2.2:7,")
    assert [walk.fate for walk in there] == [Delivered()] * 4
    assert there[-1].at("INGRESS").calls[-1].verdict == "STOLEN"
    assert all(visit.hook != "FORWARD" for visit in there[-1].visits)


def test_fragments_become_one_datagram(lab: Lab) -> None:
    net = lab.router()
    lab.nft(chain("forward", "ct state new accept"))
    with sockets(socket.SOCK_DGRAM, (net.server, ("", 7)), (net.client, ("", 0))) as (server, client), lab.trace() as walks:
        client.sendto(bytes(UDP_PAYLOAD), (net.server.address, 7))
        assert len(server.recv(UDP_PAYLOAD)) == UDP_PAYLOAD
    at_router = [walk for walk in walks if any(visit.netns == net.router.name for visit in walk.visits)]
    first, last = at_router
    assert (first.fate, first.reason) == (Absorbed(), f"in packet {last.outcome.number}")
    assert [visit.hook for visit in last.visits if visit.netns == net.router.name] == ["PREROUTING", "FORWARD", "POSTROUTING"]
    assert last.fate in (Delivered(), Absorbed())


def test_a_packet_that_a_queue_takes_apart(lab: Lab) -> None:
    net = lab.router()
    lab.nft(chain("forward", f"tcp dport 7 meta length > {MTU} queue num 5"))
    lab.hook(net.server, "ipv4", "INPUT")
    # On a slow host the client would send it again before it is answered, and what comes second has been received already.
    net.client.run("sh", "-c", "ip route change $(ip route show default) rto_min 30s && sysctl -qw net.ipv4.tcp_early_retrans=0")
    queue = net.router.namespace
    with sockets(socket.SOCK_STREAM, (net.server, ("", 7)), (net.client, ("", 0))) as (server, client), \
            Listener(queue, Listen(net.router.name, 5)) as listener, lab.trace() as walks:
        server.listen()
        client.connect((net.server.address, 7))
        accepted, _ = server.accept()
        with accepted:
            client.sendall(bytes(2800))
            deadline = time.monotonic() + 5
            while len(listener.waiting()) < 2 and time.monotonic() < deadline:
                pass
            for _ in listener.waiting():
                listener.answer(VerdictKind.ACCEPT)
            assert len(accepted.recv(2800, socket.MSG_WAITALL)) == 2800
    whole = next(walk for walk in walks if walk.fate == Segmented())
    parts = [walk for walk in walks if walk.outcome.relation == ("segment of", whole.outcome.number)]
    assert [walk.fate for walk in parts] == [Delivered()] * 2
    assert whole.at("FORWARD").calls[-1].verdict == "QUEUE"


def test_a_queue_without_a_listener_and_one_that_has_one(lab: Lab) -> None:
    net = lab.router()
    lab.nft(chain("forward", "udp dport 9 queue num 5"))
    packet = IP(dst=net.server.address) / UDP(dport=9)
    assert lab.send(net.client, packet).fate == Dropped(0)
    with Listener(net.router.namespace, Listen(net.router.name, 5)):
        assert lab.send(net.client, packet).fate == Queued()


def test_what_leaves_by_a_device_that_leads_nowhere_is_sent(lab: Lab) -> None:
    net = lab.pair()
    net.peer.run("ip", "link", "add", "nowhere", "type", "dummy")
    net.peer.run("ip", "addr", "add", "192.0.2.1/24", "dev", "nowhere")
    net.peer.run("ip", "link", "set", "nowhere", "up")
    net.peer.run("ip", "neigh", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:99", "dev", "nowhere")
    lab.hook(net.peer, "ipv4", "OUTPUT")
    walk = lab.send(net.peer, IP(dst="192.0.2.2") / UDP(dport=9))
    assert (walk.fate, walk.reason) == (Sent(), "by nowhere")


@pytest.mark.parametrize(("hook", "probe"), [("ingress", None), ("egress", "netdev_egress")])
def test_a_device_s_chain_that_drops(lab: Lab, kernel: RunningKernel, hook: str, probe: str | None) -> None:
    if probe:
        kernel.require(probe=probe)
    net = lab.router()
    lab.nft(chain(f"{hook} device to-client", "udp dport 9 drop", table="netdev t"))
    source, target = (net.client, net.server) if hook == "ingress" else (net.server, net.client)
    fate = lab.send(source, IP(dst=target.address) / UDP(dport=9)).fate
    assert fate == Dropped("EPERM")


@pytest.mark.parametrize("other", [True, False], ids=["of-others", "of-the-host"])
def test_what_a_bridge_leaves_to_the_host(lab: Lab, other: bool) -> None:
    """``meta broute`` (since 6.4)."""
    net = lab.bridge()
    try:
        lab.nft("table bridge t { chain c { type filter hook prerouting priority -300; meta broute set 1; }; }")
    except Mistake as refused:
        if "Operation not supported" not in str(refused):
            raise
        pytest.skip("nf_tables has no broute here, it says")
    net.bridge.run("ip", "addr", "add", "10.0.0.3/24", "dev", "to-left")
    net.bridge.addresses.append("10.0.0.3/24")
    mac = "02:00:00:00:00:77" if other else mac_address(0, 1)
    frame = Ether(src="02:00:00:00:00:99", dst=mac) / IP(src=net.left.address, dst="10.0.0.3") / UDP(sport=7, dport=9)
    walk = lab.send(net.left, frame, device="eth0")
    assert walk.fate == (DroppedByStack() if other else Delivered())
    assert ("ip_rcv" in (walk.reason or "")) is other


def test_an_echo_is_delivered_and_answered(lab: Lab) -> None:
    net = lab.pair()
    for host in (net.peer, net.host):
        lab.hook(host, "ipv4", "INPUT")
        lab.hook(host, "ipv6", "INPUT")
    for packet in (IP(dst=net.host.address) / ICMP(), IPv6(dst=net.host.address6) / ICMPv6EchoRequest()):
        walk = lab.send(net.peer, packet)
        assert (walk.fate, [answer.fate for answer in walk.answers]) == (Delivered(), [Delivered()])




def refusing(taker: socket.socket) -> socket.socket:
    """A socket whose filter takes no packet (``SO_ATTACH_FILTER`` of a program that returns 0)."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    taker.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", 1, ctypes.addressof(program)))
    return taker


def raw(host: Host, protocol: int) -> socket.socket:
    with host.inside():
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)


def test_a_raw_socket_has_what_it_took_alone(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv4", "INPUT")
    fates = []
    for make in (refusing, lambda taker: taker):
        with raw(net.host, 17) as one, raw(net.host, 252) as other, raw(net.peer, 252) as sender, lab.trace() as walks:
            make(one)
            make(other)
            with sockets(socket.SOCK_DGRAM, (net.peer, ("", 0))) as (client,):
                client.sendto(b"to no socket of UDP's", (net.host.address, 5001))
            sender.sendto(b"of a protocol that has raw sockets alone", (net.host.address, 0))
        fates.append([walk.fate for walk in (*about(walks, "UDP 10"), *about(walks, "protocol 252"))])
    assert fates == [[DroppedByStack(), DroppedByStack()], [Delivered(), Delivered()]]


def test_a_datagram_is_delivered_if_a_socket_took_a_segment_of_it(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv4", "INPUT")
    fates = []
    for make in (refusing, lambda taker: taker):
        with sockets(socket.SOCK_DGRAM, (net.host, ("", 7)), (net.peer, ("", 0))) as (server, client), lab.trace() as walks:
            make(server)
            client.setsockopt(socket.IPPROTO_UDP, 103, 1000)
            client.sendto(bytes(3400), (net.host.address, 7))
            if make is not refusing:
                assert len(server.recv(9000)) == 1000
        # Older kernels take it apart before it leaves.
        fates.append({str(walk.fate) for walk in about(walks, f"> {net.host.address}:7,")} - {"Segmented()"})
    assert fates == [{"DroppedByStack()"}, {"Delivered()"}]


def test_a_fin_that_a_connection_in_time_wait_acknowledges_is_delivered(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.peer, "ipv4", "INPUT")
    with sockets(socket.SOCK_STREAM, (net.host, ("", 7)), (net.peer, ("", 0))) as (server, client), lab.trace() as walks:
        server.listen()
        client.connect((net.host.address, 7))
        answering, _ = server.accept()
        client.close()
        assert answering.recv(1) == b""
        answering.close()
        while "TIME-WAIT" not in net.peer.run("ss", "-Htan"):
            time.sleep(0.05)
    assert {str(walk.fate) for walk in walks} == {"Delivered()"}
    assert about(walks, f"TCP [FA] {net.host.address}:7 ")


def test_what_a_listener_closes_with_was_delivered_and_what_tcp_had_no_use_for_was_not(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv4", "INPUT")
    with sockets(socket.SOCK_STREAM, (net.host, ("", 7)), (net.peer, ("", 0))) as (server, client), lab.trace() as walks:
        server.listen()
        client.connect((net.host.address, 7))
        client.sendall(b"nobody accepts the connection")
        port = client.getsockname()[1]
        with raw(net.peer, 6) as forger:
            stray = IP(src=net.peer.address, dst=net.host.address) / TCP(sport=port, dport=7, flags="PA", seq=1, ack=1) / b"out of window"
            forger.setsockopt(socket.SOL_IP, socket.IP_HDRINCL, 1)
            forger.sendto(bytes(stray), (net.host.address, 0))
        server.close()
    data, out_of_window = about(walks, "TCP [PA] ")
    assert (data.fate, out_of_window.fate) == (Delivered(), DroppedByStack())


def test_what_came_to_two_ends_is_not_delivered(lab: Lab) -> None:
    net = lab.router()
    dup = f'dup to {net.server.address} device "to-server"'
    lab.nft(chain("forward", f"udp dport 9 {dup}", "udp dport 9 drop", f"udp dport 10 {dup}", "udp dport 11 drop"))
    found = [lab.send(net.client, IP(dst=net.server.address) / UDP(dport=port)).fate.kind for port in (9, 10, 11, 12)]
    assert found == ["doubled", "doubled", "dropped", "delivered"]


def test_what_a_full_listener_does_not_answer_is_dropped(lab: Lab) -> None:
    net = lab.pair()
    for pf in ("ipv4", "ipv6"):
        lab.hook(net.host, pf, "INPUT")
    for family, address in ((socket.AF_INET, net.host.address), (socket.AF_INET6, net.host.address6)):
        with ExitStack() as stack:
            with net.host.inside():
                listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
            listener.bind(("", 80))
            listener.listen(0)
            with net.peer.inside():
                clients = [stack.enter_context(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)) for _ in range(3)]
            with lab.trace() as walks:
                for client in clients:
                    client.setblocking(False)
                    client.connect_ex((address, 80))
                    time.sleep(0.1)
            syns = about(walks, "[S]")
            assert [walk.fate for walk in syns[:2]] == [Delivered(), DroppedByStack()], "one waits to be accepted, which fills it"


def fragment(packet: IP, ident: int, first: int, last: int | None = None) -> IP:
    """Bytes of a packet's payload, as a fragment."""
    data = bytes(packet.payload)
    return IP(src=packet.src, dst=packet.dst, id=ident, proto=17, flags="MF" if last else 0, frag=first // 8) / Raw(data[first:last])


@pytest.mark.parametrize("tracked", [False, True])
def test_fragments_that_overlap_are_dropped(lab: Lab, *, tracked: bool) -> None:
    net = lab.pair()
    lab.hook(net.peer, "ipv4", "OUTPUT")
    if tracked:
        lab.nft(chain("input", "ct state new accept"))
    whole = IP(bytes(IP(src=net.peer.address, dst=net.host.address) / UDP(sport=7, dport=9) / Raw(b"x" * 64)))
    net.host.sysctl("net.ipv4.ipfrag_time", 1)
    with net.peer.inside():
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
    with raw, lab.trace() as walks:
        for part in (fragment(whole, 77, 0, 40), fragment(whole, 77, 32)):
            raw.sendto(bytes(part), (net.host.address, 0))
        time.sleep(1.5)
    assert [walk.fate for walk in about(walks, "UDP")] == [DroppedByStack(), DroppedByStack()]


def test_a_datagram_that_a_router_fragments_is_taken_apart(lab: Lab) -> None:
    net = lab.router()
    net.router.run("ip", "link", "set", "to-server", "mtu", "1280")
    lab.hook(net.router, "ipv4", "FORWARD")
    with sockets(socket.SOCK_DGRAM, (net.server, ("", 9)), (net.client, ("", 0))) as (server, client), lab.trace() as walks:
        client.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER, IP_PMTUDISC_DONT
        client.sendto(b"x" * 1400, (net.server.address, 9))
        assert len(server.recv(2000)) == 1400
    assert [walk.fate for walk in walks] == [Segmented()]


def test_a_datagram_of_udp_lite_is_delivered_to_its_socket(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv4", "INPUT")
    with ExitStack() as stack:
        try:
            with net.host.inside():
                server = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 136))
            with net.peer.inside():
                client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 136))
        except OSError:
            pytest.skip("this kernel has no UDP-Lite")
        server.bind(("", 9))
        server.settimeout(5)
        with lab.trace() as walks:
            client.sendto(b"lite", (net.host.address, 9))
            assert server.recv(9) == b"lite"
    assert [walk.fate for walk in walks] == [Delivered()]


def test_an_echo_reply_that_nobody_waits_for_is_dropped(lab: Lab) -> None:
    net = lab.pair()
    for pf in ("ipv4", "ipv6"):
        lab.hook(net.host, pf, "INPUT")
    replies = [IP(dst=net.host.address) / ICMP(type=0, id=7), IPv6(dst=net.host.address6) / ICMPv6EchoReply(id=7)]
    with lab.trace() as walks, net.peer.inside():
        for reply in replies:
            send(reply, verbose=False)
    assert [walk.fate for walk in about(walks, "echo reply")] == [DroppedByStack()] * 2


def raw6(host: Host) -> socket.socket:
    with host.inside():
        sender = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
    sender.setsockopt(socket.IPPROTO_IPV6, 36, 1)  # IPV6_HDRINCL
    return sender


def test_fragments_of_ipv6_are_told_apart_from_a_whole_packet_with_their_header(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv6", "INPUT")
    there, here = net.peer.address6, net.host.address6
    datagram = bytes(IPv6(bytes(IPv6(src=there, dst=here) / UDP(sport=5, dport=9) / Raw(b"x" * 32))).payload)
    with net.host.inside():
        server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    fates = {}
    with server, raw6(net.peer) as sender:
        server.bind(("", 9))
        server.settimeout(5)
        for name, before in {"plain": (), "options": (IPv6ExtHdrHopByHop(),)}.items():
            for kind, parts in {"atomic": ((0, 40),), "fragments": ((0, 24), (24, 40))}.items():
                with lab.trace() as walks:
                    for begin, end in parts:
                        packet = IPv6(src=there, dst=here)
                        for header in before:
                            packet /= header
                        packet /= IPv6ExtHdrFragment(nh=17, id=7, offset=begin // 8, m=end < 40) / Raw(datagram[begin:end])
                        sender.sendto(bytes(packet), (net.host.address6, 0))
                    assert len(server.recv(99)) == 32
                fates[f"{kind}, {name}"] = [walk.fate for walk in about(walks, "UDP")]
    whole, one = [Delivered()], [Absorbed(), Delivered()]
    assert fates == {"atomic, plain": whole, "fragments, plain": one, "atomic, options": whole, "fragments, options": one}


def test_what_icmpv6_has_no_use_for_is_dropped(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv6", "INPUT")
    there, here = net.peer.address6, net.host.address6
    packets = {
        "a wrong checksum": IPv6(src=there, dst=here) / ICMPv6EchoRequest(cksum=1),
        "a quotation that is too short": IPv6(src=there, dst=here) / ICMPv6ParamProblem() / Raw(bytes(IPv6(dst="fd00::1"))),
        "a solicitation that was forwarded": IPv6(src=there, dst=here, hlim=63) / ICMPv6ND_NS(tgt=net.host.address6),
        "nothing wrong": IPv6(src=there, dst=here) / ICMPv6EchoRequest(),
    }
    fates = {}
    with raw6(net.peer) as sender:
        for name, packet in packets.items():
            with lab.trace() as walks:
                sender.sendto(bytes(packet), (net.host.address6, 0))
            fates[name] = [walk.fate for walk in walks if "echo reply" not in walk.packet and "advertisement" not in walk.packet]
    assert fates == {name: [Delivered() if name == "nothing wrong" else DroppedByStack()] for name in packets}


def test_a_parameter_problem_and_a_redirect_are_answers(lab: Lab) -> None:
    net = lab.router()
    lab.hook(net.router, "ipv4", "PREROUTING")
    lab.hook(net.client, "ipv4", "INPUT")
    lab.hook(net.client, "ipv6", "INPUT")
    lab.hook(net.server, "ipv6", "INPUT")
    for name in ("all", "to-client"):
        net.router.sysctl(f"net.ipv4.conf.{name}.send_redirects", 1)
    gone = str(IPv4Address(net.client.address) + 77)
    net.router.run("ip", "route", "add", "198.51.100.0/24", "via", gone)
    net.router.run("ip", "neigh", "add", gone, "lladdr", "02:00:00:00:00:09", "dev", "to-client")
    option = IPOption(bytes([7, 2, 4, 0]))
    bad, bad6 = IP(dst=net.server.address, options=[option]) / UDP(dport=9), IPv6(dst=net.server.address6, nh=253) / Raw(b"data")
    away = IP(src=net.client.address, dst="198.51.100.1") / UDP(dport=9)
    found = [[answer.packet.partition(" 10.")[0].partition(" fd")[0] for answer in lab.send(net.client, packet).answers]
             for packet in (bad, away, bad6)]
    assert found == [["ICMP parameter problem"], ["ICMP redirect"], ["ICMPv6 parameter problem"]]
