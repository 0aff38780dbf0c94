"""What nfharness.ko says of core's arrays, of packets in a list, and of two tasks that work on one point at once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from harness.guest import netns, raw
from harness.guest.module import Hook, HookModule, HookRefused
from harness.netfilter import Family, Verdict, VerdictKind

ACCEPT = Verdict(VerdictKind.ACCEPT)
INPUT, ARRAY = 1, 7


@pytest.fixture
def module(nfharness_ko: None) -> Iterator[HookModule]:
    namespace = netns.create(f"nfh{os.getpid()}-memory")
    with HookModule(namespace) as opened:
        yield opened
        opened.flush()
    namespace.delete()


@pytest.fixture
def one_processor() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def hook(number: int, priority: int = 0) -> Hook:
    return Hook(number, Family.IPV4, INPUT, priority, ACCEPT)


def test_what_takes_the_place_of_an_array_is_counted_and_none_is_left(module: HookModule) -> None:
    before = module.memory()
    for number in (1, 2, 3):
        module.add_hook(hook(number))
    module.del_hook(2)
    after = module.memory(settle=True)
    assert after.allocated - before.allocated == 4
    assert after.freed - before.freed == 3, "the fourth one is in use"
    assert (after.early, after.untold, after.leaked) == (before.early, before.untold, before.leaked)
    assert after.overwritten == before.overwritten


def test_packets_of_a_list_come_out_as_they_went_in(module: HookModule) -> None:
    raw.insert(module, raw.RawHook(1, ARRAY, 0, VerdictKind.ACCEPT))
    raw.insert(module, raw.RawHook(2, ARRAY, 1, VerdictKind.DROP, cookie=12))
    raw.insert(module, raw.RawHook(3, ARRAY, 2, VerdictKind.STOLEN, cookie=13))
    assert raw.run_list(module, ARRAY, (11, 12, 13, 14)) == raw.ListResult(
        ((11, 1), (11, 2), (11, 3), (12, 1), (12, 2), (13, 1), (13, 2), (13, 3), (14, 1), (14, 2), (14, 3)), (11, 14),
        (2, 1, 2, 2), (0, 0, 0, 0))


@pytest.mark.parametrize("cookies", [(), tuple(range(1, 18))])
def test_a_list_has_one_packet_at_least_and_16_at_most(module: HookModule, cookies: tuple[int, ...]) -> None:
    raw.insert(module, raw.RawHook(1, ARRAY, 0, VerdictKind.ACCEPT))
    with pytest.raises(HookRefused):
        raw.run_list(module, ARRAY, cookies)


def test_two_hooks_are_registered_and_unregistered_by_two_tasks(module: HookModule, one_processor: None) -> None:
    module.add_together(hook(1), hook(2))
    assert [slot.hook_id for slot in module.slots(Family.IPV4, INPUT) if slot.hook_id] == [2, 1]
    module.add_hook(hook(3, 5))
    module.del_together(1, 3)
    assert [slot.hook_id for slot in module.slots(Family.IPV4, INPUT) if slot.hook_id] == [2]
    with pytest.raises(HookRefused):
        module.del_together(2, 2)
    with pytest.raises(HookRefused):
        module.add_together(hook(4), hook(4))
