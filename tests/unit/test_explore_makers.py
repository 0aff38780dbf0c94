"""Makers of :mod:`harness.explore.steps`: what each draws makes sense after the steps before it; where nothing would, it draws nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from harness.explore.engine import Plan
from harness.explore.scenarios import MIXES
from harness.explore.sound import queues_ipv6
from harness.explore.steps import DRAWN, batches, bpf, hooks, link, namespaces, packets, queue, raw
from harness.explore.steps.faults import without_memory
from harness.explore.steps.maker import Maker
from harness.explore.topologies import layered
from harness.explore.topologies import topologies as drawn_topologies
from harness.netfilter import PRIORITY_MAX, PRIORITY_MIN, Family, Verdict, VerdictKind
from harness.outcome import KernelProfile
from harness.scenario.check import admit
from harness.scenario.scope import Scope
from harness.scenario.step import KINDS, Step
from harness.scenario.steps.batches import RegisterAgain, RegisterBatch, UnregisterBatch
from harness.scenario.steps.bpf import BpfLink, BpfUnlink
from harness.scenario.steps.hooks import Register, Unregister
from harness.scenario.steps.link import Arp, Frame
from harness.scenario.steps.namespaces import AddLink, AddNetns, DeleteDevice, DeleteNetns, MoveDevice
from harness.scenario.steps.packets import Send, last_piece
from harness.scenario.steps.queue import Answer, HangUp, Listen
from harness.scenario.steps.raw import RawDelete, RawInsert, RawRun
from harness.scenario.topology import BRIDGE, BRIDGE_NETFILTER, LOOPBACK, PAIR, ROUTER, ROUTER_GRO, SINGLE, VLAN, Topology

T = TypeVar("T")

_IN = ("host", Family.IPV4, "INPUT")
_QUEUE = Verdict(VerdictKind.QUEUE, queue=7)


def after(*steps: Step, topology: Topology = PAIR) -> Scope:
    scope = Scope(topology)
    for step in steps:
        admit(scope, step, "given")
    return scope


@st.composite
def _made(draw: st.DrawFn, makers: tuple[Maker, ...], scope: Callable[[], Scope]) -> Step | None:
    return draw(st.sampled_from(makers))(draw, scope())


def drawn(makers: Maker | Sequence[Maker], *steps: Step, topology: Topology = PAIR, tries: int = 60) -> list[Step]:
    """So many tries at a step; each that there is may stand in a scenario here."""
    found: list[Step] = []
    each = tuple(makers) if isinstance(makers, Sequence) else (makers,)

    @settings(max_examples=tries, database=None, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_made(each, lambda: after(*steps, topology=topology)))
    def draw(step: Step | None) -> None:
        if step is not None:
            step.check(after(*steps, topology=topology), "drawn")
            found.append(step)

    draw()
    return found


def of(kind: type[T], steps: Sequence[object]) -> list[T]:
    found = [step for step in steps if isinstance(step, kind)]
    assert found, f"{kind.__name__} is drawn"
    return found


GROUNDS = (SINGLE, PAIR, ROUTER, BRIDGE, BRIDGE_NETFILTER, VLAN)


@pytest.mark.parametrize("topology", GROUNDS, ids=lambda topology: topology.name)
@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn_first_may_stand_first(name: str, topology: Topology) -> None:
    """What comes of the makers, :func:`drawn` admits. That a topology has no place for the concern is the maker's to know."""
    drawn(DRAWN[name].makers, topology=topology)


@pytest.mark.parametrize("name", DRAWN)
def test_a_concern_is_drawn_first_in_some_topology(name: str) -> None:
    assert any(drawn(DRAWN[name].makers, topology=topology) for topology in GROUNDS), f"no maker of {name!r} draws a first step"


def test_every_step_is_drawn_or_there_is_a_reason_why_not() -> None:
    scenarios = [scenario for mix in MIXES for number in range(24) for scenario in Plan(1, mix).batch(number)]
    drawn_kinds = {kind for kind in KINDS.values() if not kind.facts.not_drawn}
    assert {type(step) for scenario in scenarios for step in scenario.steps} == drawn_kinds


