"""Wrong ways of giving priorities to BPF programs."""

from __future__ import annotations

from functools import partial
from typing import Any

from harness.model.entries import HookOps
from harness.model.steps import bpf, hooks
from tests.mutants.mutant import named

__all__ = ("MUTANTS",)


def an_ordinary_hook(*arguments: Any, bpf: bool) -> HookOps:
    return HookOps(*arguments)


MUTANTS = dict([
    named("a BPF link shares priorities", bpf, "HookOps", an_ordinary_hook, "bpf.taken-priority"),
    named("no hook shares a priority", hooks, "HookOps", partial(HookOps, bpf=True), "bpf.shared-priority", "order.equal-newest-first"),
])
