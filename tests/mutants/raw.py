"""Wrong loops over private arrays, and wrong arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from harness.model import entries, register, slow, structures
from harness.model.steps import raw as steps
from harness.model.structures import Entries, HookOps
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.profile import KernelProfile
from harness.outcome.types import OUR_MODULE, OURS
from harness.scenario.steps.raw import RawInsert
from tests.mutants.mutant import ACCEPT, Mutant, collected, deletes_the_first, keep_dummies, named, oldest_first, rules_only, without
from tests.mutants.verdicts import forgets_the_errno_of_stolen

__all__ = ("MUTANTS",)

right_grow, right_validate = entries.nf_hook_entries_grow, entries.hooks_validate


def ignores_the_start(context: structures.Context, e: Entries, _s: int = 0, *, profile: KernelProfile) -> int:
    return slow.nf_hook_slow(context, e, 0, profile=profile)


def skb_that_is(state: structures.SkbState, become: structures.SkbState) -> Callable[..., int]:
    """A loop that keeps what it should free, or frees what it should keep."""
    def mutant(context: structures.Context, e: Entries, s: int = 0, *, profile: KernelProfile) -> int:
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


def warns_once(hooks: Entries, warnings: structures.Warnings) -> None:
    said: structures.Warnings = []
    right_validate(hooks, said)
    warnings += said[:1]


def turned_round(contexts: Sequence[structures.Context], e: Entries, *, profile: KernelProfile) -> list[structures.Context]:
    return right_list(contexts, e, profile=profile)[::-1]


def until_one_is_dropped(contexts: Sequence[structures.Context], e: Entries, *, profile: KernelProfile) -> list[structures.Context]:
    passed = []
    for context in contexts:
        passed += right_list([context], e, profile=profile)
        if context.skb.state == "freed":
            break
    return passed


def stolen_ones_too(contexts: Sequence[structures.Context], e: Entries, *, profile: KernelProfile) -> list[structures.Context]:
    passed = right_list(contexts, e, profile=profile)
    return [context for context in contexts if context in passed or context.skb.state == "stolen"]


def still_linked(contexts: Sequence[structures.Context], e: Entries, *, profile: KernelProfile) -> list[structures.Context]:
    return [context for context in contexts if slow.nf_hook_slow(context, e, profile=profile) == 1]


def forgets_out_behind_the_first(context: structures.Context, e: Entries, s: int = 0, *, profile: KernelProfile) -> int:
    """What the loop was given is the loop's own to change."""
    def called(ops: HookOps, other: structures.Context) -> Verdict:
        verdict = ops.hook(ops, other)
        other.state = replace(other.state, outdev="")
        return verdict

    return slow.nf_hook_slow(context, [replace(ops, hook=lambda _ops, other, ops=ops: called(ops, other)) for ops in e], s,  # type: ignore[misc]
                             profile=profile)


def dummies_forget_out(context: structures.Context, e: Entries, s: int = 0, *, profile: KernelProfile) -> int:
    def forgets(_ops: HookOps, other: structures.Context) -> Verdict:
        other.state = replace(other.state, outdev="")
        return ACCEPT

    return slow.nf_hook_slow(context, [replace(ops, hook=forgets) if ops is entries.DUMMY_OPS else ops for ops in e], s, profile=profile)


def second_of_a_list_without_in(contexts: Sequence[structures.Context], e: Entries, *, profile: KernelProfile) -> list[structures.Context]:
    for context in contexts[1:]:
        context.state = replace(context.state, indev="")
    return right_list(contexts, e, profile=profile)


def seventeen_without_the_last(context: structures.Context, e: Entries, s: int = 0, *, profile: KernelProfile) -> int:
    return slow.nf_hook_slow(context, e[:-1] if len(e) == _SEVENTEEN else e, s, profile=profile)


