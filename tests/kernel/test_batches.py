"""nf_register_net_hooks and its undoing, the same ops twice, and unregistering what is not there: with the warnings that core gives."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.guest import raw
from harness.guest.health import KernelLog, warn_again
from harness.guest.module import Hook, HookModule, HookRefused
from harness.netfilter import Family, Verdict, VerdictKind

pytestmark = [pytest.mark.usefixtures("nfharness_ko"), pytest.mark.may_warn("net/netfilter/core.c|hook not found")]

INPUT, FORWARD, OUTPUT = 1, 2, 3
ANY = Hook(1, Family.IPV4, INPUT, 0, Verdict(VerdictKind.ACCEPT))
THREE = [ANY, replace(ANY, id=2, priority=5), replace(ANY, id=3, pf=Family.IPV6)]
CORE = "net/netfilter/core.c"


@pytest.fixture
def log() -> Iterator[KernelLog]:
    warn_again()
    with KernelLog() as log:
        yield log


def warned(log: KernelLog) -> list[str]:
    return [splat.summary for splat in log.splats()]


def ours(module: HookModule, pf: Family = Family.IPV4, hook: int = INPUT) -> list[int]:
    return [slot.hook_id for slot in module.slots(pf, hook) if slot.hook_id is not None]


def refused(module: HookModule, hooks: list[Hook]) -> tuple[int | None, str]:
    with pytest.raises(HookRefused) as refusal:
        module.add_batch(hooks)
    return refusal.value.errno, refusal.value.reason


# All or none

def test_a_batch_registers_all_of_its_hooks(module: HookModule, log: KernelLog) -> None:
    module.add_batch(THREE)
    assert (ours(module), ours(module, Family.IPV6)) == ([1, 2], [3])
    assert [state.hook for state in module.hooks()] == THREE
    module.del_batch(2)
    assert (ours(module), ours(module, Family.IPV6), module.hooks(), warned(log)) == ([], [], [], [])


def test_an_empty_batch_registers_nothing(module: HookModule, log: KernelLog) -> None:
    module.add_batch([])
    assert (module.hooks(), warned(log)) == ([], [])


FAILING = {
    "a device's point without a device": (replace(ANY, id=9, pf=Family.NETDEV, hook=0, unchecked=True), []),
    "a number that the family has not": (replace(ANY, id=9, hook=7, unchecked=True), [CORE]),
    "INET at a number that IPv4 has not": (replace(ANY, id=9, pf=Family.INET, hook=7, unchecked=True), [CORE]),
}


@pytest.mark.parametrize("failing", FAILING)
@pytest.mark.parametrize("at", range(4))
def test_a_batch_that_fails_at_any_element_registers_none(module: HookModule, log: KernelLog, failing: str, at: int) -> None:
    hook, splats = FAILING[failing]
    module.add_hook(replace(ANY, id=100))
    assert refused(module, [*THREE[:at], hook, *THREE[at:]]) == (errno.EINVAL, "nf_register_net_hooks refused the batch")
    assert (ours(module), ours(module, Family.IPV6), len(module.hooks())) == ([100], [], 1)
    assert warned(log) == splats


def test_a_full_point_takes_nothing_of_a_batch(module: HookModule, log: KernelLog) -> None:
    assert not any(module.add_hooks(replace(ANY, id=number) for number in range(100, 1123)))
    assert refused(module, [replace(ANY, id=1, hook=OUTPUT), replace(ANY, id=2), replace(ANY, id=3)])[0] == errno.E2BIG
    assert (len(ours(module)), ours(module, Family.IPV4, OUTPUT), warned(log)) == (1023, [], [])


def test_inet_takes_its_ipv4_half_back_when_ipv6_is_full(module: HookModule, log: KernelLog) -> None:
    assert not any(module.add_hooks(replace(ANY, id=number, pf=Family.IPV6) for number in range(100, 1124)))
    with pytest.raises(HookRefused) as refusal:
        module.add_hook(replace(ANY, pf=Family.INET))
    assert (refusal.value.errno, ours(module), len(ours(module, Family.IPV6)), warned(log)) == (errno.E2BIG, [], 1024, [])


def test_hooks_of_a_batch_leave_one_by_one_too(module: HookModule, log: KernelLog) -> None:
    module.add_batch(THREE)
    module.del_hook(1)
    with pytest.raises(HookRefused, match="came in no batch, or some of it is gone"):
        module.del_batch(2)
    module.del_hook(3)
    module.del_hook(2)
    assert (ours(module), module.hooks(), warned(log)) == ([], [], [])


@pytest.mark.parametrize(("hooks", "number", "reason"), [
    ([ANY, ANY], errno.EEXIST, "two hooks of the batch have this ID"),
    ([replace(ANY, hook=5)], errno.EINVAL, "no hook point of that number"),
    ([replace(ANY, pf=Family.NETDEV, hook=0, ifindex=4242)], errno.ENODEV, "no device of an IFINDEX"),
    ([replace(ANY, id=number) for number in range(1, 302)], errno.E2BIG, "more hooks than a batch may have"),
], ids=["twice", "point", "device", "many"])
def test_a_batch_that_makes_no_sense_is_refused(module: HookModule, hooks: list[Hook], number: int, reason: str) -> None:
    found, why = refused(module, hooks)
    assert (found, reason in why, module.hooks()) == (number, True, [])


# The same ops twice

def test_the_same_ops_twice_take_two_slots_and_leave_one_at_a_time(module: HookModule, log: KernelLog) -> None:
    module.add_hook(ANY)
    module.add_hook(replace(ANY, id=2))
    module.add_hook_again(1)
    assert ours(module) == [1, 2, 1]
    module.del_hook(1)
    assert ours(module) == [2, 1]
    module.del_hook(1)
    assert (ours(module), [state.hook.id for state in module.hooks()], warned(log)) == ([2], [2], [])


def test_a_flush_takes_every_registration(module: HookModule, log: KernelLog) -> None:
    module.add_hook(ANY)
    module.add_hook_again(1)
    module.flush()
    assert (ours(module), warned(log)) == ([], [])


# What is not there

def test_unregistering_what_is_not_at_a_populated_point_warns_and_changes_nothing(module: HookModule, log: KernelLog) -> None:
    module.add_hook(ANY)
    module.del_absent_hook(Family.IPV4, INPUT)
    assert (ours(module), warned(log)) == ([1], [f"hook not found, pf {Family.IPV4:d} num {INPUT}"])


def test_unregistering_at_an_empty_point_warns(module: HookModule, log: KernelLog) -> None:
    assert module.slots(Family.IPV4, FORWARD) == []
    module.del_absent_hook(Family.IPV4, FORWARD)
    assert (module.slots(Family.IPV4, FORWARD), warned(log)) == ([], [CORE])


@pytest.mark.parametrize(("pf", "hook"), [(Family.IPV4, 5), (Family.IPV6, 7), (Family.ARP, 3), (Family.BRIDGE, 5), (11, 0)])
def test_a_point_that_there_is_not_is_refused_with_a_warning(module: HookModule, log: KernelLog, pf: int, hook: int) -> None:
    with pytest.raises(HookRefused) as refusal:
        module.add_hook(replace(ANY, pf=pf, hook=hook, unchecked=True))  # type: ignore[arg-type]
    assert (refusal.value.errno, module.hooks(), warned(log)) == (errno.EINVAL, [], [CORE])
    warn_again()
    module.del_absent_hook(pf, hook, unchecked=True)
    assert warned(log) == [CORE]


def test_a_warning_comes_once_until_it_is_armed_again(module: HookModule, log: KernelLog) -> None:
    for _ in range(2):
        module.del_absent_hook(Family.IPV4, FORWARD)
    assert len(log.splats()) == 1
    warn_again()
    module.del_absent_hook(Family.IPV4, FORWARD)
    assert len(log.splats()) == 1


# Priorities that are changed without telling core

def test_what_is_altered_is_taken_away_without_a_warning(module: HookModule, log: KernelLog) -> None:
    module.add_batch([ANY, replace(ANY, id=2, priority=5)])
    module.add_hook(replace(ANY, id=3, priority=6))
    raw.alter(module, 1, 9)
    raw.alter(module, 3, -9)
    assert ours(module) == [1, 2, 3]
    module.flush()
    assert (ours(module), warned(log)) == ([], [])


def test_a_hook_that_is_not_there_is_not_altered(module: HookModule) -> None:
    with pytest.raises(HookRefused) as refusal:
        raw.alter(module, 1, 9)
    assert refusal.value.errno == errno.ENOENT
