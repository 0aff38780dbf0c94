"""What the model says of whole scenarios: the points a packet crosses, what runs there, what becomes of the packet."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
from hypothesis import given

from harness.model import predict
from harness.netfilter import HOOK_POINTS, Family, Verdict, VerdictKind, hook_name
from harness.outcome import Fate, KernelProfile, Outcome, PacketOutcome, Slot
from harness.outcome.types import OUR_MODULE, OURS
from harness.scenario import BUILTIN, Link, Route, Scenario, Step, Topology, VethEnd
from harness.scenario.check import check
from harness.scenario.steps.hooks import Dump, Register, Unregister
from harness.scenario.steps.packets import Send
from harness.scenario.topology import PAIR, ROUTER, SINGLE
from tests.strategies import scenarios

V4, V6 = Family.IPV4, Family.IPV6
DELIVERED = Fate("delivered")


def scenario(*steps: Step, topology: Topology = PAIR) -> Scenario:
    found = Scenario("test", "", topology, steps)
    check(found)
    return found


def everywhere(topology: Topology, pf: Family = V4) -> list[Step]:
    """A hook at every point of a family, and at every device's."""
    inet = [Register(f"{netns} {hook}", netns, pf, hook) for netns in topology.namespaces for hook in HOOK_POINTS[pf]]
    devices = [Register(f"{netns} {device} {hook}", netns, Family.NETDEV, hook, device=device)
               for netns in topology.namespaces for device in topology.devices(netns) for hook in HOOK_POINTS[Family.NETDEV]]
    return [*inet, *devices]


def walk(packet: PacketOutcome) -> list[str]:
    """``client OUTPUT >eth0``: namespace, point, in and out device."""
    return [f"{one.netns} {hook_name(one.pf, one.hook)} {one.indev}>{one.outdev}" for one in packet.traversals]


def labels(outcome: Outcome, packet: int = 0, traversal: int = 0) -> list[str | None]:
    return [call.label for call in outcome.packets[packet].traversals[traversal].calls]


@pytest.mark.parametrize("pf", [V4, V6])
def test_a_forwarded_packet_crosses_every_point_of_its_way_with_its_devices(pf: Family) -> None:
    (packet,) = predict(scenario(*everywhere(ROUTER, pf), Send("client", "server", 1, pf), topology=ROUTER)).packets
    assert walk(packet) == [
        "client OUTPUT >eth0", "client POSTROUTING >eth0", "client EGRESS >eth0",
        "router INGRESS to-client>", "router PREROUTING to-client>", "router FORWARD to-client>to-server",
        "router POSTROUTING to-client>to-server", "router EGRESS >to-server",
        "server INGRESS eth0>", "server PREROUTING eth0>", "server INPUT eth0>",
    ]
    assert packet.fate == DELIVERED
    assert all(one.returned == 1 for one in packet.traversals)


def test_a_packet_to_oneself_crosses_four_points_on_lo() -> None:
    (packet,) = predict(scenario(*everywhere(SINGLE), Send("host", "127.0.0.1", 1), topology=SINGLE)).packets
    assert walk(packet) == ["host OUTPUT >lo", "host POSTROUTING >lo", "host EGRESS >lo", "host INGRESS lo>", "host PREROUTING lo>",
                            "host INPUT lo>"]


def test_a_packet_to_the_routers_far_address_is_delivered_where_it_comes_in() -> None:
    (packet,) = predict(scenario(*everywhere(ROUTER), Send("client", "10.0.2.1", 1), topology=ROUTER)).packets
    assert walk(packet)[-2:] == ["router PREROUTING to-client>", "router INPUT to-client>"]


def test_an_echo_request_is_answered_by_a_packet_with_the_same_cookie() -> None:
    request, reply = predict(scenario(*everywhere(PAIR), Send("peer", "host", 7, kind="echo"))).packets
    assert [request.cookie, reply.cookie] == [7, 7]
    assert [request.packet, reply.packet] == ["icmp echo request 10.0.0.2 > 10.0.0.1, 32 bytes, ttl 64",
                                              "icmp echo reply 10.0.0.1 > 10.0.0.2, ttl 64"]
    assert walk(reply)[0] == "host OUTPUT >eth0"
    assert walk(reply)[-1] == "peer INPUT eth0>"
    assert request.fate == reply.fate == DELIVERED


def test_a_ttl_that_runs_out_ends_before_forward_and_is_answered_with_an_error_that_quotes_the_cookie() -> None:
    packet, error = predict(scenario(*everywhere(ROUTER), Send("client", "server", 1, ttl=1), topology=ROUTER)).packets
    assert walk(packet)[-1] == "router PREROUTING to-client>"
    assert packet.fate.kind == "dropped by the stack"
    assert error.packet == "icmp time exceeded 10.0.1.1 > 10.0.1.2, ttl 64"
    assert walk(error)[0] == "router OUTPUT >to-client"
    assert walk(error)[-1] == "client INPUT eth0>"


