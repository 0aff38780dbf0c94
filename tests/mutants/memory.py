"""Wrong ways of having no memory, and wrong dummies."""

from __future__ import annotations

import errno
from typing import Any

from harness.model import entries, register, slow, structures
from harness.model.entries import DUMMY_OPS
from harness.model.path import stack
from harness.model.steps import raw
from harness.model.structures import Entries, Head, HookOps
from harness.netfilter import Family, Verdict, VerdictKind
from tests.mutants.hooks import core
from tests.mutants.mutant import Mutant, collected, rules_only

__all__ = ("MUTANTS",)


def grows_without_memory(old: Entries | None, reg: HookOps, _alloc: object = None) -> Entries | int:
    return entries_grow(old, reg, entries.plenty)


def copies_dummies(old: Entries | None, reg: HookOps, alloc: entries.Allocator = entries.plenty) -> Entries | int:
    new = entries_grow(old, reg, alloc)
    return new if isinstance(new, int) else new + [DUMMY_OPS for ops in old or () if ops is DUMMY_OPS]


def counts_dummies(old: Entries | None, reg: HookOps, alloc: entries.Allocator = entries.plenty) -> Entries | int:
    return -errno.E2BIG if len(old or ()) >= entries.MAX_HOOK_COUNT else entries_grow(old, reg, alloc)


def counts_what_is_behind_one_dummy(old: Entries | None, reg: HookOps, alloc: entries.Allocator = entries.plenty) -> Entries | int:
    """A point is full if it has 1024 slots, but for one dummy."""
    dummies = (old or []).count(DUMMY_OPS)
    return -errno.E2BIG if dummies > 1 and len(old or ()) >= entries.MAX_HOOK_COUNT else entries_grow(old, reg, alloc)


def shrinks_without_memory(old: Entries | None, pp: Head, _alloc: object, warnings: structures.Warnings) -> Entries | None:
    return entries_shrink(old, pp, entries.plenty, warnings)


def drops_one_dummy(old: Entries | None, pp: Head, alloc: entries.Allocator, warnings: structures.Warnings) -> Entries | None:
    if old is None or old.count(DUMMY_OPS) < 2 or not alloc(len(old) - 1):
        return entries_shrink(old, pp, alloc, warnings)
    at = old.index(DUMMY_OPS)
    pp.entries = old[:at] + old[at + 1:]
    return old


def dummies_that_drop(context: structures.Context, e: Entries, s: int = 0, **keywords: Any) -> int:
    wrong = HookOps(lambda _ops, _context: Verdict(VerdictKind.DROP), "accept_all", None, Family.INET, 0, DUMMY_OPS.priority)
    return slow.nf_hook_slow(context, [wrong if ops is DUMMY_OPS else ops for ops in e], s, **keywords)


def shrinks_only_for_a_hook(self: register.Core, net: structures.Net, pf: Family, reg: HookOps) -> None:
    head = self.nf_hook_entry_head(net, pf, reg.hooknum, reg.device)
    if head is not None and head.entries and reg not in head.entries:
        self.warnings.append(f"hook not found, pf {pf:d} num {reg.hooknum}")
    else:
        unregister(self, net, pf, reg)


def needs_no_device(_self: register.Core, _net: structures.Net, _pf: Family, _reg: HookOps) -> int:
    return 0


entries_grow, entries_shrink, unregister = entries.nf_hook_entries_grow, entries.nf_hook_entries_try_shrink, register.Core._unregister


def everywhere(name: str, attribute: str, replacement: Any, *rules: str) -> tuple[str, Mutant]:
    """Of hook points and of private arrays."""
    return name, Mutant(rules, ((entries, attribute, replacement), (register, attribute, replacement)))


MUTANTS = collected([
    everywhere("an array grows without memory", "nf_hook_entries_grow", grows_without_memory,
               "grow.enomem", "inet.enomem", "inet.ingress-enomem", "batch.enomem", "raw.enomem"),
    everywhere("an array grows with its dummies", "nf_hook_entries_grow", copies_dummies, "grow.drops-dummies", "batch.enomem"),
    rules_only(core("dummies count", "nf_hook_entries_grow", counts_dummies, "limit.dummies")),
    rules_only(core("all dummies count but one", "nf_hook_entries_grow", counts_what_is_behind_one_dummy, "limit.dummies")),
    everywhere("an array shrinks without memory", "nf_hook_entries_try_shrink", shrinks_without_memory,
               "unregister.failed-shrink", "inet.failed-shrinks", "grow.drops-dummies", "raw.enomem", "dummy.accepts"),
    core("an array drops one dummy at a time", "nf_hook_entries_try_shrink", drops_one_dummy, "unregister.drops-dummies"),
    core("dummies stay when a hook is not found", "_unregister", shrinks_only_for_a_hook, "unregister.missing-shrinks"),
    ("dummies drop", Mutant(("dummy.accepts", "unregister.failed-shrink"), (
        (stack, "nf_hook_slow", dummies_that_drop), (raw, "nf_hook_slow", dummies_that_drop)))),
    core("core asks for no device", "_refused", needs_no_device, "netdev.no-device", "netdev.no-device-egress", "netdev.foreign-device",
         "netdev.bad-hook", "netdev.egress-absent"),
])
