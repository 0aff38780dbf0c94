"""A hook point's array and the operations on it: lines 50 to 264 and 368 to 384 of ``net/netfilter/core.c``.

The functions have the names of the C ones. As there, an array is NULL (``None``) or a blob of at least one entry; two hooks are the
same if they are the same object; a negative number is an errno. What C allocates is copied here, what C writes in place is written
in place: readers hold on to an old array exactly as they would under RCU.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from harness.model.structures import Context, Entries, Head, HookOps, Warnings
from harness.netfilter import PRIORITY_MIN, Family, Verdict, VerdictKind

__all__ = (
    "DUMMY_OPS",
    "MAX_HOOK_COUNT",
    "Allocator",
    "Books",
    "hooks_validate",
    "nf_hook_entries_delete_raw",
    "nf_hook_entries_free",
    "nf_hook_entries_grow",
    "nf_hook_entries_insert_raw",
    "nf_hook_entries_try_shrink",
    "nf_remove_net_hook",
    "plenty",
)

MAX_HOOK_COUNT = 1024
"""``MAX_HOOK_COUNT``, line 45."""

Allocator = Callable[[int], bool]
"""Whether ``kvzalloc`` finds memory for an array of so many entries."""


def accept_all(_ops: HookOps, _context: Context) -> Verdict:
    """``accept_all``, l.91: ACCEPT makes nf_hook_slow call the next hook."""
    return Verdict(VerdictKind.ACCEPT)


DUMMY_OPS = HookOps(accept_all, "accept_all", None, Family.INET, 0, PRIORITY_MIN)
"""``dummy_ops``, l.98: what an unregistration leaves when it finds no memory for a smaller array."""

@dataclass(slots=True)
class Books:
    """What became of arrays.

    :param early: those that were freed with no time for their readers to leave
    :param overwritten: those into whose ops ``call_rcu`` wrote, where readers may look
    """

    allocated: int = 0
    replaced: int = 0
    freed: int = 0
    early: int = 0
    overwritten: int = 0

    def took_place(self, old: Entries | None, new: Entries | None) -> None:
        """A head has *new* now, where it had *old*."""
        self.allocated += new is not None
        self.replaced += old is not None
        nf_hook_entries_free(old, self)


def nf_hook_entries_free(old: Entries | None, books: Books) -> None:
    """``nf_hook_entries_free``, l.75-89: ``call_rcu`` of the head behind the ops. What readers have still is freed when they
    have left it."""
    books.freed += old is not None


def plenty(_num: int) -> bool:
    """An allocator that never fails."""
    return True


def nf_hook_entries_grow(old: Entries | None, reg: HookOps, alloc: Allocator = plenty) -> Entries | int:
    """``nf_hook_entries_grow``, l.103-162: a new array with *reg* before the first entry of no smaller priority.

    Dummies are left behind. Since 6.4 a BPF program shares no priority.

    :returns: the array, -EBUSY for a BPF program at a priority that is taken, -E2BIG over 1024 live hooks, -ENOMEM
    """
    if reg.bpf and any(ops.priority == reg.priority for ops in old or ()):
        return -errno.EBUSY
    alloc_entries = 1 + sum(ops is not DUMMY_OPS for ops in old or ())
    if alloc_entries > MAX_HOOK_COUNT:
        return -errno.E2BIG
    if not alloc(alloc_entries):
        return -errno.ENOMEM
    new: Entries = []
    inserted = False
    for ops in old or ():
        if ops is DUMMY_OPS:
            continue
        if not inserted and reg.priority <= ops.priority:
            new.append(reg)
            inserted = True
        new.append(ops)
    if not inserted:
        new.append(reg)
    return new


def hooks_validate(hooks: Entries, warnings: Warnings) -> None:
    """``hooks_validate``, l.164-183: ascending priorities, dummies aside; their owner may have changed them."""
    prio = PRIORITY_MIN
    for ops in hooks:
        if ops is DUMMY_OPS:
            continue
        if ops.priority < prio:
            warnings.append("hooks_validate")
        prio = max(prio, ops.priority)


def nf_hook_entries_insert_raw(pp: Head, reg: HookOps, alloc: Allocator = plenty, warnings: Warnings | None = None) -> int:
    """``nf_hook_entries_insert_raw``, l.185-203: grow a private array.

    :returns: 0, -E2BIG, -ENOMEM
    """
    new_hooks = nf_hook_entries_grow(pp.entries, reg, alloc)
    if isinstance(new_hooks, int):
        return new_hooks
    hooks_validate(new_hooks, warnings if warnings is not None else [])
    pp.entries = new_hooks
    return 0


def nf_hook_entries_try_shrink(old: Entries | None, pp: Head, alloc: Allocator, warnings: Warnings) -> Entries | None:
    """``__nf_hook_entries_try_shrink``, l.222-264: an array without the dummies.

    :returns: the array to free; ``None`` if it stays, for want of memory or of dummies
    """
    if old is None:
        warnings.append("__nf_hook_entries_try_shrink")
        return None
    skip = sum(ops is DUMMY_OPS for ops in old)
    if skip == len(old):
        pp.entries = None
        return old
    if skip == 0:
        return None
    if not alloc(len(old) - skip):
        return None
    new = [ops for ops in old if ops is not DUMMY_OPS]
    hooks_validate(new, warnings)
    pp.entries = new
    return old


def nf_remove_net_hook(old: Entries, unreg: HookOps) -> bool:
    """``nf_remove_net_hook``, l.368-384: the first slot that holds *unreg* becomes a dummy, in place; cannot fail."""
    for i, ops in enumerate(old):
        if ops is unreg:
            old[i] = DUMMY_OPS
            return True
    return False


def nf_hook_entries_delete_raw(pp: Head, reg: HookOps, alloc: Allocator = plenty, warnings: Warnings | None = None) -> None:
    """``nf_hook_entries_delete_raw``, l.436-446: shrink a private array; what is not there is not missed, and no warning."""
    if pp.entries is not None and nf_remove_net_hook(pp.entries, reg):
        nf_hook_entries_try_shrink(pp.entries, pp, alloc, warnings if warnings is not None else [])


@dataclass(slots=True)
class FailingAllocator:
    """An allocator whose next allocations fail at will.

    :param failing: one answer for each allocation to come, ``True`` to fail; when they are used up, none fails
    """

    failing: list[bool] = field(default_factory=list)

    @classmethod
    def without(cls, numbers: Collection[int]) -> FailingAllocator:
        """A memory in which the allocations of these numbers, counted from 0, fail."""
        return cls([number in numbers for number in range(max(numbers, default=-1) + 1)])

    def __call__(self, _num: int) -> bool:
        return not (self.failing and self.failing.pop(0))
