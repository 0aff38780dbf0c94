"""Registration in namespaces, against a second formulation: one list of hooks for each point, INET in two of them."""

from __future__ import annotations

import errno
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from harness.model.entries import FailingAllocator, accept_all
from harness.model.register import Core
from harness.model.structures import ARRAY_SIZE, Entries, Head, HookOps, Net, NetDevice, QueueEntry
from harness.netfilter import HOOK_POINTS, Family, hook_number
from harness.outcome.profile import KernelProfile
from tests.strategies import priorities


def ops(pf: Family, hooknum: int, priority: int = 0, device: NetDevice | None = None) -> HookOps:
    return HookOps(accept_all, "hook", "module", pf, hooknum, priority, device)


def full(head: Head) -> Entries:
    head.entries = [ops(Family.IPV4, 0) for _ in range(1024)]
    return head.entries


def test_inet_takes_a_slot_in_ipv4_and_in_ipv6_and_leaves_both() -> None:
    core, net, hook = Core(), Net("a"), ops(Family.INET, 1)
    assert core.nf_register_net_hook(net, hook) == 0
    assert [net.hooks[pf][1].entries for pf in (Family.IPV4, Family.IPV6)] == [[hook], [hook]]
    core.nf_unregister_net_hook(net, hook)
    assert [net.hooks[pf][1].entries for pf in (Family.IPV4, Family.IPV6)] == [None, None]
    assert core.warnings == []


def test_inet_is_rolled_back_from_ipv4_when_ipv6_refuses() -> None:
    core, net = Core(), Net("a")
    array = full(net.hooks[Family.IPV6][1])
    assert core.nf_register_net_hook(net, ops(Family.INET, 1)) == -errno.E2BIG
    assert net.hooks[Family.IPV4][1].entries is None
    assert net.hooks[Family.IPV6][1].entries is array
    assert core.nf_hooks_needed[Family.IPV4, 1] == 0


def test_inet_stops_at_ipv4_when_that_refuses() -> None:
    core, net = Core(), Net("a")
    full(net.hooks[Family.IPV4][1])
    assert core.nf_register_net_hook(net, ops(Family.INET, 1)) == -errno.E2BIG
    assert net.hooks[Family.IPV6][1].entries is None


def test_a_full_point_does_not_affect_its_neighbours() -> None:
    core, net, other = Core(), Net("a"), Net("b")
    full(net.hooks[Family.IPV4][1])
    assert core.nf_register_net_hook(net, ops(Family.IPV4, 1)) == -errno.E2BIG
    assert core.nf_register_net_hook(net, ops(Family.IPV4, 2)) == 0
    assert core.nf_register_net_hook(net, ops(Family.IPV6, 1)) == 0
    assert core.nf_register_net_hook(other, ops(Family.IPV4, 1)) == 0


def test_inet_ingress_shares_the_array_of_netdev_ingress() -> None:
    core, net = Core(), Net("a")
    device = net.add_device("eth0")
    netdev, inet = ops(Family.NETDEV, 0, 0, device), ops(Family.INET, 5, -1, device)
    assert [core.nf_register_net_hook(net, hook) for hook in (netdev, inet)] == [0, 0]
    assert device.hooks[0].entries == [inet, netdev]
    assert device.hooks[1].entries is None
    core.nf_unregister_net_hook(net, inet)
    assert device.hooks[0].entries == [netdev]
    assert core.nf_hooks_needed == Counter({(Family.NETDEV, 0): 1})


@pytest.mark.parametrize("pf_hook", [(Family.NETDEV, 0), (Family.NETDEV, 1), (Family.INET, 5)])
def test_a_device_point_wants_a_device_of_the_same_namespace(pf_hook: tuple[Family, int]) -> None:
    core, net, other = Core(), Net("a"), Net("b")
    assert core.nf_register_net_hook(net, ops(*pf_hook)) == -errno.EINVAL
    assert core.nf_register_net_hook(net, ops(*pf_hook, device=other.add_device("eth0"))) == -errno.EINVAL
    assert core.warnings == []


def test_netdev_knows_two_points_only() -> None:
    net = Net("a")
    assert Core().nf_register_net_hook(net, ops(Family.NETDEV, 2, device=net.add_device("eth0"))) == -errno.EINVAL


def test_kernels_without_egress_or_inet_ingress_refuse_them() -> None:
    net = Net("a")
    device = net.add_device("eth0")
    old = Core(KernelProfile(netdev_egress=False, inet_ingress=False))
    assert old.nf_register_net_hook(net, ops(Family.NETDEV, 1, device=device)) == -errno.EINVAL
    assert old.nf_register_net_hook(net, ops(Family.INET, 5, device=device)) == -errno.EINVAL
    without = Core(KernelProfile(netdev_egress=False, netdev_egress_errno=errno.EOPNOTSUPP))
    assert without.nf_register_net_hook(net, ops(Family.NETDEV, 1, device=device)) == -errno.EOPNOTSUPP
    assert device.hooks[0].entries is device.hooks[1].entries is None


@pytest.mark.parametrize("pf", ARRAY_SIZE)
def test_a_hook_number_out_of_range_is_refused_with_a_splat(pf: Family) -> None:
    core = Core()
    assert core.nf_register_net_hook(Net("a"), ops(pf, ARRAY_SIZE[pf])) == -errno.EINVAL
    assert core.warnings == ["nf_hook_entry_head"]


def test_a_family_that_is_configured_out_is_refused_with_a_splat() -> None:
    core = Core(KernelProfile(families=(Family.IPV4, Family.IPV6)))
    assert core.nf_register_net_hook(Net("a"), ops(Family.ARP, 0)) == -errno.EINVAL
    assert core.warnings == ["nf_hook_entry_head"]


