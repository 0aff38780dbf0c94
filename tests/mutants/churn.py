"""Arrays that change under the eyes of their readers."""

from __future__ import annotations

from harness.model import entries
from harness.model.structures import Entries, HookOps
from harness.netfilter import Verdict, VerdictKind
from tests.mutants.hooks import core
from tests.mutants.mutant import Mutant, collected

__all__ = ("MUTANTS",)

right_grow = entries.nf_hook_entries_grow


def grows_in_place(old: Entries | None, reg: HookOps, alloc: entries.Allocator = entries.plenty) -> Entries | int:
    """A reader meets the array while its last slot has been moved and not been filled."""
    new = right_grow(old, reg, alloc)
    return new if isinstance(new, int) or len(new) < 2 else new[:-1]


def drops_while_it_is_new(old: Entries | None, reg: HookOps, alloc: entries.Allocator = entries.plenty) -> Entries | int:
    """The point is there, its hook not yet: a packet that comes is lost."""
    nobody = HookOps(lambda _ops, _context: Verdict(VerdictKind.DROP), "nobody", None, reg.pf, reg.hooknum, reg.priority)
    return right_grow(old, reg, alloc) if old else right_grow([reg], nobody, alloc)


MUTANTS: dict[str, Mutant] = collected([
    core("arrays grow in place", "nf_hook_entries_grow", grows_in_place, "unregister.in-flight",
         "unregister.in-flight-devices", "unregister.in-flight-egress"),
    core("a new point loses what comes", "nf_hook_entries_grow", drops_while_it_is_new, "key.in-flight"),
])