@pytest.mark.parametrize(("pf", "size", "packets"), [(V4, 520, 2), (V4, 521, 1), (V6, 1184, 2), (V6, 1185, 1)])
def test_an_error_about_a_larger_packet_no_longer_carries_its_cookie(pf: Family, size: int, packets: int) -> None:
    assert len(predict(scenario(Send("client", "server", 1, pf, size=size, ttl=1), topology=ROUTER)).packets) == packets


def test_a_namespace_that_does_not_forward_drops_after_prerouting() -> None:
    silent = replace(ROUTER, name="silent", forwarding=())
    (packet,) = predict(scenario(*everywhere(silent), Send("client", "server", 1), topology=silent)).packets
    assert walk(packet)[-1] == "router PREROUTING to-client>"
    assert packet.fate.kind == "dropped by the stack"


def test_without_a_route_sendto_fails_and_there_is_no_walk() -> None:
    lost = replace(ROUTER, name="lost", routes=())
    outcome = predict(scenario(*everywhere(lost), Send("client", "server", 1), topology=lost))
    assert outcome.steps[-1].errno == outcome.packets[0].sent_errno == errno.ENETUNREACH
    assert outcome.packets[0].traversals == ()


def test_a_routing_loop_ends_with_the_ttl() -> None:
    """Without a redirect: the harness switches them off."""
    loop = Topology("loop", ("near", "a", "b", "far"), (
        Link(VethEnd("near", "eth0", ("10.2.0.1/24",)), VethEnd("a", "eth1", ("10.2.0.2/24",))),
        Link(VethEnd("a", "eth0", ("10.1.0.1/24",)), VethEnd("b", "eth0", ("10.1.0.2/24",))),
        Link(VethEnd("b", "eth1"), VethEnd("far", "eth0", ("10.3.0.1/24",))),
    ), (Route("near", "10.3.0.0/16", "10.2.0.2"), Route("a", "10.3.0.0/16", "10.1.0.2"), Route("b", "10.3.0.0/16", "10.1.0.1")), ("a", "b"))
    outcome = predict(scenario(Register("fwd", "b", V4, "FORWARD"), Send("near", "10.3.0.1", 1, ttl=6), topology=loop))
    assert [one.netns for one in outcome.packets[0].traversals] == ["b", "b"]
    assert outcome.packets[0].fate.kind == "dropped by the stack"
    assert outcome.doubts == ()


def test_an_address_behind_nobody_is_a_doubt_not_a_guess() -> None:
    odd = Topology("odd", ("a", "b", "c"), (
        Link(VethEnd("a", "eth0", ("10.1.0.1/24",)), VethEnd("b", "eth0", ("10.1.0.2/24",))),
        Link(VethEnd("b", "eth1", ("10.9.0.1/24",)), VethEnd("c", "eth0", ("10.1.0.3/24",))),
    ))
    outcome = predict(scenario(Send("a", "10.1.0.3", 1), topology=odd))
    assert outcome.packets[0].fate.kind == "unknown"
    assert outcome.doubts == ("a/eth0 knows nobody who has 10.1.0.3: the packet's fate cannot be told",)


DROP = VerdictKind.DROP


@pytest.mark.parametrize(("hook", "verdict", "sent"), [
    ("OUTPUT", Verdict(DROP), errno.EPERM),
    ("OUTPUT", Verdict(DROP, errno.EACCES), errno.EACCES),
    ("OUTPUT", Verdict(DROP, errno.ENOBUFS), 0),
    ("OUTPUT", Verdict(VerdictKind.STOLEN), 0),
    ("OUTPUT", Verdict(VerdictKind.STOLEN, errno.EACCES), errno.EACCES),
    ("OUTPUT", Verdict(VerdictKind.QUEUE), 0),
    ("POSTROUTING", Verdict(DROP, errno.EACCES), errno.EACCES),
])
@pytest.mark.parametrize("pf", [V4, V6])
def test_sendto_sees_what_output_and_postrouting_return_but_for_enobufs(pf: Family, hook: str, verdict: Verdict, sent: int) -> None:
    outcome = predict(scenario(Register("h", "host", pf, hook, 0, verdict), Send("host", "peer", 1, pf)))
    assert outcome.steps[-1].errno == outcome.packets[0].sent_errno == sent
    assert outcome.packets[0].fate.kind != "delivered"


def test_an_ipv6_raw_socket_does_not_hide_enobufs() -> None:
    drop = Verdict(DROP, errno.ENOBUFS)
    for pf, sent in ((V4, 0), (V6, errno.ENOBUFS)):
        outcome = predict(scenario(Register("h", "host", pf, "OUTPUT", 0, drop), Send("host", "peer", 1, pf, "echo")))
        assert outcome.packets[0].sent_errno == sent


def test_sendto_does_not_see_what_happens_beyond_the_device() -> None:
    drop = Verdict(DROP, errno.EACCES)
    for step in (Register("h", "peer", V4, "PREROUTING", 0, drop), Register("h", "host", Family.NETDEV, "EGRESS", 0, drop, "eth0")):
        outcome = predict(scenario(step, Send("host", "peer", 1)))
        assert outcome.packets[0].sent_errno == 0
        assert outcome.packets[0].fate == Fate("dropped", errno.EACCES)


