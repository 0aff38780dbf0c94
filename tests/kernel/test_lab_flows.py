"""What a lab sends besides single packets: TCP connections, floods; and who answers packets in a queue."""

from __future__ import annotations

import errno
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Packet

from harness.errors import Inconclusive
from harness.guest.queue import queues
from harness.outcome.fate import Fate
from harness.pytest_plugin import Delivered, Dropped, DroppedByStack, Queued, Rejected, flooding
from harness.pytest_plugin.lab import Lab
from harness.pytest_plugin.mistakes import Mistake
from harness.pytest_plugin.networks import Router
from tests.kernel.test_ends import chain, sockets

PORT = 80


def queueing(*rules: str, hook: str = "forward") -> str:
    return chain(hook, *(rules or ("udp dport 9 queue num 7",)))


def test_a_connection_that_nobody_stops(lab: Lab) -> None:
    net = lab.router()
    lab.hook(net.router, "ipv4", "FORWARD", name="seen")
    connection = lab.connect(net.client, net.server, PORT, b"question", answer=b"answer")
    assert connection.fate == Delivered()
    assert (connection.errno, connection.host, connection.received, connection.reply) == (0, net.server, b"question", b"answer")
    assert connection.destination == (net.server.address, PORT)
    assert [walk.at("FORWARD").names for walk in (connection.there[0], connection.back[0])] == [["seen"], ["seen"]]
    assert {walk.fate for walk in connection.walks} == {Delivered()}
    assert not connection.answers
    counts = f"{len(connection.there)} packets there, {len(connection.back)} back, 0 answers"
    assert repr(connection) == f"<connection delivered: {counts}; bytes: 8 there, 6 back>"


def test_a_connection_of_many_bytes_one_of_none_and_one_over_ipv6(lab: Lab) -> None:
    net = lab.router()
    data = bytes(range(256)) * 4096
    many, none = (lab.connect(net.client, net.server, PORT, sent, answer=sent[::-1]) for sent in (data, b""))
    assert (many.received == data, many.reply == data[::-1], many.fate) == (True, True, Delivered())
    assert (none.received, none.reply, none.fate, none.errno) == (b"", b"", Delivered(), 0)
    lab.hook(net.router, "ipv6", "FORWARD", name="seen")
    connection = lab.connect(net.client, net.server.address6, PORT, b"six")
    assert (connection.fate, connection.received) == (Delivered(), b"six")
    assert (connection.there[0].at("FORWARD").names, connection.back[0].at("FORWARD").names) == (["seen"], ["seen"])


STOPS: list[tuple[str, Fate, int, set[str]]] = [
    ("tcp dport 80 drop", Dropped("EPERM"), errno.ETIMEDOUT, set()),
    ("tcp dport 81 reject with tcp reset", Rejected("EPERM"), errno.ECONNREFUSED, {"TCP [RA]"}),
    ("tcp dport 82 reject", Rejected("EPERM"), errno.ECONNREFUSED, {"ICMP destination unreachable"}),
    ("tcp sport 83 drop", Dropped("EPERM"), errno.ETIMEDOUT, set()),
    ("tcp dport 84 tcp flags & psh == psh drop", Dropped("EPERM"), errno.ETIMEDOUT, set()),
]


def test_connections_that_a_rule_stops(lab: Lab) -> None:
    """The first packet, with and without an answer; the first packet back; the data."""
    net = lab.router()
    lab.nft(chain("forward", *(rule for rule, *_ in STOPS)))
    for port, (rule, fate, failed, answers) in enumerate(STOPS, 80):
        connection = lab.connect(net.client, net.server, port, b"not to come")
        assert (connection.fate, connection.errno, connection.received) == (fate, failed, b"")
        stopped = next(walk for walk in connection.walks if walk.fate is connection.fate)  # which a comparison that fails shows
        assert stopped.at("FORWARD").calls[-1].rule == rule
        assert {walk.packet.partition(" 10.")[0] for walk in connection.answers} == answers


