"""Steps with private arrays: ``nf_hook_entries_insert_raw``, ``nf_hook_entries_delete_raw`` and ``nf_hook_slow`` over them."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from harness.model.entries import Head, HookOps, nf_hook_entries_delete_raw, nf_hook_entries_insert_raw
from harness.model.run import Arrays, Run, slots_of
from harness.model.slow import Context, HookState, Skb, nf_hook_slow
from harness.model.steps.handler import Handler
from harness.netfilter import Family, Verdict, hook_number
from harness.outcome.types import OUR_MODULE, OURS, StepOutcome, raw_key
from harness.outcome.types import RawRun as RawRunOutcome
from harness.scenario.steps import RawAlter, RawDelete, RawInsert, RawRun

__all__ = ("HANDLERS",)

Key = tuple[str, str]
"""Namespace, array."""


def _hook_ops(label: str, step: RawInsert) -> HookOps:
    """``nfharness_hook``, which returns its u32 here for every packet."""
    verdict = Verdict.decode(step.verdict)
    return HookOps(lambda _ops, _context: verdict, OURS, OUR_MODULE, Family.IPV4, hook_number(Family.IPV4, "INPUT"), step.priority,
                   label=label)


def _raw_insert(run: Run, index: int, step: RawInsert) -> StepOutcome:
    key = step.netns, step.array
    return StepOutcome(index, _insert(run, key, step), _array(run, key))


def _insert(run: Run, key: Key, step: RawInsert) -> int:
    """:returns: a positive errno, or 0"""
    run.inserted.update(dict.fromkeys(step.ids, key))
    for label in step.ids:
        ops = _hook_ops(label, step)
        err = nf_hook_entries_insert_raw(_head(run, key), ops, run.core.alloc, run.core.warnings)
        if err < 0:
            return -err
        run.private[label] = key, ops
    return 0


def _raw_delete(run: Run, index: int, step: RawDelete) -> StepOutcome:
    own = run.inserted[step.id]
    key = own if step.array is None else (own[0], step.array)
    return StepOutcome(index, _delete(run, key, step.id), _array(run, key))


def _delete(run: Run, key: Key, label: str) -> int:
    """nfharness.ko refuses where core would dereference NULL. :returns: a positive errno, or 0"""
    if label not in run.private or _head(run, key).entries is None:
        return errno.ENOENT
    own, ops = run.private[label]
    nf_hook_entries_delete_raw(_head(run, key), ops, run.core.alloc, run.core.warnings)
    if own == key:
        del run.private[label]
    return 0


def _raw_alter(run: Run, index: int, step: RawAlter) -> StepOutcome:
    key = run.inserted[step.id]
    if step.id not in run.private:
        return StepOutcome(index, errno.ENOENT, _array(run, key))
    _, ops = run.private[step.id]
    ops.priority = step.priority
    return StepOutcome(index, 0, _array(run, key))


def _raw_run(run: Run, index: int, step: RawRun) -> StepOutcome:
    key = step.netns, step.array
    entries = _head(run, key).entries
    if entries is None:
        return StepOutcome(index, errno.ENOENT, _array(run, key))
    context = Context(Skb(), HookState(Family.IPV4, hook_number(Family.IPV4, "INPUT"), key[0], "lo"), warnings=run.core.warnings)
    returned = nf_hook_slow(context, entries, step.start, profile=run.core.profile)
    called = tuple(call.label for call in context.calls if call.label is not None)
    return StepOutcome(index, 0, _array(run, key), RawRunOutcome(returned, called, 1 if context.skb.state == "freed" else 2))


def _head(run: Run, key: Key) -> Head:
    return run.heads.setdefault(key, Head())


def _array(run: Run, key: Key) -> Arrays:
    return ((raw_key(*key), slots_of(_head(run, key))),)


HANDLERS: Mapping[type, Handler] = {RawInsert: _raw_insert, RawDelete: _raw_delete, RawAlter: _raw_alter, RawRun: _raw_run}
