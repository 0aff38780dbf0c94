"""nfharness.ko: hooks come, judge packets, are counted and go; every wrong request is refused with its reason."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.guest import traffic
from harness.guest.genetlink import DumpInterrupted
from harness.guest.module import Hook, HookModule, HookRefused
from harness.guest.topology import Network
from harness.netfilter import PRIORITY_MAX, PRIORITY_MIN, Family, Verdict, VerdictKind

pytestmark = pytest.mark.usefixtures("nfharness_ko")

ACCEPT = Verdict(VerdictKind.ACCEPT)
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING, INGRESS = range(6)
NETDEV_INGRESS, NETDEV_EGRESS = 0, 1
ANY = Hook(1, Family.IPV4, INPUT, 0, ACCEPT)


@pytest.fixture
def eth0(network: Network) -> int:
    return network.ifindexes["host", "eth0"]


def ours(module: HookModule, pf: Family, hook: int, ifindex: int = 0) -> list[int]:
    """The hooks of this module at a point, in the array's order (some kernels have other hooks there)."""
    return [slot.hook_id for slot in module.slots(pf, hook, ifindex) if slot.hook_id is not None]


# Registration

def test_slots_are_in_order_of_priority_and_equal_ones_newest_first(module: HookModule) -> None:
    for number, priority in enumerate((0, 5, 5, -10, PRIORITY_MAX, PRIORITY_MIN), 1):
        module.add_hook(replace(ANY, id=number, priority=priority))
    slots = module.slots(Family.IPV4, INPUT)
    assert [(slot.index, slot.hook_id, slot.priority) for slot in slots] == [
        (0, 6, PRIORITY_MIN), (1, 4, -10), (2, 1, 0), (3, 3, 5), (4, 2, 5), (5, 5, PRIORITY_MAX)]
    assert {(slot.function, slot.module, slot.dummy) for slot in slots} == {("nfharness_hook", "nfharness", False)}
    assert len({slot.address for slot in slots}) == 1


def test_a_deleted_hook_leaves_its_array(module: HookModule) -> None:
    for number in (1, 2, 3):
        module.add_hook(replace(ANY, id=number))
    module.del_hook(2)
    assert ours(module, Family.IPV4, INPUT) == [3, 1]


def test_inet_goes_into_the_arrays_of_both_families_and_leaves_both(module: HookModule) -> None:
    module.add_hook(replace(ANY, pf=Family.INET))
    assert (ours(module, Family.IPV4, INPUT), ours(module, Family.IPV6, INPUT)) == ([1], [1])
    module.del_hook(1)
    assert (ours(module, Family.IPV4, INPUT), ours(module, Family.IPV6, INPUT)) == ([], [])


def test_inet_ingress_shares_the_devices_array_with_netdev(module: HookModule, eth0: int) -> None:
    module.add_hook(replace(ANY, id=1, pf=Family.NETDEV, hook=NETDEV_INGRESS, ifindex=eth0))
    module.add_hook(replace(ANY, id=2, pf=Family.INET, hook=INGRESS, priority=-1, ifindex=eth0))
    assert ours(module, Family.NETDEV, NETDEV_INGRESS, eth0) == ours(module, Family.INET, INGRESS, eth0) == [2, 1]


@pytest.mark.parametrize(("pf", "hook"), [
    *((pf, hook) for pf in (Family.IPV4, Family.IPV6, Family.BRIDGE) for hook in range(5)),
    *((Family.ARP, hook) for hook in range(3)),
])
def test_every_point_without_a_device_takes_a_hook(module: HookModule, pf: Family, hook: int) -> None:
    module.add_hook(replace(ANY, pf=pf, hook=hook))
    assert ours(module, pf, hook) == [1]


def test_hooks_of_others_are_dumped_with_their_symbol_and_no_id(module: HookModule) -> None:
    """AppArmor's are in each namespace of a Debian kernel."""
    foreign = [slot for slot in module.slots(Family.IPV4, POSTROUTING) if slot.hook_id is None]
    assert [(slot.function.startswith("apparmor_ip"), slot.module, slot.priority) for slot in foreign] == [(True, None, -225)]


def test_namespaces_do_not_see_each_others_hooks(network: Network, module: HookModule) -> None:
    module.add_hook(ANY)
    with HookModule(network.namespaces["peer"]) as other:
        assert other.hooks() == []
        assert ours(other, Family.IPV4, INPUT) == []
        other.add_hook(replace(ANY, priority=7))
        other.flush()
    assert [state.hook for state in module.hooks()] == [ANY]