def test_a_port_without_a_server_refuses(lab: Lab) -> None:
    net = lab.router()
    connection = lab.connect(net.client, net.server, PORT, listen=False)
    assert (connection.fate, connection.errno, connection.host) == (DroppedByStack(), errno.ECONNREFUSED, None)
    assert connection.answers == connection.back
    assert connection.back[0].packet.startswith("TCP [RA]")


def test_a_host_that_no_route_leads_to(lab: Lab) -> None:
    net = lab.pair()
    connection = lab.connect(net.peer, "192.0.2.1", PORT)
    assert (connection.errno, connection.walks, connection.fate.kind) == (errno.ENETUNREACH, [], "unknown")
    assert connection.fate.reason == "ENETUNREACH, and no packet of it was seen"


def test_a_connection_that_nat_leads_elsewhere(lab: Lab) -> None:
    net = lab.router()
    lab.nft("""table ip n { chain pre { type nat hook prerouting priority dstnat;
                   tcp dport 80 dnat to 10.0.2.2:8080; tcp dport 81 redirect to :8081; }; }""")
    for port, host in ((80, net.server), (81, net.router)):
        connection = lab.connect(net.client, "10.0.1.1", port, b"led", answer=b"back")
        assert (connection.fate, connection.received, connection.reply) == (Delivered(), b"led", b"back")
        assert (connection.host, connection.destination) == (host, (host.address, port + 8000))
        assert connection.there and connection.back


def test_a_masqueraded_client_has_another_address_and_the_answers_are_still_its_own(lab: Lab) -> None:
    net = lab.router()
    lab.nft("table ip n { chain post { type nat hook postrouting priority srcnat; ip daddr 10.0.2.2 masquerade; }; }")
    connection = lab.connect(net.client, net.server, PORT, b"who?")
    assert connection.source
    assert (connection.source[0], connection.fate) == ("10.0.2.1", Delivered())
    lab.nft("table ip early { chain pre { type filter hook prerouting priority -500; tcp sport 80 drop; }; }")
    connection = lab.connect(net.client, net.server, PORT, b"who?")
    assert connection.fate == Dropped("EPERM")
    assert connection.back[0].at("PREROUTING").calls[-1].chain == "ip early pre"


def test_a_connection_and_a_datagram_that_tproxy_takes(lab: Lab) -> None:
    net = lab.router()
    net.router.run("ip", "rule", "add", "fwmark", "1", "lookup", "100")
    net.router.run("ip", "route", "add", "local", "default", "dev", "lo", "table", "100")
    lab.nft("""table ip t { chain pre { type filter hook prerouting priority mangle;
                   meta l4proto { tcp, udp } th dport 80 tproxy to :50080 meta mark set 1 accept; }; }""")
    connection = lab.connect(net.client, net.server, PORT, b"to the proxy", answer=b"from it")
    assert (connection.fate, connection.host, connection.received) == (Delivered(), net.router, b"to the proxy")
    assert connection.destination == (net.server.address, PORT)
    assert lab.send(net.client, IP(dst=net.server.address) / UDP(dport=PORT)).fate == Delivered()
    assert lab.flood(net.client, net.server, 10, port=PORT).arrived == {"router": 10}


def test_a_server_of_the_tests_own_takes_the_connection(lab: Lab) -> None:
    net = lab.router()
    with sockets(socket.SOCK_STREAM, (net.server, ("", PORT))) as (server,):
        server.listen()
        connection = lab.connect(net.client, net.server, PORT, b"for the test")
        assert (connection.fate, connection.errno, connection.host, connection.received) == (Delivered(), 0, None, b"")
        accepted, _ = server.accept()
        with accepted:
            assert accepted.recv(100) == b"for the test"
    lab.connect(net.client, net.server, PORT)
    with sockets(socket.SOCK_STREAM, (net.server, ("", PORT))):
        pass  # the port is free for another


def test_a_connection_through_a_queue(lab: Lab) -> None:
    net = lab.router()
    lab.nft(queueing("tcp dport 80 queue num 7"))
    with lab.listener(net.router, queue=7) as queue:
        connection = lab.connect(net.client, net.server, PORT, b"queued", answer=b"not")
    assert (connection.fate, connection.received, connection.reply) == (Delivered(), b"queued", b"not")
    assert all(packet[TCP].dport == PORT for packet in queue.packets)
    assert queue.answered == len(queue.packets) == len(connection.there)
    unheard = lab.connect(net.client, net.server, PORT, b"queued")
    assert (unheard.fate, unheard.errno) == (Dropped(0), errno.ETIMEDOUT)
    assert unheard.there[0].reason == "its queue has no listener, in nf_queue"