def test_only_a_link_that_was_made_is_closed() -> None:
    assert not [step for step in drawn(bpf.DRAWN.makers) if isinstance(step, BpfUnlink)]
    made = BpfLink("one", *_IN)
    assert {step.id for step in of(BpfUnlink, drawn(bpf.DRAWN.makers, made))} == {"one"}
    assert drawn(bpf._unlink, made, BpfUnlink("one")) == []


def test_some_links_are_made_where_another_one_is() -> None:
    made = BpfLink("one", *_IN, priority=4711)
    assert {(link.netns, link.pf, link.hook, link.priority) for link in of(BpfLink, drawn(bpf._again, made))} == {(*_IN, 4711)}
    assert drawn(bpf._again) == []


def test_a_link_is_made_at_a_priority_that_it_may_have() -> None:
    assert all(PRIORITY_MIN < link.priority < PRIORITY_MAX for link in of(BpfLink, drawn(bpf.DRAWN.makers, tries=300)))


def test_there_are_no_links_where_the_kernel_has_none() -> None:
    for linking in (True, False):
        plan = Plan(1, "all", KernelProfile(bpf_link=linking))
        steps = [step for number in range(8) for scenario in plan.batch(number) for step in scenario.steps]
        assert any(isinstance(step, BpfLink) for step in steps) is linking


def test_a_namespace_that_a_link_keeps_alive_stays() -> None:
    assert {step.netns for step in of(DeleteNetns, drawn(namespaces.DRAWN.makers, BpfLink("one", *_IN)))} == {"peer"}


def test_a_hook_queues_only_where_core_can() -> None:
    for hook in of(Register, drawn(hooks.DRAWN.makers)):
        assert hook.verdict.kind is not VerdictKind.QUEUE or (hook.device is None and hook.pf is not Family.ARP)


def test_a_hook_says_something_else_of_what_comes_back_only_where_somebody_listens() -> None:
    assert not [hook for hook in of(Register, drawn(hooks.DRAWN.makers)) if hook.reinjected is not None]
    assert [hook for hook in of(Register, drawn(hooks.DRAWN.makers, Listen("host", 7))) if hook.reinjected is not None]


def test_a_hook_that_repeats_what_comes_back_comes_to_an_end() -> None:
    made = _made((hooks._register,), lambda: after(Listen("host", 7)))
    hook = find(made, lambda step: isinstance(step, Register) and step.reinjected == VerdictKind.REPEAT,
                settings=settings(max_examples=5000, database=None, derandomize=True, deadline=None))
    assert isinstance(hook, Register) and hook.times == 1, "the smallest"


def test_only_what_is_registered_is_unregistered() -> None:
    steps = Register("one", *_IN), Register("other", *_IN)
    assert {step.id for step in of(Unregister, drawn(hooks.DRAWN.makers, *steps))} == {"one", "other"}
    assert drawn(hooks._unregister, *steps, Unregister("one"), Unregister("other")) == []


def test_only_a_whole_batch_is_unregistered_at_once() -> None:
    batch = RegisterBatch("host", (Register("one", *_IN), Register("other", *_IN)))
    assert of(UnregisterBatch, drawn(batches.DRAWN.makers, batch))
    assert drawn(batches._unregister_batch, batch, Unregister("one")) == []


def test_only_what_is_registered_is_registered_again() -> None:
    assert drawn(batches._register_again) == []
    assert {step.id for step in of(RegisterAgain, drawn(batches.DRAWN.makers, Register("one", *_IN)))} == {"one"}


def test_some_batches_have_a_hook_that_core_refuses() -> None:
    batch = of(RegisterBatch, drawn(batches.DRAWN.makers))
    assert any(hook.hook.startswith("HOOK") for step in batch for hook in step.hooks)
    assert any(step.hooks == () for step in batch)