def test_a_full_point_refuses_the_1025th_hook_and_keeps_the_others(module: HookModule) -> None:
    refusals = module.add_hooks(replace(ANY, id=number) for number in range(1, 1026))
    assert [(number, refusal.errno, refusal.reason) for number, refusal in enumerate(refusals, 1) if refusal] == [
        (1025, errno.E2BIG, "nf_register_net_hook: the hook point is full")]
    assert ours(module, Family.IPV4, INPUT) == list(range(1024, 0, -1))
    module.flush()
    assert (module.hooks(), module.slots(Family.IPV4, INPUT)) == ([], [])


HOOKS = [
    replace(ANY, verdict=Verdict(VerdictKind.DROP)),
    replace(ANY, verdict=Verdict(VerdictKind.DROP, errno=4095)),
    replace(ANY, verdict=Verdict(VerdictKind.STOLEN)),
    replace(ANY, verdict=Verdict(VerdictKind.STOLEN, errno=errno.EACCES)),
    replace(ANY, verdict=Verdict(VerdictKind.QUEUE)),
    replace(ANY, verdict=Verdict(VerdictKind.QUEUE, queue=65535, bypass=True)),
    replace(ANY, id=2**64 - 1, priority=PRIORITY_MIN, cookie=0),
    replace(ANY, pf=Family.IPV6, cookie=2**64 - 1),
]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: f"{hook.pf.name}-{hook.verdict}-{hook.id}-{hook.cookie}")
def test_a_hook_is_reported_as_it_was_asked_for(module: HookModule, hook: Hook) -> None:
    module.add_hook(hook)
    state = module.hook(hook.id)
    assert (state.hook, state.calls, state.matches) == (hook, 0, 0)
    assert module.hooks() == [state]


# Verdicts, with packets

def send(network: Network, cookie: int = 1, *, source: str = "peer") -> int:
    to = {"peer": "10.0.0.1", "host": "10.0.0.2"}[source]
    return traffic.send_udp(network.namespaces[source], to, 9, traffic.payload(32, cookie))


@pytest.fixture
def sinks(network: Network) -> Iterator[traffic.Sinks]:
    with traffic.Sinks() as sinks:
        for namespace in network.namespaces.values():
            for family in (socket.AF_INET, socket.AF_INET6):
                sinks.add_udp(namespace, family, 9)
        yield sinks


def arrived(sinks: traffic.Sinks, *expected: int, seconds: float = 10) -> set[int]:
    return {arrival.cookie for arrival in sinks.wait(expected, seconds)}


def test_an_accepting_hook_counts_and_the_packet_goes_on(network: Network, module: HookModule, sinks: traffic.Sinks) -> None:
    module.add_hook(ANY)
    assert [send(network, cookie) for cookie in (1, 2, 3)] == [0, 0, 0]
    assert arrived(sinks, 1, 2, 3) == {1, 2, 3}
    state = module.hook(1)
    assert (state.calls, state.matches) == (3, 3)


def test_a_verdict_for_one_cookie_leaves_other_packets_alone(network: Network, module: HookModule, sinks: traffic.Sinks) -> None:
    module.add_hook(replace(ANY, verdict=Verdict(VerdictKind.DROP), cookie=2))
    for cookie in (1, 2, 3):
        send(network, cookie)
    assert arrived(sinks, 1, 3) == {1, 3}
    state = module.hook(1)
    assert (state.calls, state.matches) == (3, 1)


@pytest.mark.parametrize("number", [0, errno.EACCES, errno.EHOSTUNREACH, errno.ENETUNREACH, 4095])
def test_sendto_sees_the_errno_of_a_drop_at_output(network: Network, module: HookModule, number: int) -> None:
    module.add_hook(replace(ANY, hook=OUTPUT, verdict=Verdict(VerdictKind.DROP, errno=number)))
    assert send(network, source="host") == (number or errno.EPERM)


def test_later_hooks_do_not_see_a_dropped_or_stolen_packet(network: Network, module: HookModule, sinks: traffic.Sinks) -> None:
    module.add_hook(replace(ANY, id=1, priority=1, verdict=Verdict(VerdictKind.DROP), cookie=1))
    module.add_hook(replace(ANY, id=2, priority=2, verdict=Verdict(VerdictKind.STOLEN), cookie=2))
    module.add_hook(replace(ANY, id=3, priority=3))
    for cookie in (1, 2, 3):
        send(network, cookie)
    assert arrived(sinks, 3) == {3}
    assert [(state.calls, state.matches) for state in module.hooks()] == [(3, 1), (2, 1), (1, 1)]


