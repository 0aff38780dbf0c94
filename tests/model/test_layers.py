"""Where packets go below IP and in pieces: the layers of :mod:`harness.model.path`."""

from __future__ import annotations

import pytest

from harness.model import predict
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome import PacketOutcome
from harness.outcome.describe import point
from harness.scenario import BUILTIN
from harness.scenario.step import Scenario, Step
from harness.scenario.steps.hooks import Register
from harness.scenario.steps.link import Frame
from harness.scenario.steps.packets import Send
from harness.scenario.topology import BRIDGE, BRIDGE_NETFILTER, PAIR, ROUTER, Topology

V4, V6, BR = Family.IPV4, Family.IPV6, Family.BRIDGE


def packets(topology: Topology, *steps: Step) -> tuple[PacketOutcome, ...]:
    return predict(Scenario("own", "", topology, steps)).packets


def points(packet: PacketOutcome) -> list[str]:
    return [f"{one.netns} {point(one)}" for one in packet.traversals]


def test_traversals_that_a_hook_brings_about_come_after_its_own() -> None:
    """br_netfilter's hook runs IP's PREROUTING before it says STOLEN; the walk is in the order in which loops were entered."""
    (packet,) = packets(BRIDGE_NETFILTER, Register("ip", "bridge", V4, "PREROUTING"), Send("left", "right", 1))
    outer, inner, *_ = packet.traversals
    assert [(one.pf, one.returned, [call.function for call in one.calls]) for one in (outer, inner)] == [
        (BR, 0, ["br_nf_pre_routing"]), (V4, 1, ["ip_sabotage_in", "nfharness_hook"])]


def test_a_copy_that_was_not_meant_for_a_host_does_not_reach_its_hooks() -> None:
    hooks = [Register(f"{netns}-pre", netns, V4, "PREROUTING") for netns in ("right", "third")]
    (packet,) = packets(BRIDGE, *hooks, Send("left", "right", 1))
    assert points(packet) == ["right PREROUTING"]


def test_a_packet_is_delivered_if_one_of_its_copies_is() -> None:
    (packet,) = packets(BRIDGE, Register("forward", "bridge", BR, "FORWARD"), Send("left", "right", 1))
    assert packet.fate.kind == "delivered"


def test_a_broadcast_of_the_bridges_own_host_goes_to_every_port() -> None:
    (packet,) = packets(BRIDGE, Register("out", "bridge", BR, "OUTPUT"), Frame("bridge", "br0", "broadcast", 1))
    assert [one.outdev for one in packet.traversals] == ["to-third", "to-right", "to-left"]


def test_a_frame_to_its_own_port_goes_nowhere() -> None:
    (packet,) = packets(BRIDGE, Register("pre", "bridge", BR, "PREROUTING"), Register("forward", "bridge", BR, "FORWARD"),
                        Frame("left", "eth0", "left/eth0", 1))
    assert (points(packet), packet.fate.kind) == (["bridge BRIDGE PREROUTING"], "dropped by the stack")


@pytest.mark.parametrize(("pf", "size", "count"), [(V4, 1472, 1), (V4, 1480, 2), (V4, 2952, 2), (V6, 1448, 1), (V6, 1456, 2)])
def test_a_datagram_is_cut_where_it_no_longer_fits(pf: Family, size: int, count: int) -> None:
    (packet,) = packets(PAIR, Register("pre", "host", pf, "PREROUTING"), Send("peer", "host", 1, pf, size=size))
    assert len(packet.traversals) == count


@pytest.mark.parametrize(("step", "errors"), [
    (Send("client", "server", 1, V4, size=1200, fragment=608, ttl=1), 1),
    (Send("client", "server", 1, V6, size=1200, fragment=608, ttl=1), 2),
    (Send("client", "server", 1, V4, size=3000, ttl=1), 1), (Send("client", "server", 1, V6, size=3000, ttl=1), 3),
])
def test_icmp_answers_the_first_fragment_and_icmpv6_each(step: Send, errors: int) -> None:
    """``icmp_send`` looks at the fragment's offset, ``icmp6_send`` does not."""
    _, *answers = packets(ROUTER, step)
    assert [(packet.kind, packet.cookie) for packet in answers] == [("time exceeded", 1)] * errors


def test_a_walk_in_fragments_is_told_namespace_by_namespace() -> None:
    way = ("client", "OUTPUT"), ("router", "FORWARD"), ("server", "INPUT")
    hooks = [Register(f"{netns}-{hook}", netns, V4, hook) for netns, hook in way]
    (packet,) = packets(ROUTER, *hooks, Send("client", "server", 1, size=1200, fragment=608))
    assert points(packet) == ["client OUTPUT"] * 2 + ["router FORWARD"] * 2 + ["server INPUT"]


def test_a_fragment_that_is_refused_does_not_keep_the_next_one_from_being_sent() -> None:
    drop = Register("out", "host", V4, "OUTPUT", verdict=Verdict(VerdictKind.DROP))
    (packet,) = packets(PAIR, drop, Send("host", "peer", 1, size=120, fragment=64))
    assert [call.verdict.kind for one in packet.traversals for call in one.calls] == [VerdictKind.DROP] * 2


def test_lo_does_not_cut_anything_up() -> None:
    (packet,) = packets(BUILTIN["loopback"].topology, Register("pre", "host", V4, "PREROUTING"), Send("host", "127.0.0.1", 1, size=8000))
    assert len(packet.traversals) == 1