def test_a_cookie_restricts_a_verdict_to_its_packet() -> None:
    outcome = predict(scenario(Register("h", "host", V4, "INPUT", 0, Verdict(DROP), cookie=2),
                               Send("peer", "host", 1), Send("peer", "host", 2)))
    assert [packet.fate for packet in outcome.packets] == [DELIVERED, Fate("dropped", errno.EPERM)]


def test_equal_priorities_run_newest_first_and_removal_keeps_the_order_of_the_others() -> None:
    outcome = predict(BUILTIN["removal"])
    assert [labels(outcome, packet) for packet in (0, 1)] == [["c", "d", "b", "a", "e"], ["c", "d", "a", "e"]]
    assert outcome.packets[2].traversals == ()


def test_steps_report_the_arrays_they_touched() -> None:
    outcome = predict(scenario(Register("h", "host", Family.INET, "INPUT", 5), Unregister("h"), Dump("host", V4, "INPUT")))
    slot = Slot(0, OURS, OUR_MODULE, 5, label="h")
    assert [step.slots for step in outcome.steps] == [
        (("host/IPV4/INPUT", (slot,)), ("host/IPV6/INPUT", (slot,))),
        (("host/IPV4/INPUT", ()), ("host/IPV6/INPUT", ())),
        (("host/IPV4/INPUT", ()),),
    ]


def test_netdev_and_inet_hooks_of_a_device_are_one_array() -> None:
    outcome = predict(BUILTIN["ingress"])
    assert [key for key, _ in outcome.steps[1].slots] == ["host/NETDEV/INGRESS/eth0"]
    assert labels(outcome) == ["inet", "netdev", "netdev-drop"]
    assert outcome.packets[1].fate == Fate("dropped", errno.ENOBUFS)


def test_the_1025th_hook_is_refused_and_unregistering_it_finds_nothing() -> None:
    many = [Register(f"h{number}", "host", V4, "INPUT") for number in range(1025)]
    outcome = predict(scenario(*many, Unregister("h1024"), Send("peer", "host", 1)))
    assert {step.errno for step in outcome.steps[:1024]} == {0}
    assert [step.errno for step in outcome.steps[1024:]] == [errno.E2BIG, errno.ENOENT, 0]
    assert labels(outcome) == [f"h{number}" for number in reversed(range(1024))]


@pytest.mark.parametrize(("profile", "point", "number"), [
    (KernelProfile(netdev_egress=False), (Family.NETDEV, "EGRESS", "eth0"), errno.EINVAL),
    (KernelProfile(netdev_egress=False, netdev_egress_errno=errno.EOPNOTSUPP), (Family.NETDEV, "EGRESS", "eth0"), errno.EOPNOTSUPP),
    (KernelProfile(inet_ingress=False), (Family.INET, "INGRESS", "eth0"), errno.EINVAL),
    (KernelProfile(families=(V4, V6)), (Family.ARP, "INPUT", None), errno.EAFNOSUPPORT),
    (KernelProfile(), (Family.BRIDGE, "BROUTING", None), errno.EINVAL),
])
def test_a_point_that_the_kernel_has_not_is_refused(
    profile: KernelProfile, point: tuple[Family, str, str | None], number: int
) -> None:
    pf, hook, device = point
    outcome = predict(scenario(Register("h", "host", pf, hook, device=device), Send("peer", "host", 1)), profile)
    assert outcome.steps[0].errno == number
    assert outcome.packets[0].traversals == ()


def test_stolen_with_an_errno_depends_on_the_profile() -> None:
    steps = scenario(Register("h", "host", V4, "OUTPUT", 0, Verdict(VerdictKind.STOLEN, errno.EACCES)), Send("host", "peer", 1))
    for profile, number in ((KernelProfile(stolen_errno=True), errno.EACCES), (KernelProfile(stolen_errno=False), 0)):
        (packet,) = predict(steps, profile).packets
        assert (packet.traversals[0].returned, packet.fate, packet.sent_errno) == (-number, Fate("stolen", number), number)


@given(scenarios(nft=False))
def test_any_scenario_has_a_sound_prediction(given_scenario: Scenario) -> None:
    outcome = predict(given_scenario)
    assert [step.step for step in outcome.steps] == list(range(len(given_scenario.steps)))
    assert {packet.cookie for packet in outcome.packets} == {step.cookie for step in given_scenario.steps if isinstance(step, Send)}
    for packet in outcome.packets:
        assert all(one.calls or one.start for one in packet.traversals)
        # br_netfilter's hooks steal a packet and go on with it themselves
        assert all(one.returned == 1 or one.calls[-1].module == "br_netfilter" for one in packet.traversals[:-1])
        if packet.fate.kind in ("dropped", "stolen", "queued"):
            assert packet.traversals[-1].returned != 1
        for one in packet.traversals:
            assert [call.index for call in one.calls] == list(range(one.start, one.start + len(one.calls)))
            numbers = [call.priority for call in one.calls if call.priority is not None]
            assert numbers == sorted(numbers)
