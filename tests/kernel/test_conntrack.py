"""What packets show of core's way to connection tracking: errors that are related, connections as ctnetlink lists them, zones."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
from collections.abc import Iterator

import pytest
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

from harness.guest import conntrack, ct, traffic
from harness.guest.module import HookModule
from harness.guest.netns import Namespace
from harness.guest.topology import Network
from harness.scenario.steps.conntrack import ConntrackTuple

pytestmark = pytest.mark.usefixtures("nfharness_ko")

FLOW = ConntrackTuple("10.0.0.2", 40000, "10.0.0.1", 9)
REJECTING = """table ip t {{
  counter related {{ }}; counter other {{ }}
  chain in {{ type filter hook input priority 0; {match} ct state new reject with {how}; }}
  chain out {{ type filter hook output priority 0; ct state related counter name related accept; counter name other; }}
}}"""


@pytest.fixture
def host(network: Network) -> Namespace:
    return network.namespaces["host"]


@pytest.fixture
def peer(network: Network) -> Namespace:
    return network.namespaces["peer"]


def nft(netns: Namespace, commands: str) -> str:
    with netns.inside():
        return subprocess.run(["nft", "-j", "-f", "-"], input=commands, text=True, check=True, capture_output=True, timeout=60).stdout


def counters(netns: Namespace) -> dict[str, int]:
    listed = (each.get("counter") for each in json.loads(nft(netns, "list counters"))["nftables"])
    return {counter["name"]: counter["packets"] for counter in listed if counter}


@pytest.fixture
def sink(host: Namespace) -> Iterator[traffic.Sinks]:
    with traffic.Sinks() as sinks:
        sinks.add_udp(host, socket.AF_INET, FLOW.port)
        yield sinks


def send(peer: Namespace, sink: traffic.Sinks) -> None:
    assert traffic.send_udp(peer, FLOW.destination, FLOW.port, traffic.payload(32, 1), source_port=FLOW.source_port) == 0
    assert [arrival.cookie for arrival in sink.wait([1], 10)] == [1]


# Errors that the kernel makes

def test_a_reset_is_related_to_the_segment_that_it_rejects(host: Namespace, peer: Namespace) -> None:
    nft(host, REJECTING.format(match="tcp dport 9", how="tcp reset"))
    with peer.inside(), socket.socket() as client:
        client.settimeout(10)
        assert client.connect_ex((FLOW.destination, FLOW.port)) == errno.ECONNREFUSED
    assert counters(host) == {"related": 1, "other": 0}
    assert conntrack.count(host) == 0


@pytest.mark.parametrize("how", ["icmp type port-unreachable", "icmp type admin-prohibited"])
def test_an_icmp_error_is_related_to_the_datagram_that_it_rejects(host: Namespace, peer: Namespace, how: str) -> None:
    nft(host, REJECTING.format(match="udp dport 9", how=how))
    with peer.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect((FLOW.destination, FLOW.port))
        client.setsockopt(socket.SOL_IP, 11, 1)  # IP_RECVERR: every ICMP error is told
        client.send(b"?")
        with pytest.raises(OSError) as refused:
            client.recv(1)
    assert refused.value.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH)
    assert counters(host) == {"related": 1, "other": 0}
    assert conntrack.count(host) == 0


def test_an_error_without_a_connection_is_related_to_nothing(host: Namespace, peer: Namespace) -> None:
    nft(host, "table ip t { chain pre { type filter hook prerouting priority -300; notrack; }; }")
    nft(host, REJECTING.format(match="udp dport 9", how="icmp type port-unreachable").replace("ct state new ", ""))
    with peer.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect((FLOW.destination, FLOW.port))
        client.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            client.recv(1)
    assert counters(host) == {"related": 0, "other": 1}


# Connections

def test_core_finds_the_connection_that_ctnetlink_lists(host: Namespace, peer: Namespace, module: HookModule, sink: traffic.Sinks) -> None:
    nft(host, "table ip t { chain pre { type filter hook prerouting priority 0; ct state invalid drop; }; }")
    send(peer, sink)
    with host.inside(), NFCTSocket() as listing:
        (entry,) = list(listing.dump())
    assert listed(entry.get_attr("CTA_TUPLE_ORIG")) == FLOW
    assert ct.run(module, FLOW.inverted()).found == FLOW
    assert ct.run(module, FLOW).found == listed(entry.get_attr("CTA_TUPLE_REPLY")) == FLOW.inverted()
    assert conntrack.count(host) == 1


def listed(found: object) -> ConntrackTuple:
    addresses, ports = found.get_attr("CTA_TUPLE_IP"), found.get_attr("CTA_TUPLE_PROTO")  # type: ignore[attr-defined]
    return ConntrackTuple(addresses.get_attr("CTA_IP_V4_SRC"), ports.get_attr("CTA_PROTO_SRC_PORT"),
                          addresses.get_attr("CTA_IP_V4_DST"), ports.get_attr("CTA_PROTO_DST_PORT"))


def test_core_looks_in_the_default_zone_only(host: Namespace, peer: Namespace, module: HookModule, sink: traffic.Sinks) -> None:
    nft(host, "table ip t { chain raw { type filter hook prerouting priority -300; ct zone set 5; }; }")
    nft(host, "table ip u { chain pre { type filter hook prerouting priority 0; ct state invalid drop; }; }")
    send(peer, sink)
    assert conntrack.count(host) == 1
    assert ct.run(module, FLOW).found is None
