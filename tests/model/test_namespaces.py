"""Namespaces, devices, static keys and hooks under traffic, as the model has them."""

from __future__ import annotations

import errno

from harness.model import Foreign, predict
from harness.netfilter import Family
from harness.outcome import KernelProfile, Outcome, Slot, StepOutcome, point_key
from harness.scenario import Scenario, Step
from harness.scenario.steps.batches import RegisterAgain, RegisterBatch
from harness.scenario.steps.churn import Churn
from harness.scenario.steps.hooks import Dump, Register, Unregister
from harness.scenario.steps.namespaces import AddDevice, AddLink, AddNetns, DeleteDevice, DeleteNetns, Keys, MoveDevice
from harness.scenario.steps.packets import Send
from harness.scenario.topology import PAIR, ROUTER, VethEnd

V4, INET, NETDEV = Family.IPV4, Family.INET, Family.NETDEV
IN = ("host", V4, "INPUT")


def did(*steps: Step, foreign: Foreign | None = None) -> Outcome:
    return predict(Scenario("s", "", PAIR, steps), KernelProfile(), foreign)


def facts(outcome: Outcome) -> dict[str, str | int]:
    return dict(outcome.steps[-1].facts)


def test_a_namespace_takes_its_hooks_and_those_of_its_links_along() -> None:
    outcome = did(AddNetns("later"), AddLink(VethEnd("later", "a"), VethEnd("host", "b")), Register("in", "later", V4, "INPUT"),
                  Register("far", "host", NETDEV, "INGRESS", device="b"), Register("stays", *IN), DeleteNetns("later"), Keys())
    assert facts(outcome) == {"IPV4 INPUT": 1}
    assert dict(outcome.steps[-2].facts) == {"netns": "gone", "proc": "gone"}


def test_a_security_module_s_hooks_come_with_a_namespace_and_go_with_it() -> None:
    armour = {0: ((point_key("later", V4, 4), (Slot(0, "apparmor_ip_postroute", None, -225),)),)}
    outcome = did(AddNetns("later"), Keys(), DeleteNetns("later"), Keys(), foreign=Foreign(armour))
    assert outcome.steps[0].slots == armour[0]
    assert (dict(outcome.steps[1].facts), facts(outcome)) == ({"IPV4 POSTROUTING": 1}, {})


def test_a_kernel_without_jump_labels_counts_nothing_and_says_so() -> None:
    outcome = predict(Scenario("s", "", PAIR, (Register("a", *IN), Keys())), KernelProfile(static_keys=False))
    assert (outcome.steps[-1].errno, outcome.steps[-1].facts) == (errno.EOPNOTSUPP, ())


def test_a_hook_that_is_registered_twice_on_a_device_goes_twice() -> None:
    outcome = did(AddDevice("host", "d"), Register("twice", "host", NETDEV, "INGRESS", device="d"), RegisterAgain("twice"),
                  DeleteDevice("host", "d"), Keys())
    assert (facts(outcome), [step.splats for step in outcome.steps if step.splats]) == ({}, [])


def test_a_device_that_moves_has_empty_arrays_there() -> None:
    outcome = did(AddDevice("host", "d"), Register("a", "host", NETDEV, "INGRESS", device="d"), MoveDevice("host", "d", "peer"),
                  Dump("peer", NETDEV, "INGRESS", "d"))
    assert [slots for step in outcome.steps[2:] for _, slots in step.slots] == [(), (), ()]


def test_an_inet_hook_counts_in_both_families_and_a_refused_one_in_none() -> None:
    outcome = did(Register("both", "host", INET, "INPUT"), Register("refused", *IN, fail=(0,)), Keys())
    assert facts(outcome) == {"IPV4 INPUT": 1, "IPV6 INPUT": 1}


def test_the_rollback_of_inet_leaves_a_dummy_when_there_is_no_memory_for_it_either() -> None:
    outcome = did(Register("v4", *IN, 1), Register("both", "host", INET, "INPUT", fail=(1, 2)))
    assert (outcome.steps[1].errno, [slot.dummy for _, slots in outcome.steps[1].slots for slot in slots]) == (errno.ENOMEM, [True, False])


def test_the_last_hook_needs_no_memory_to_go() -> None:
    outcome = did(Register("a", *IN), Unregister("a", fail=(0,)))
    assert outcome.steps[1] == StepOutcome(1, 0, ((point_key("host", V4, 1), ()),))


def test_core_refuses_another_namespace_s_device_and_rolls_the_batch_back() -> None:
    outcome = did(RegisterBatch("host", (Register("a", *IN), Register("b", "host", NETDEV, "INGRESS", device="eth0", device_netns="peer"))))
    assert (outcome.steps[0].errno, [slots for _, slots in outcome.steps[0].slots]) == (errno.EINVAL, [(), ()])


def test_packets_follow_the_ground_as_it_is() -> None:
    outcome = did(AddNetns("later"), AddLink(VethEnd("later", "a", ("10.0.9.1/24",)), VethEnd("host", "b", ("10.0.9.2/24",))),
                  Register("in", "later", V4, "INPUT"), Send("host", "later", 1))
    assert [(one.netns, one.indev) for one in outcome.packets[0].traversals] == [("later", "a")]


def test_every_packet_meets_one_array_or_the_other() -> None:
    steps = (Register("a", "router", V4, "FORWARD"), Churn("c", "router", INET, "FORWARD", "client", "server", 5, 7))
    armour = Foreign({-1: ((point_key("router", V4, 4), (Slot(0, "apparmor_ip_postroute", None, -225),)),)})
    outcome = predict(Scenario("s", "", ROUTER, steps), KernelProfile(), armour)
    assert facts(outcome) == {"sent": 7, "arrived": 7, "rounds": 5, "torn": 0}
    assert outcome.packets == ()
