"""The tracer names a packet's connection as conntrack does: id, zone, status, direction."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator

import pytest

from harness.guest import traffic
from harness.guest.topology import Network
from harness.guest.tracing import tracer
from harness.outcome.types import Change, PacketOutcome
from harness.trace.capture import Capture
from harness.trace.connections import provoke
from harness.walks.assembly import assembled
from harness.walks.filter import filter_of

COOKIE = 4711
#: A rule that asks for the state has conntrack's hooks registered.
TRACKED = "table inet t { chain in { type filter hook input priority 0; ct state new counter; }; }"
ZONE_5 = f"{TRACKED}\ntable ip z {{ chain pre {{ type filter hook prerouting priority -300; ct zone set 5; }}; }}"


@pytest.fixture(autouse=True)
def sinks(network: Network) -> Iterator[traffic.Sinks]:
    with traffic.Sinks() as sinks:
        sinks.add_udp(network.namespaces["host"], socket.AF_INET, 9)
        yield sinks


def walked(network: Network, sinks: traffic.Sinks, ruleset: str) -> tuple[PacketOutcome, str]:
    """A datagram's walk, and what ``conntrack`` lists of the namespace that got it."""
    host = network.namespaces["host"]
    with host.inside():
        subprocess.run(["nft", "-f", "-"], input=ruleset, text=True, check=True, timeout=60)
    provoke()  # the key of ids goes with nf_conntrack, which an earlier test of this guest may have unloaded
    with Capture(tracer()) as capture:
        traffic.send_udp(network.namespaces["peer"], "10.0.0.1", 9, traffic.payload(32, COOKIE))
        sinks.wait((COOKIE,), 5)
    with host.inside():
        listed = subprocess.run(["conntrack", "-L", "-o", "id", "-p", "udp"], text=True, check=True, capture_output=True, timeout=60).stdout
    names = [(0, namespace.inum, name) for name, namespace in network.namespaces.items()]
    seen = assembled(capture.recording(namespaces=names))
    assert (seen.doubts, seen.lost_events) == ((), 0)
    packet, = (packet for packet in seen.packets if packet.cookie == COOKIE)
    return packet, listed


@pytest.mark.parametrize(("ruleset", "zone"), [(TRACKED, 0), (ZONE_5, 5)])
def test_a_connection_has_the_id_that_conntrack_lists_and_its_zone(network: Network, sinks: traffic.Sinks, ruleset: str, zone: int) -> None:
    packet, listed = walked(network, sinks, ruleset)
    there = [traversal for traversal in packet.traversals if traversal.netns == "host"]
    tracked = [traversal.tracked for traversal in there if traversal.tracked]
    assert {one.zone for one in tracked} == {zone}
    assert {one.id for one in tracked} == {int(number) for number in re.findall(r" id=(\d+)", listed)}
    assert f"zone={zone}" in listed or not zone
    assert filter_of(f"zone {zone}").wanted((packet,), {}) == (packet,)
    assert filter_of("zone 77").wanted((packet,), {}) == ()


def test_where_it_came_and_was_confirmed_is_told_at_the_hook_that_did_it(network: Network, sinks: traffic.Sinks) -> None:
    packet, _ = walked(network, sinks, TRACKED)
    came, confirmed = (call for traversal in packet.traversals if traversal.netns == "host" for call in traversal.calls if call.changed)
    assert came.function.startswith("ipv4_conntrack_in")
    assert {change.what: change.before for change in came.changed} == {"connection": "none", "connection id": "none"}
    assert (confirmed.module, confirmed.changed) == ("nf_conntrack", (Change("status", "none", "CONFIRMED"),))
    assert filter_of("status confirmed").wanted((packet,), {}) == (packet,)
    assert filter_of("status assured").wanted((packet,), {}) == ()


def test_an_answer_sees_the_same_connection_from_the_other_side(network: Network) -> None:
    host = network.namespaces["host"]
    with host.inside():
        subprocess.run(["nft", "-f", "-"], input=TRACKED, text=True, check=True, timeout=60)
    with Capture(tracer()) as capture, network.namespaces["peer"].inside():
        subprocess.run(["ping", "-q", "-c1", "-W5", "10.0.0.1"], check=True, capture_output=True, timeout=60)
    names = [(0, namespace.inum, name) for name, namespace in network.namespaces.items()]
    seen = assembled(capture.recording(namespaces=names))
    request, reply = (packet for packet in seen.packets if packet.kind in ("echo request", "echo reply"))
    there = [traversal.tracked for packet in (request, reply) for traversal in packet.traversals
             if traversal.netns == "host" and traversal.tracked]
    assert len({one.id for one in there}) == 1
    assert (there[0].direction, there[-1].direction) == ("original", "reply")
    assert "SEEN_REPLY" not in there[0].status
    assert "CONFIRMED" in there[-1].status
