"""Wrong ways of giving priorities to BPF programs."""

from __future__ import annotations

from functools import partial
from typing import Any

from harness.model.entries import DUMMY_OPS
from harness.model.steps import bpf, hooks
from harness.model.structures import HookFunction, HookOps
from harness.netfilter import Family
from tests.mutants.mutant import ACCEPT, collected, named, rules_only

__all__ = ("MUTANTS",)


def an_ordinary_hook(*arguments: Any, bpf: bool) -> HookOps:
    return HookOps(*arguments)


def accepts(_hook: HookFunction, function: str, module: str | None, pf: Family, hooknum: int, priority: int, *, bpf: bool) -> HookOps:
    return HookOps(lambda _ops, _context: ACCEPT, function, module, pf, hooknum, priority, bpf=bpf)


MUTANTS = collected([
    rules_only(named("a BPF program drops nothing", bpf, "HookOps", accepts, "bpf.shared-priority")),
    rules_only(named("a BPF link shares priorities", bpf, "HookOps", an_ordinary_hook, "bpf.taken-priority", "bpf.full",
                     "bpf.taken-by-a-chain")),
    named("a dummy takes a priority", DUMMY_OPS, "priority", 0, "bpf.dummies"),
    named("no hook shares a priority", hooks, "HookOps", partial(HookOps, bpf=True), "bpf.shared-priority", "order.equal-newest-first"),
])