def test_no_private_hook_queues_to_somebody_who_listens() -> None:
    """The packet of a raw-run cannot wait."""
    inserted = RawInsert("r", "host", "a", verdict=_QUEUE.encode())
    assert ("host", 7) in {(step.netns, step.queue) for step in of(Listen, drawn(queue.DRAWN.makers))}
    assert ("host", 7) not in {(step.netns, step.queue) for step in of(Listen, drawn(queue.DRAWN.makers, inserted))}
    verdicts = [Verdict.decode(step.verdict) for step in of(RawInsert, drawn(raw.DRAWN.makers, Listen("host", 7), Listen("peer", 7)))]
    assert not [verdict for verdict in verdicts if verdict.kind is VerdictKind.QUEUE and verdict.queue == 7]


def test_private_arrays_are_run_and_shortened_once_they_are_there() -> None:
    assert not [step for step in drawn(raw.DRAWN.makers) if isinstance(step, RawRun | RawDelete)]
    steps = drawn(raw.DRAWN.makers, RawInsert("r", "host", "a"), RawInsert("s", "host", "b"))
    assert {(step.netns, step.array) for step in of(RawRun, steps)} == {("host", "a"), ("host", "b")}
    assert {step.array for step in of(RawDelete, steps)} >= {None, "b"}, "also from an array that it is not in"


def test_every_piece_of_a_packet_has_room_for_the_cookie() -> None:
    sent = of(Send, drawn(packets.DRAWN.makers, topology=ROUTER, tries=300))
    pieces = [step for step in sent if step.fragment or step.segment or step.size > 1400]
    assert pieces
    assert all(last_piece(step) >= 16 for step in pieces)


def test_nothing_goes_in_pieces_where_somebody_listens() -> None:
    """Of pieces that wait one by one some could be missing."""
    sent = of(Send, drawn(packets.DRAWN.makers, Listen("router", 7), topology=ROUTER, tries=300))
    assert not [step for step in sent if step.fragment or step.segment or step.size > 1400]


def test_each_packet_has_a_cookie_of_its_own() -> None:
    assert {step.cookie for step in of(Send, drawn(packets.DRAWN.makers, Send("peer", "host", 1), Send("peer", "host", 2)))} == {3}


def test_of_each_two_addresses_one_asks_for_the_other_once() -> None:
    """A packet of ARP's has no cookie but its addresses, and a request and what answers it the same."""
    first, second = Arp("host", "10.0.0.1", "10.0.0.2"), Arp("peer", "10.0.0.2", "10.0.0.1")
    assert set(drawn(link._arp)) == {first, second}
    assert drawn(link._arp, first) == drawn(link._arp, second) == []


def test_frames_leave_by_devices_that_lead_somewhere() -> None:
    assert {(step.source, step.device) for step in of(Frame, drawn(link.DRAWN.makers))} == {("host", "eth0"), ("peer", "eth0")}


@pytest.mark.parametrize("kind", [Answer, HangUp])
def test_nobody_answers_or_hangs_up_who_does_not_listen(kind: type[Answer | HangUp]) -> None:
    assert not [step for step in drawn(queue.DRAWN.makers) if isinstance(step, kind)]
    assert {(step.netns, step.queue) for step in of(kind, drawn(queue.DRAWN.makers, Listen("peer", 7)))} == {("peer", 7)}


def test_the_last_namespace_stays() -> None:
    assert of(DeleteNetns, drawn(namespaces.DRAWN.makers))
    assert drawn(namespaces._delete_netns, DeleteNetns("peer")) == []


def test_lo_stays_where_it_is() -> None:
    steps = drawn(namespaces.DRAWN.makers)
    assert not [step for step in steps if isinstance(step, DeleteDevice | MoveDevice) and step.device == LOOPBACK]


def test_a_device_moves_to_where_none_has_its_name() -> None:
    assert drawn(namespaces._move_device) == [], "both have an eth0"
    assert {step.to for step in of(MoveDevice, drawn(namespaces.DRAWN.makers, AddNetns("third")))} == {"third"}


