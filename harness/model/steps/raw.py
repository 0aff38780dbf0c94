"""Steps with private arrays: ``nf_hook_entries_insert_raw``, ``nf_hook_entries_delete_raw`` and ``nf_hook_slow`` over them."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from harness.model.entries import nf_hook_entries_delete_raw, nf_hook_entries_insert_raw
from harness.model.run import Arrays, Run, slots_of
from harness.model.slow import nf_hook_slow, nf_hook_slow_list
from harness.model.structures import Context, Head, HookOps, HookState, Skb
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.outcome.facts import listed
from harness.outcome.types import OUR_MODULE, OURS, RawOutcome, StepOutcome, raw_key
from harness.scenario.steps.raw import RawAlter, RawDelete, RawInsert, RawList, RawRun

__all__ = ("raw_alter", "raw_delete", "raw_insert", "raw_list", "raw_run")

Key = tuple[str, str]
"""Namespace, array."""


def _hook_ops(label: str, step: RawInsert) -> HookOps:
    """``nfharness_hook``, which returns its u32 here for every packet, or for one of a list."""
    verdict = Verdict.decode(step.verdict)

    def hook(_ops: HookOps, context: Context) -> Verdict:
        return verdict if step.packet in (None, context.skb.cookie) else Verdict(VerdictKind.ACCEPT)

    return HookOps(hook, OURS, OUR_MODULE, Family.IPV4, hook_number(Family.IPV4, "INPUT"), step.priority,
                   label=label)


def raw_insert(run: Run, index: int, step: RawInsert) -> StepOutcome:
    key = step.netns, step.array
    return StepOutcome(index, _insert(run, key, step), _array(run, key))


def _insert(run: Run, key: Key, step: RawInsert) -> int:
    """Add a hook to a private array with core's raw function.

    :returns: a positive errno, or 0
    """
    run.inserted.update(dict.fromkeys(step.ids, key))
    for label in step.ids:
        ops = _hook_ops(label, step)
        head = _head(run, key)
        old = head.entries
        err = nf_hook_entries_insert_raw(head, ops, run.core.alloc, run.core.warnings)
        if err < 0:
            return -err
        run.core.books.took_place(old, head.entries)
        run.private[label] = key, ops
    return 0


def raw_delete(run: Run, index: int, step: RawDelete) -> StepOutcome:
    own = run.inserted[step.id]
    key = own if step.array is None else (own[0], step.array)
    return StepOutcome(index, _delete(run, key, step.id), _array(run, key))


def _delete(run: Run, key: Key, label: str) -> int:
    """nfharness.ko refuses where core would dereference NULL.

    :returns: a positive errno, or 0
    """
    head = _head(run, key)
    old = head.entries
    if label not in run.private or old is None:
        return errno.ENOENT
    own, ops = run.private[label]
    nf_hook_entries_delete_raw(head, ops, run.core.alloc, run.core.warnings)
    if head.entries is not old:
        run.core.books.took_place(old, head.entries)
    if own == key:
        del run.private[label]
    return 0


def raw_alter(run: Run, index: int, step: RawAlter) -> StepOutcome:
    key = run.inserted[step.id]
    if step.id not in run.private:
        return StepOutcome(index, errno.ENOENT, _array(run, key))
    _, ops = run.private[step.id]
    ops.priority = step.priority
    return StepOutcome(index, 0, _array(run, key))


def raw_run(run: Run, index: int, step: RawRun) -> StepOutcome:
    key = step.netns, step.array
    entries = _head(run, key).entries
    if entries is None:
        return StepOutcome(index, errno.ENOENT, _array(run, key))
    context = Context(Skb(), _state(key), warnings=run.core.warnings)
    returned = nf_hook_slow(context, entries, step.start, profile=run.core.profile)
    called = tuple(call.label for call in context.calls if call.label is not None)
    return StepOutcome(index, 0, _array(run, key), RawOutcome(returned, called, 1 if context.skb.state == "freed" else 2,
                                                                    _altered(key, [context])))


def raw_list(run: Run, index: int, step: RawList) -> StepOutcome:
    key = step.netns, step.array
    entries = _head(run, key).entries
    if entries is None:
        return StepOutcome(index, errno.ENOENT, _array(run, key))
    contexts = [Context(Skb(number, linked=True), _state(key), warnings=run.core.warnings) for number in range(1, step.packets + 1)]
    passed = nf_hook_slow_list(contexts, entries, profile=run.core.profile)
    calls = [(number, str(call.label)) for number, context in enumerate(contexts, 1) for call in context.calls if call.label is not None]
    freed = [number for number, context in enumerate(contexts, 1) if context.skb.state == "freed"]
    linked = [number for number, context in enumerate(contexts, 1) if context.skb.met_linked]
    return StepOutcome(index, 0, _array(run, key), facts=listed(calls, [contexts.index(one) + 1 for one in passed], freed, linked,
                                                             _altered(key, contexts)))


def _state(key: Key) -> HookState:
    """What core is given, with something in every field."""
    return HookState(Family.IPV4, hook_number(Family.IPV4, "INPUT"), key[0], "lo", "lo", "dst_discard_out")


def _altered(key: Key, contexts: Sequence[Context]) -> int:
    """How many calls were given another state; the module sees those of its hooks."""
    return sum(state != _state(key) for context in contexts for call, state in zip(context.calls, context.states, strict=True)
               if call.label is not None)


def _head(run: Run, key: Key) -> Head:
    return run.heads.setdefault(key, Head())


def _array(run: Run, key: Key) -> Arrays:
    return ((raw_key(*key), slots_of(_head(run, key))),)
