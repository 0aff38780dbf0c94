"""Wrong loops over private arrays, and wrong arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.model import entries, slow
from harness.model.entries import Entries, HookOps
from harness.model.steps import private as steps
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.profile import KernelProfile
from harness.outcome.types import OUR_MODULE, OURS
from harness.scenario.steps import RawInsert
from tests.mutants.mutant import ACCEPT, Mutant, deletes_the_first, keep_dummies, named, oldest_first, without

__all__ = ("MUTANTS",)

right_grow, right_validate = entries.nf_hook_entries_grow, entries.hooks_validate


def ignores_the_start(context: slow.Context, e: Entries, _s: int = 0, *, profile: KernelProfile) -> int:
    return slow.nf_hook_slow(context, e, 0, profile=profile)


def skb_that_is(state: slow.SkbState, become: slow.SkbState) -> Callable[..., int]:
    """A loop that keeps what it should free, or frees what it should keep."""
    def mutant(context: slow.Context, e: Entries, s: int = 0, *, profile: KernelProfile) -> int:
        ret = slow.nf_hook_slow(context, e, s, profile=profile)
        context.skb.state = become if context.skb.state == state else context.skb.state
        return ret
    return mutant


def hook_of_the_whole_word(label: str, step: RawInsert) -> HookOps:
    """ACCEPT must be ACCEPT and nothing else."""
    verdict = ACCEPT if step.verdict == VerdictKind.ACCEPT else Verdict(VerdictKind.STOP)
    return HookOps(lambda _ops, _context: verdict, OURS, OUR_MODULE, Family.IPV4, 1, step.priority, label=label)


def in_order_again(old: Entries | None, reg: HookOps, alloc: entries.Allocator = entries.plenty) -> Entries | int:
    new = right_grow(old, reg, alloc)
    return new if isinstance(new, int) else sorted(new, key=lambda ops: ops.priority)


def warns_once(hooks: Entries, warnings: entries.Warnings) -> None:
    said: entries.Warnings = []
    right_validate(hooks, said)
    warnings += said[:1]


def private(name: str, replacement: Any, *rules: str) -> tuple[str, Mutant]:
    return named(name, steps, "nf_hook_slow", replacement, *rules)


MUTANTS = dict([
    ("private arrays have the oldest first", Mutant(("raw.insert",), ((entries, "nf_hook_entries_grow", oldest_first),))),
    ("private arrays are put in order again", Mutant(("validate.altered",), ((entries, "nf_hook_entries_grow", in_order_again),))),
    ("disorder does not warn", Mutant(("validate.altered",), ((entries, "hooks_validate", lambda _hooks, _warnings: None),))),
    ("disorder warns once", Mutant(("validate.altered",), ((entries, "hooks_validate", warns_once),))),
    ("private arrays keep dummies", Mutant(("raw.delete",), ((entries, "nf_hook_entries_try_shrink", keep_dummies),))),
    ("delete takes the first", Mutant(("raw.missing",), ((entries, "nf_remove_net_hook", deletes_the_first),))),
    ("the whole word decides", Mutant(("accept.high-bits",), ((steps, "_hook_ops", hook_of_the_whole_word),))),
    ("an errno is never positive", Mutant(("drop.positive",), ((slow, "nf_drop_geterr", lambda verdict: -verdict.errno),))),
    private("the start is ignored", ignores_the_start, "start-index"),
    private("DROP keeps the skb", skb_that_is("freed", "leaked"), "drop.frees", "drop.positive", "queue.frees"),
    private("STOLEN frees the skb", skb_that_is("stolen", "freed"), "stolen.keeps"),
    private("the default case frees the skb", skb_that_is("leaked", "freed"), "unknown", "repeat", "stop", "default.silent"),
    private("REPEAT accepts", without(VerdictKind.REPEAT, lambda _verdict: ACCEPT), "repeat"),
    private("STOP accepts", without(VerdictKind.STOP, lambda _verdict: ACCEPT), "stop"),
    private("QUEUE goes on", without(VerdictKind.QUEUE, lambda _verdict: ACCEPT), "queue.frees"),
])