def the_last_of_several(become: Verdict) -> Callable[..., int]:
    """A loop that takes the whole word of the last one's verdict."""
    def mutant(context: structures.Context, e: Entries, s: int = 0, *, profile: KernelProfile) -> int:
        def whole(ops: HookOps, other: structures.Context) -> Verdict:
            found = ops.hook(ops, other)
            return become if found.kind is VerdictKind.ACCEPT and found.encode() != VerdictKind.ACCEPT else found

        last = [replace(e[-1], hook=lambda _ops, other: whole(e[-1], other))] if len(e) > 1 else e[-1:]
        return slow.nf_hook_slow(context, [*e[:-1], *last], s, profile=profile)
    return mutant


_SEVENTEEN = 17
right_list = slow.nf_hook_slow_list


def private(name: str, replacement: Any, *rules: str) -> tuple[str, Mutant]:
    return named(name, steps, "nf_hook_slow", replacement, *rules)


MUTANTS = collected([
    named("a private array's STOLEN forgets its errno", steps, "nf_hook_slow", forgets_the_errno_of_stolen, "stolen.errno-range"),
    ("private arrays have the oldest first", Mutant(("raw.insert",), ((entries, "nf_hook_entries_grow", oldest_first),))),
    rules_only(
        ("private arrays are put in order again", Mutant(("validate.altered",), ((entries, "nf_hook_entries_grow", in_order_again),)))),
    rules_only(("disorder does not warn", Mutant(("validate.altered",), ((entries, "hooks_validate", lambda _hooks, _warnings: None),)))),
    rules_only(("a hook that comes is not looked at", Mutant(("validate.altered-live",), (
        (register, "hooks_validate", lambda _hooks, _warnings: None),)))),
    rules_only(("disorder warns once", Mutant(("validate.altered",), ((entries, "hooks_validate", warns_once),)))),
    ("private arrays keep dummies", Mutant(("raw.delete",), ((entries, "nf_hook_entries_try_shrink", keep_dummies),))),
    ("delete takes the first", Mutant(("raw.missing",), ((entries, "nf_remove_net_hook", deletes_the_first),))),
    ("the whole word decides", Mutant(("accept.high-bits",), ((steps, "_hook_ops", hook_of_the_whole_word),))),
    ("an errno is never positive", Mutant(("drop.positive",), ((slow, "nf_drop_geterr", lambda verdict: -verdict.errno),))),
    private("the start is ignored", ignores_the_start, "start-index"),
    private("DROP keeps the skb", skb_that_is("freed", "leaked"), "drop.frees", "drop.positive", "queue.frees"),
    private("STOLEN frees the skb", skb_that_is("stolen", "freed"), "stolen.keeps"),
    private("the default case frees the skb", skb_that_is("leaked", "freed"), "unknown", "repeat", "stop", "default.silent",
            "first.private"),
    private("REPEAT accepts", without(VerdictKind.REPEAT, lambda _verdict: ACCEPT), "repeat"),
    private("STOP accepts", without(VerdictKind.STOP, lambda _verdict: ACCEPT), "stop"),
    rules_only(named("a list is turned round", steps, "nf_hook_slow_list", turned_round, "list.order", "list.verdicts")),
    rules_only(named("a list ends with what is dropped", steps, "nf_hook_slow_list", until_one_is_dropped, "list.verdicts")),
    rules_only(named("a list goes on with what is stolen", steps, "nf_hook_slow_list", stolen_ones_too, "list.verdicts")),
    rules_only(named("a list's packets stay in it", steps, "nf_hook_slow_list", still_linked, "list.order", "list.verdicts")),
    private("a state's out is gone behind the first hook", forgets_out_behind_the_first, "accept.high-bits", "raw.insert"),
    rules_only(private("dummies change the state", dummies_forget_out, "dummy.accepts", "raw.enomem")),
    rules_only(named("the second of a list has another state", steps, "nf_hook_slow_list", second_of_a_list_without_in, "list.order")),
    rules_only(private("of seventeen hooks the last does not run", seventeen_without_the_last, "raw.every-size")),
    rules_only(private("the whole word of the last decides", the_last_of_several(Verdict(VerdictKind.STOP)), "accept.high-bits")),
    private("QUEUE goes on", without(VerdictKind.QUEUE, lambda _verdict: ACCEPT), "queue.frees"),
])