def test_a_batch_registers_all_or_none() -> None:
    core, net = Core(), Net("a")
    good = [ops(Family.IPV4, 0), ops(Family.IPV6, 0)]
    assert core.nf_register_net_hooks(net, []) == 0
    assert core.nf_register_net_hooks(net, [*good, ops(Family.IPV4, 9), ops(Family.ARP, 0)]) == -errno.EINVAL
    assert all(head.entries is None for heads in net.hooks.values() for head in heads)
    assert core.nf_register_net_hooks(net, good) == 0
    core.nf_unregister_net_hooks(net, good)
    assert all(head.entries is None for heads in net.hooks.values() for head in heads)


def test_unregistering_what_is_not_there_warns_and_touches_nothing() -> None:
    core, net, hook = Core(), Net("a"), ops(Family.IPV4, 1)
    core.nf_unregister_net_hook(net, hook)
    assert core.warnings == ["__nf_unregister_net_hook"]
    core.nf_register_net_hook(net, hook)
    core.nf_unregister_net_hook(net, ops(Family.IPV4, 1))
    assert core.warnings[1:] == ["hook not found, pf 2 num 1"]
    assert net.hooks[Family.IPV4][1].entries == [hook]
    assert core.nf_hooks_needed[Family.IPV4, 1] == 1


def test_a_removal_that_replaces_the_array_drops_what_the_namespace_has_queued() -> None:
    dropped = []

    class Handler:
        def outfn(self, _entry: QueueEntry, _queuenum: int) -> int:
            return 0

        def nf_hook_drop(self, net: Net) -> None:
            dropped.append(net.name)

    core, net, hooks = Core(nf_queue_handler=Handler()), Net("a"), [ops(Family.IPV4, 1), ops(Family.IPV4, 1)]
    core.nf_register_net_hooks(net, hooks)
    core.alloc = FailingAllocator([True])
    core.nf_unregister_net_hook(net, hooks[0])
    assert dropped == []
    core.nf_unregister_net_hook(net, hooks[1])
    assert dropped == ["a"]


POINTS = [(pf, name) for pf in Family for name in HOOK_POINTS[pf] if (pf, name) != (Family.BRIDGE, "BROUTING")]


class Registrations(RuleBasedStateMachine):
    """Any legal sequence, with allocations that fail, in two namespaces: core.c's arrays are those of the naive lists."""

    hooks = Bundle("hooks")

    @initialize()
    def begin(self) -> None:
        self.memory = FailingAllocator()
        self.core = Core(alloc=self.memory)
        self.nets = {name: Net(name) for name in ("a", "b")}
        for net in self.nets.values():
            net.add_device("eth0")
        self.lists: dict[tuple[str, Family, int], list[HookOps]] = {}

    def places(self, netns: str, hook: HookOps) -> list[tuple[str, Family, int]]:
        if hook.pf is not Family.INET:
            return [(netns, hook.pf, hook.hooknum)]
        if hook.hooknum == 5:
            return [(netns, Family.NETDEV, 0)]
        return [(netns, Family.IPV4, hook.hooknum), (netns, Family.IPV6, hook.hooknum)]

    @rule(target=hooks, netns=st.sampled_from(["a", "b"]), point=st.sampled_from(POINTS), priority=priorities,
          failing=st.lists(st.booleans(), max_size=2))
    def register(self, netns: str, point: tuple[Family, str], priority: int, failing: list[bool]) -> tuple[str, HookOps] | None:
        pf, number = point[0], hook_number(*point)
        net = self.nets[netns]
        hook = ops(pf, number, priority, net.devices["eth0"] if pf is Family.NETDEV or number == 5 else None)
        self.memory.failing = list(failing)
        needed = len(self.places(netns, hook))
        err = self.core.nf_register_net_hook(net, hook)
        assert err == (-errno.ENOMEM if any(failing[:needed]) else 0)
        self.memory.failing = []
        if err:
            return None
        for place in self.places(netns, hook):
            self.lists.setdefault(place, []).append(hook)
        return netns, hook

    @rule(registered=consumes(hooks), failing=st.lists(st.booleans(), max_size=2))
    def unregister(self, registered: tuple[str, HookOps] | None, failing: list[bool]) -> None:
        if registered is None:
            return
        netns, hook = registered
        self.memory.failing = list(failing)
        self.core.nf_unregister_net_hook(self.nets[netns], hook)
        self.memory.failing = []
        for place in self.places(netns, hook):
            self.lists[place].remove(hook)

    @invariant()
    def arrays_are_the_naive_lists(self) -> None:
        for netns, net in self.nets.items():
            heads = {(netns, pf, number): head for pf, points in net.hooks.items() for number, head in enumerate(points)}
            heads |= {(netns, Family.NETDEV, number): head for number, head in net.devices["eth0"].hooks.items()}
            for place, head in heads.items():
                newest_first = self.lists.get(place, [])[::-1]
                expected = sorted(newest_first, key=lambda hook: hook.priority)
                assert [hook for hook in head.entries or () if hook.function != "accept_all"] == expected
                assert (head.entries is None) == (not expected)

    @invariant()
    def every_live_slot_is_counted_by_its_static_key(self) -> None:
        live = Counter((pf, number) for (_, pf, number), hooks in self.lists.items() for _ in hooks)
        assert +self.core.nf_hooks_needed == live

    @invariant()
    def no_splat(self) -> None:
        assert self.core.warnings == []


TestRegistrations = Registrations.TestCase
TestRegistrations.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
