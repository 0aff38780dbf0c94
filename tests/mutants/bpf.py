"""Wrong ways of giving priorities to BPF programs."""

from __future__ import annotations

from functools import partial
from typing import Any

from harness.model.entries import HookFunction, HookOps
from harness.model.steps import bpf, hooks
from harness.netfilter import Family
from tests.mutants.mutant import ACCEPT, named

__all__ = ("MUTANTS",)


def an_ordinary_hook(*arguments: Any, bpf: bool) -> HookOps:
    return HookOps(*arguments)


def accepts(_hook: HookFunction, function: str, module: str | None, pf: Family, hooknum: int, priority: int, *, bpf: bool) -> HookOps:
    return HookOps(lambda _ops, _context: ACCEPT, function, module, pf, hooknum, priority, bpf=bpf)


MUTANTS = dict([
    named("a BPF program drops nothing", bpf, "HookOps", accepts, "bpf.shared-priority"),
    named("a BPF link shares priorities", bpf, "HookOps", an_ordinary_hook, "bpf.taken-priority"),
    named("no hook shares a priority", hooks, "HookOps", partial(HookOps, bpf=True), "bpf.shared-priority", "order.equal-newest-first"),
])