def test_a_link_has_its_ends_in_two_namespaces() -> None:
    assert all(step.a.netns != step.b.netns for step in of(AddLink, drawn(namespaces.DRAWN.makers)))
    assert drawn(namespaces._add_link, topology=SINGLE) == []


@pytest.mark.parametrize(("step", "numbers"), [
    (Register("one", *_IN), {(), (0,), (1,), (0, 1), (2,)}),
    (AddNetns("third"), {(), (0,)}),
    (RawInsert("r", "host", "a", count=2), {()}),
], ids=["a hook", "a namespace", "hooks at once"])
def test_the_allocations_that_fail_are_some_that_there_are(step: Register | AddNetns | RawInsert, numbers: set[tuple[int, ...]]) -> None:
    made = drawn(lambda draw, _scope: without_memory(draw, step))
    assert {each.fail for each in of(type(step), made)} == numbers


def test_what_allocates_nothing_does_not_fail() -> None:
    assert set(drawn(lambda draw, _scope: without_memory(draw, Listen("host", 7)))) == {Listen("host", 7)}


@pytest.mark.parametrize(("pf", "hook", "device", "numbers"), [
    (Family.INET, "INPUT", None, {(), (0,), (1,)}), (Family.INET, "INGRESS", "eth0", {()}), (Family.IPV4, "INPUT", None, {()}),
])
def test_one_half_of_inet_finds_no_memory(pf: Family, hook: str, device: str | None, numbers: set[tuple[int, ...]]) -> None:
    made = drawn(lambda draw, _scope: hooks.refused(draw, Register("one", "host", pf, hook, device=device)))
    assert {step.fail for step in of(Register, made)} == numbers


@pytest.mark.parametrize("faults", [True, False])
def test_no_allocation_fails_where_the_kernel_cannot_make_it(faults: bool) -> None:
    plan = Plan(1, "all", KernelProfile(failing_allocations=faults))
    failing = [step for number in range(8) for scenario in plan.batch(number) for step in scenario.steps if getattr(step, "fail", ())]
    assert bool(failing) is faults


def test_nothing_of_ipv6_waits_where_devices_come_up() -> None:
    """Their multicast listener reports would, too."""
    upset = [scenario for number in range(24) for scenario in Plan(1).batch(number)
             if any(isinstance(step, AddLink | MoveDevice) for step in scenario.steps)]
    assert any(step.verdict.kind is VerdictKind.QUEUE for scenario in upset for step in scenario.steps if isinstance(step, Register))
    assert not [step for scenario in upset for step in scenario.steps if queues_ipv6(step)]


@pytest.mark.parametrize(("there", "topologies"), [
    (KernelProfile(), [BRIDGE, BRIDGE_NETFILTER, VLAN, ROUTER_GRO]), (KernelProfile(br_netfilter=False), [BRIDGE, VLAN, ROUTER_GRO]),
    (KernelProfile(bridge=False), [VLAN, ROUTER_GRO]), (KernelProfile(vlan=False), [BRIDGE, BRIDGE_NETFILTER, ROUTER_GRO]),
    (KernelProfile(veth_gro=False), [BRIDGE, BRIDGE_NETFILTER, VLAN]),
])
def test_devices_stand_on_others_and_receive_in_lists_where_the_kernel_lets_them(there: KernelProfile, topologies: list[Topology]) -> None:
    grounds: set[Topology] = set()

    @settings(max_examples=400, database=None, derandomize=True, deadline=None)
    @given(drawn_topologies(layered(there), gro=there.veth_gro))
    def draw(topology: Topology) -> None:
        grounds.add(topology)

    draw()
    assert [topology for topology in (BRIDGE, BRIDGE_NETFILTER, VLAN, ROUTER_GRO) if topology in grounds] == topologies
    at_random = {link.gro for topology in grounds if topology.name in ("row", "star") for link in topology.links}
    assert at_random == ({False, True} if there.veth_gro else {False})