def test_a_packet_stolen_at_output_looks_sent(network: Network, module: HookModule, sinks: traffic.Sinks) -> None:
    module.add_hook(replace(ANY, hook=OUTPUT, verdict=Verdict(VerdictKind.STOLEN), cookie=1))
    assert [send(network, cookie, source="host") for cookie in (1, 2)] == [0, 0]
    assert arrived(sinks, 2) == {2}


def test_without_a_listener_a_queued_packet_is_dropped_unless_it_may_bypass(
        network: Network, module: HookModule, sinks: traffic.Sinks) -> None:
    module.add_hook(replace(ANY, id=1, priority=1, verdict=Verdict(VerdictKind.QUEUE, queue=7), cookie=1))
    module.add_hook(replace(ANY, id=2, priority=1, verdict=Verdict(VerdictKind.QUEUE, queue=8, bypass=True), cookie=2))
    module.add_hook(replace(ANY, id=3, priority=2))
    for cookie in (1, 2):
        send(network, cookie)
    assert arrived(sinks, 2) == {2}
    assert module.hook(3).calls == 1


def test_a_hook_at_a_devices_ingress_judges_what_the_device_receives(
        network: Network, module: HookModule, eth0: int, sinks: traffic.Sinks) -> None:
    drop = Verdict(VerdictKind.DROP)
    module.add_hook(replace(ANY, id=1, pf=Family.NETDEV, hook=NETDEV_INGRESS, ifindex=eth0, verdict=drop, cookie=1))
    module.add_hook(replace(ANY, id=2, pf=Family.INET, hook=INGRESS, ifindex=eth0, verdict=drop, cookie=2))
    module.add_hook(replace(ANY, id=3, hook=PREROUTING))
    for cookie in (1, 2, 3):
        send(network, cookie)
    assert arrived(sinks, 3) == {3}
    assert module.hook(3).calls == 1


def has_egress() -> bool:
    """``CONFIG_NETFILTER_EGRESS``: devices have an array for it (the name of the member is among the strings of BTF)."""
    return b"\0nf_hooks_egress\0" in Path("/sys/kernel/btf/vmlinux").read_bytes()


def test_egress_judges_what_a_device_sends_where_the_kernel_has_it(
        network: Network, module: HookModule, eth0: int, sinks: traffic.Sinks) -> None:
    hook = replace(ANY, pf=Family.NETDEV, hook=NETDEV_EGRESS, ifindex=eth0, verdict=Verdict(VerdictKind.DROP), cookie=1)
    if not has_egress():
        with pytest.raises(HookRefused, match="no hook point of that number in this kernel"):
            module.add_hook(hook)
        return
    module.add_hook(hook)
    for cookie in (1, 2):
        send(network, cookie, source="host")
    assert arrived(sinks, 2) == {2}
    assert module.hook(1).matches == 1


# Dumps in several parts

@pytest.fixture
def after_each_part(module: HookModule, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Do something whenever a part of a dump has been received."""
    receive = module._netlink._receive

    def arrange(action: Callable[[], object]) -> None:
        def received() -> Iterator[object]:
            messages = list(receive())
            action()
            return iter(messages)

        monkeypatch.setattr(module._netlink, "_receive", received)

    return arrange


Arrange = Callable[[Callable[[], object]], None]


def test_a_dump_of_hooks_that_change_meanwhile_says_so(network: Network, module: HookModule, after_each_part: Arrange) -> None:
    module.add_hooks(replace(ANY, id=number) for number in range(1, 1001))
    spare = iter(range(1, 1001))
    with HookModule(network.namespaces["host"]) as other:
        after_each_part(lambda: other.del_hook(next(spare)))
        with pytest.raises(DumpInterrupted):
            module.hooks()


def test_a_dump_of_slots_shows_the_array_of_one_moment(network: Network, module: HookModule, after_each_part: Arrange) -> None:
    module.add_hooks(replace(ANY, id=number) for number in range(1, 1001))
    with HookModule(network.namespaces["host"]) as other:
        after_each_part(other.flush)
        assert ours(module, Family.IPV4, INPUT) == list(range(1000, 0, -1))
        assert ours(other, Family.IPV4, INPUT) == []
