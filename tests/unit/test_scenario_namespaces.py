"""A scenario's topology changes step by step: what comes, what goes along, what makes no sense."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import UserError
from harness.netfilter import Family
from harness.scenario import Scenario, dumps, loads
from harness.scenario.check import check
from harness.scenario.step import Step, lost_devices, topologies
from harness.scenario.steps.batches import RegisterBatch
from harness.scenario.steps.churn import Churn
from harness.scenario.steps.hooks import Nft, Register, Unregister
from harness.scenario.steps.namespaces import AddDevice, AddLink, AddNetns, DeleteDevice, DeleteNetns, Keys, MoveDevice
from harness.scenario.steps.packets import Send
from harness.scenario.steps.raw import RawInsert, RawRun
from harness.scenario.topology import FIRST, PAIR, ROUTER, SINGLE, Link, Topology, VethEnd

LINK = AddLink(VethEnd("later", "eth0", ("10.0.9.1/24",)), VethEnd("host", "to-later", ("10.0.9.2/24",)))


def refused(*steps: Step, topology: Topology = PAIR) -> str:
    with pytest.raises(UserError) as error:
        check(Scenario("wrong", "", topology, steps))
    return error.value.message


def test_a_namespace_comes_with_its_lo_and_goes_with_its_links() -> None:
    later = topologies(PAIR, (AddNetns("later"), LINK, DeleteNetns("later")))
    assert later[1].devices("later") == ("lo",)
    assert later[2].peer("host", "to-later").netns == "later"
    assert later[3] == PAIR


def test_what_leads_over_a_lost_link_is_forgotten() -> None:
    left = DeleteDevice("router", "to-client").after(ROUTER)
    assert [route.netns for route in left.routes] == ["server", "server"]
    assert left.devices("client") == ("lo",)


def test_a_veth_takes_its_peer_along_and_a_namespace_all_of_its_devices() -> None:
    assert lost_devices(PAIR, DeleteDevice("host", "eth0")) == (("peer", "eth0"), ("host", "eth0"))
    assert lost_devices(PAIR, DeleteNetns("peer")) == (("peer", "lo"), ("peer", "eth0"), ("host", "eth0"))


def test_a_device_moves_without_its_addresses() -> None:
    moved = MoveDevice("host", "eth0", "later").after(AddNetns("later").after(PAIR))
    assert moved.links == (Link(PAIR.links[0].a, VethEnd("later", "eth0")),)


def test_hooks_on_what_is_gone_are_gone() -> None:
    steps: tuple[Step, ...] = (
        AddDevice("host", "dummy0"),
        Register("device", "host", Family.NETDEV, "INGRESS", device="dummy0"),
        DeleteDevice("host", "dummy0"),
    )
    check(Scenario("right", "", PAIR, steps))
    assert refused(*steps, Unregister("device")) == 'steps[3].id: "device" is already unregistered'


@pytest.mark.parametrize(("steps", "message"), [
    ((AddNetns("host"),), 'steps[0].netns: there is a namespace "host" already'),
    ((AddNetns("a/b"),), 'steps[0].netns: "a/b" is no name for a namespace'),
    ((DeleteNetns("later"),), 'steps[0].netns: no namespace "later" in the topology "pair"'),
    ((AddDevice("host", "eth0"),), 'steps[0].device: host already has a device "eth0"'),
    ((AddDevice("host", "lo"),), 'steps[0].device: "lo" is no name for a device'),
    ((DeleteDevice("host", "lo"),), "steps[0].device: lo comes and goes with its namespace"),
    ((MoveDevice("host", "eth0", "peer"),), 'steps[0].to: peer already has a device "eth0"'),
    ((AddLink(VethEnd("host", "x", ("10.0.0.2/24",)), VethEnd("peer", "x")),),
     "steps[0].a.addresses[0]: 10.0.0.2 is already an address of peer"),
    ((AddLink(VethEnd("host", "x"), VethEnd("host", "x")),), 'steps[0].b.device: host already has a device "x"'),
    ((DeleteDevice("host", "eth0"), Send("peer", "host", 1)), "steps[1].to: host has no IPV4 address"),
    ((AddNetns("later"), RawInsert("raw", "later", "a"), DeleteNetns("later"), AddNetns("later"), RawRun("later", "a")),
     'steps[4].array: no step before has put a hook into an array "a" of later'),
    ((RegisterBatch("host", (Register("a", "host", Family.NETDEV, "INGRESS", device="x", device_netns="peer"),)),),
     'steps[0].hooks[0].device: no device "x" in the namespace "peer"'),
    ((Register("a", "host", Family.NETDEV, "INGRESS", device="eth0", device_netns="peer"),),
     "steps[0].device_netns: only a batch has hooks on another namespace's device"),
    ((RawInsert("a", "host", "own", count=2, fail=(0,)),), "steps[0].fail: allocations fail for one hook only"),
    ((Churn("c", "host", Family.IPV4, "INPUT", "host", "host"),), "steps[0].to: no IPv4 packet goes from host to host"),
])
def test_a_step_that_makes_no_sense_is_named(steps: tuple[Step, ...], message: str) -> None:
    assert refused(*steps) == message


def test_the_last_namespace_stays() -> None:
    assert refused(DeleteNetns("host"), topology=SINGLE) == 'steps[0].netns: "host" is the last namespace'


def test_the_machine_s_first_namespace_stays_and_takes_no_ruleset() -> None:
    assert refused(DeleteNetns("host"), topology=FIRST) == 'steps[0].netns: "host" is the machine\'s first namespace, which never goes'
    ruleset = Nft("host", "table ip t { }")
    assert refused(ruleset, topology=FIRST) == 'steps[0]: "host" is the machine\'s first namespace, where a ruleset would stay'
    check(Scenario("elsewhere", "", FIRST, (replace(ruleset, netns="peer"),)))


def test_the_first_namespace_is_one_of_the_topology() -> None:
    assert refused(topology=replace(PAIR, first="nobody")) == 'topology.first: no namespace "nobody" in the topology "pair"'


def test_every_step_round_trips() -> None:
    steps = (AddNetns("later"), LINK, AddDevice("later", "d"), MoveDevice("later", "d", "host"), DeleteDevice("host", "d"), Keys(),
             Churn("c", "host", Family.IPV4, "INPUT", "host", "later", 7, 8, -1), Register("a", "host", Family.IPV4, "INPUT", fail=(0, 2)),
             RegisterBatch("host", (Register("b", "host", Family(4), "HOOK1"),
                                    Register("c2", "host", Family.NETDEV, "INGRESS", device="eth0", device_netns="peer")), (1,)),
             DeleteNetns("later"))
    ground = Topology("own", PAIR.namespaces, PAIR.links, dummies=(VethEnd("host", "first"),))
    scenario = Scenario("all", "", ground, steps)
    assert loads(dumps(scenario)) == scenario
