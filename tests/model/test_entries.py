"""The array of a hook point against a naive second formulation: a stable sort, newest first among equals, and list removal."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.entries import (
    DUMMY_OPS,
    MAX_HOOK_COUNT,
    FailingAllocator,
    accept_all,
    hooks_validate,
    nf_hook_entries_delete_raw,
    nf_hook_entries_grow,
    nf_hook_entries_insert_raw,
    nf_hook_entries_try_shrink,
    nf_remove_net_hook,
    plenty,
)
from harness.model.structures import Entries, Head, HookOps
from harness.netfilter import PRIORITY_MAX, PRIORITY_MIN, Family
from tests.strategies import priorities


def ops(priority: int) -> HookOps:
    return HookOps(accept_all, "hook", "module", Family.IPV4, 0, priority)


def naive(registered: list[HookOps]) -> list[HookOps]:
    """Registered, oldest first, as they run."""
    newest_first = registered[::-1]
    return sorted(newest_first, key=lambda hook: hook.priority)


def live(head: Head) -> list[HookOps]:
    return [hook for hook in head.entries or () if hook is not DUMMY_OPS]


def test_order_ascending_by_priority_whatever_the_order_of_registration() -> None:
    head, hooks = Head(), {priority: ops(priority) for priority in (0, PRIORITY_MAX, -5, PRIORITY_MIN, 7)}
    for hook in hooks.values():
        assert nf_hook_entries_insert_raw(head, hook) == 0
    assert head.entries == [hooks[priority] for priority in (PRIORITY_MIN, -5, 0, 7, PRIORITY_MAX)]


def test_order_among_equals_newest_first() -> None:
    head, (oldest, middle, newest) = Head(), (ops(0), ops(0), ops(0))
    for hook in (oldest, middle, newest):
        nf_hook_entries_insert_raw(head, hook)
    assert head.entries == [newest, middle, oldest]


@given(st.lists(priorities, max_size=30))
def test_grow_is_a_stable_sort_with_the_newest_first(given_priorities: list[int]) -> None:
    head, registered = Head(), [ops(priority) for priority in given_priorities]
    for count, hook in enumerate(registered):
        nf_hook_entries_insert_raw(head, hook)
        assert head.entries == naive(registered[:count + 1])


actions_on_an_array = st.one_of(st.tuples(st.just("insert"), priorities), st.tuples(st.just("delete"), st.integers(0, 9)))


@given(st.lists(actions_on_an_array, max_size=40), st.lists(st.booleans(), max_size=40))
def test_insertions_and_deletions_keep_the_order_of_the_others_even_without_memory(
    actions: list[tuple[str, int]], failing: list[bool]
) -> None:
    head, registered, memory = Head(), list[HookOps](), FailingAllocator(failing)
    warnings: list[str] = []
    for action, number in actions:
        before = list(head.entries or ())
        if action == "insert":
            hook = ops(number)
            err = nf_hook_entries_insert_raw(head, hook, memory, warnings)
            if err == 0:
                registered.append(hook)
                assert DUMMY_OPS not in (head.entries or ())
            else:
                assert (err, head.entries or []) == (-errno.ENOMEM, before)
        elif number < len(registered):
            nf_hook_entries_delete_raw(head, registered.pop(number), memory, warnings)
        assert live(head) == naive(registered)
        assert (head.entries is None) == (not head.entries) == (not registered)
    assert warnings == []


def test_the_1025th_hook_is_refused_and_changes_nothing() -> None:
    full: Entries = [ops(0) for _ in range(MAX_HOOK_COUNT)]
    head = Head(full)
    assert nf_hook_entries_insert_raw(head, ops(-1)) == -errno.E2BIG
    assert head.entries is full
    assert len(full) == 1024
    nf_hook_entries_delete_raw(head, full[500])
    assert nf_hook_entries_insert_raw(head, ops(-1)) == 0
    assert nf_hook_entries_insert_raw(head, ops(-1)) == -errno.E2BIG


def test_dummies_do_not_count_towards_the_limit_and_vanish_when_the_array_grows() -> None:
    head = Head([ops(0) for _ in range(MAX_HOOK_COUNT - 1)] + [DUMMY_OPS])
    assert nf_hook_entries_insert_raw(head, ops(0)) == 0
    assert len(head.entries or ()) == MAX_HOOK_COUNT
    assert DUMMY_OPS not in (head.entries or ())


def test_without_memory_for_a_larger_array_nothing_changes() -> None:
    old = [ops(0)]
    assert nf_hook_entries_grow(old, ops(1), FailingAllocator([True])) == -errno.ENOMEM
    assert len(old) == 1


def test_without_memory_for_a_smaller_array_a_dummy_stays_in_the_middle_and_goes_with_the_next_removal() -> None:
    head, (first, second, third) = Head(), (ops(1), ops(2), ops(3))
    for hook in (first, second, third):
        nf_hook_entries_insert_raw(head, hook)
    nf_hook_entries_delete_raw(head, second, FailingAllocator([True]))
    assert head.entries == [first, DUMMY_OPS, third]
    nf_hook_entries_delete_raw(head, first)
    assert head.entries == [third]


def test_the_last_removal_empties_the_head_and_needs_no_memory() -> None:
    hook = ops(0)
    head = Head([hook])
    nf_hook_entries_delete_raw(head, hook, FailingAllocator([True]))
    assert head.entries is None


def test_the_same_ops_twice_take_two_slots_and_one_removal_frees_the_first() -> None:
    hook, other = ops(0), ops(0)
    array = [hook, other, hook]
    assert nf_remove_net_hook(array, hook)
    assert array == [DUMMY_OPS, other, hook]


def test_removal_goes_by_identity_not_by_equal_fields() -> None:
    array = [ops(0)]
    assert not nf_remove_net_hook(array, ops(0))
    assert DUMMY_OPS not in array


def test_shrink_without_a_dummy_frees_nothing_and_of_no_array_warns() -> None:
    warnings: list[str] = []
    array = [ops(0)]
    head = Head(array)
    assert nf_hook_entries_try_shrink(array, head, plenty, warnings) is None
    assert head.entries is array
    assert not warnings
    assert nf_hook_entries_try_shrink(None, Head(), plenty, warnings) is None
    assert warnings == ["__nf_hook_entries_try_shrink"]


@pytest.mark.parametrize(("array", "splats"), [
    ([0, 0, 1], 0), ([1, 0], 1), ([1, None, 2], 0), ([PRIORITY_MAX, None, PRIORITY_MIN], 1),
])
def test_validation_wants_ascending_priorities_dummies_aside(array: list[int | None], splats: int) -> None:
    warnings: list[str] = []
    hooks_validate([DUMMY_OPS if priority is None else ops(priority) for priority in array], warnings)
    assert len(warnings) == splats
