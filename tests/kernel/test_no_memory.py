"""Allocations that fail in the hook core: -ENOMEM and nothing changed, or a dummy slot, which the next grow leaves behind."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from harness.guest import raw
from harness.guest.module import Hook, HookModule, HookRefused
from harness.guest.raw import RawHook
from harness.netfilter import PRIORITY_MIN, Family, Verdict, VerdictKind

pytestmark = pytest.mark.usefixtures("nfharness_ko")

INPUT = 1
ANY = Hook(1, Family.IPV4, INPUT, 0, Verdict(VerdictKind.ACCEPT))


def slots(module: HookModule, pf: Family = Family.IPV4) -> list[int | str | None]:
    """Ids of our hooks, ``dummy`` for a dummy slot."""
    return ["dummy" if slot.dummy else slot.hook_id for slot in module.slots(pf, INPUT) if slot.dummy or slot.hook_id is not None]


def refused(module: HookModule, hook: Hook) -> int | None:
    with pytest.raises(HookRefused) as refusal:
        module.add_hook(hook)
    return refusal.value.errno


@pytest.fixture
def three(module: HookModule) -> HookModule:
    assert module.add_hooks(replace(ANY, id=number, priority=number) for number in (1, 2, 3)) == [None] * 3
    return module


def test_a_registration_without_memory_changes_nothing_and_the_next_one_succeeds(three: HookModule) -> None:
    three.fail_next(0)
    assert (refused(three, replace(ANY, id=4)), slots(three)) == (errno.ENOMEM, [1, 2, 3])
    three.add_hook(replace(ANY, id=4))
    assert slots(three) == [4, 1, 2, 3]


def test_inet_takes_its_ipv4_half_back_when_there_is_no_memory_for_ipv6(module: HookModule) -> None:
    module.fail_next(1)
    assert (refused(module, replace(ANY, pf=Family.INET)), slots(module), slots(module, Family.IPV6)) == (errno.ENOMEM, [], [])


def test_an_unregistration_without_memory_leaves_a_dummy_that_the_next_grow_drops(three: HookModule) -> None:
    three.fail_next(0)
    three.del_hook(2)
    assert slots(three) == [1, "dummy", 3]
    (dummy,) = [slot for slot in three.slots(Family.IPV4, INPUT) if slot.dummy]
    assert (dummy.function, dummy.module, dummy.priority) == ("accept_all", None, PRIORITY_MIN)
    three.add_hook(replace(ANY, id=4, priority=9))
    assert slots(three) == [1, 3, 4]


def test_a_later_unregistration_drops_the_dummy_too(three: HookModule) -> None:
    three.fail_next(0)
    three.del_hook(2)
    three.del_hook(1)
    assert slots(three) == [3]


def test_a_dummy_in_a_private_array_lets_the_loop_go_on(module: HookModule) -> None:
    for number in (1, 2, 3):
        raw.insert(module, RawHook(number, 0, number, VerdictKind.ACCEPT))
    module.fail_next(0)
    raw.delete(module, 2)
    assert [(slot.dummy, slot.hook_id) for slot in raw.slots(module, 0)] == [(False, 1), (True, None), (False, 3)]
    assert (raw.run(module, 0).returned, raw.run(module, 0).called, raw.run(module, 0, 1).called) == (1, (1, 3), (3,))
    module.fail_next(0)
    with pytest.raises(HookRefused) as refusal:
        raw.insert(module, RawHook(4, 0, 4, VerdictKind.ACCEPT))
    assert (refusal.value.errno, len(raw.slots(module, 0))) == (errno.ENOMEM, 3)
    for number in (1, 3):
        raw.delete(module, number)
    assert raw.slots(module, 0) == []