def test_a_listener_answers_as_it_is_told_to(lab: Lab) -> None:
    net = lab.router()
    lab.nft(queueing())
    datagram = IP(dst=net.server.address) / UDP(dport=9)
    for verdict, fate in (("ACCEPT", Delivered()), ("drop", Dropped(0)), ("STOP", Delivered()), (None, Queued())):
        with lab.listener(net.router, queue=7, verdict=verdict) as queue:
            assert lab.send(net.client, datagram).fate == fate
            packet, = queue.packets
            assert (packet[IP].dst, packet[UDP].dport) == (net.server.address, 9)
            assert repr(queue) == f"<listener to queue 7 of router: 1 came, {int(verdict is not None)} answered>"
        assert queues(net.router.namespace) == ()
        unheard = lab.send(net.client, datagram)
        assert (unheard.fate, unheard.reason) == (Dropped(0), "its queue has no listener, in nf_queue")


def test_a_function_answers_each_packet(lab: Lab) -> None:
    net = lab.router()
    lab.nft(queueing("meta l4proto udp queue num 7"))

    def verdict(packet: Packet) -> str:
        return "DROP" if packet[UDP].dport == 9 else "ACCEPT"

    with lab.listener(net.router, queue=7, verdict=verdict):
        fates = [lab.send(net.client, IP(dst=net.server.address) / UDP(dport=port)).fate for port in (8, 9)]
    assert fates == [Delivered(), Dropped(0)]


def test_a_packet_in_two_queues_and_back_in_one_of_them(lab: Lab) -> None:
    net = lab.router()
    lab.nft(queueing())
    lab.nft(queueing(hook="input"), at=net.server)
    answers: Iterator[str] = iter(("REPEAT", "ACCEPT"))
    with lab.listener(net.router, 7, lambda _: next(answers)) as first, lab.listener(net.server, 7) as second:
        walk = lab.send(net.client, IP(dst=net.server.address) / UDP(dport=9))
    assert walk.fate == Delivered()
    assert (first.answered, second.answered) == (2, 1)


def test_a_listener_that_nobody_hits_is_no_error(lab: Lab) -> None:
    net = lab.pair()
    with lab.listener(net.host, queue=3) as queue:
        assert lab.send(net.peer, IP(dst=net.host.address) / UDP(dport=9)).fate == Delivered()
    assert queue.packets == []


def test_what_a_function_for_verdicts_raises_is_the_tests_error(lab: Lab) -> None:
    net = lab.router()
    lab.nft(queueing())
    for verdict, kind, said in ((lambda packet: packet[TCP].dport, IndexError, "TCP"), (lambda _: "DORP", Mistake, 'did you mean "DROP"')):
        with pytest.raises(kind, match=said), lab.listener(net.router, 7, verdict):
            assert lab.send(net.client, IP(dst=net.server.address) / UDP(dport=9)).fate == Dropped(0)
    assert queues(net.router.namespace) == ()


def test_a_function_that_says_repeat_for_ever_is_the_tests_error(lab: Lab) -> None:
    net = lab.router()
    lab.nft(queueing())
    with (pytest.raises(Mistake, match="queue 7 said REPEAT of one packet 100 times"),
          lab.listener(net.router, 7, lambda _: "REPEAT") as queue):
        lab.send(net.client, IP(dst=net.server.address) / UDP(dport=9))
    assert queue.answered == 100
    assert queues(net.router.namespace) == ()


def test_a_flood_is_counted(lab: Lab) -> None:
    net = lab.router()
    lab.hook(net.router, "ipv4", "FORWARD")
    flood = lab.flood(net.client, net.server)
    assert (flood.sent, flood.arrived, flood.lost, flood.refused, flood.walks) == (1000, {"server": 1000}, 0, {}, ())


def test_what_is_lost_of_a_flood_is_counted(lab: Lab) -> None:
    net = lab.router()
    lab.nft(chain("forward", "udp dport 9 numgen inc mod 4 0 drop"))
    flood = lab.flood(net.client, net.server, 100, trace=True)
    assert (flood.sent, flood.came, flood.lost) == (100, 75, 25)
    assert Counter(walk.fate for walk in flood.walks) == {Delivered(): 75, Dropped("EPERM"): 25}


def test_a_flood_that_the_sender_may_not_send(lab: Lab) -> None:
    net = lab.pair()
    lab.nft(chain("output", "udp dport 9 drop"), at=net.peer)
    flood = lab.flood(net.peer, net.host, 50)
    assert (flood.sent, flood.refused, flood.arrived, flood.lost) == (0, {"EPERM": 50}, {}, 0)


def test_a_flood_that_is_shared_out(lab: Lab) -> None:
    net = lab.router()
    lab.nft("""table ip n { chain pre { type nat hook prerouting priority dstnat;
                   udp dport 9 dnat to numgen inc mod 2 map { 0 : 10.0.2.2, 1 : 10.0.1.1 }; }; }""")
    flood = lab.flood(net.client, "10.0.1.1", 100, flows=10)
    assert flood.arrived == {"server": 50, "router": 50}


def test_a_flood_through_a_queue(lab: Lab) -> None:
    net = lab.router()
    lab.nft(queueing())
    with lab.listener(net.router, queue=7) as queue:
        flood = lab.flood(net.client, net.server, 200)
    assert (flood.came, flood.lost, queue.answered) == (200, 0, 200)


def test_a_socket_without_room_is_no_loss_of_the_path(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    net = lab.pair()
    monkeypatch.setattr("harness.pytest_plugin.lab.ROOM", 1)
    monkeypatch.setattr(flooding, "_BATCH", 1000)
    with pytest.raises(Inconclusive, match=r"had no room for \d+ datagrams"):
        lab.flood(net.peer, net.host, 500, size=1400)


def mistakes(lab: Lab, net: Router) -> list[tuple[Callable[[], Any], str]]:
    """Each with what must be said of it."""
    client, server = net.client, net.server
    return [
        (lambda: lab.connect(client, "nowhere", PORT), '"nowhere" is no address; a host, or an address that client is to reach'),
        (lambda: lab.connect(client, server, 0), "the port is 0; a number from 1 to 65535"),
        (lambda: lab.connect(client, server, PORT, "text"), "the data is \"text\", which is no bytes"),  # type: ignore[arg-type]
        (lambda: lab.connect("client", server, PORT), "hosts, as in net.host: client, router, server"),  # type: ignore[arg-type]
        (lambda: lab.connect(client, server, PORT, timeout=0), "the timeout is 0; seconds, more than 0"),
        (lambda: lab.connect(client, lab.namespace("bare"), PORT), "bare has no address"),
        (lambda: lab.flood(client, server, 0), "the number of packets is 0; a number from 1 to 1000000"),
        (lambda: lab.flood(client, server, 1, size=15), "the size is 15; a number from 16 to 65507"),
        (lambda: lab.flood(client, server, 1, flows=501), "the number of flows is 501"),
        (lambda: lab.listener(server, 65536).__enter__(), "the queue is 65536; a number from 0 to 65535"),
        (lambda: lab.listener(server, 1, "DORP").__enter__(), 'there is no answer "DORP"; did you mean "DROP"?'),
        (lambda: lab.listener(server, 1, "REPEAT").__enter__(), "a function may say REPEAT once"),
        (lambda: lab.listener(server, 7).__enter__(), "queue 7 of server has a listener already"),
    ]


def test_a_mistake_is_told_with_what_there_is(lab: Lab) -> None:
    net = lab.router()
    with lab.listener(net.server, 7):
        for mistake, said in mistakes(lab, net):
            with pytest.raises(Mistake, match=re.escape(said)):
                mistake()
    with lab.trace():
        for traced in (lambda: lab.connect(net.client, net.server, PORT), lambda: lab.flood(net.client, net.server)):
            with pytest.raises(Mistake, match="the block is traced already"):
                traced()
