"""Private arrays of a scenario: ``nf_hook_entries_insert_raw``, ``nf_hook_entries_delete_raw`` and ``nf_hook_slow`` over them."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.model.entries import DUMMY_OPS, Head, HookOps, nf_hook_entries_delete_raw, nf_hook_entries_insert_raw
from harness.model.register import Core
from harness.model.slow import Context, HookState, Skb, nf_hook_slow
from harness.netfilter import Family, Verdict, hook_number
from harness.outcome.types import OUR_MODULE, OURS, RawRun, Slot, StepOutcome, raw_key
from harness.scenario import steps

__all__ = ("RawArrays", "splats")

Key = tuple[str, str]
"""Namespace, array."""

_MESSAGE = "hook not found"


def splats(warnings: Iterable[str]) -> tuple[str, ...]:
    """Warnings as a kernel's log has them: their message; one without a message by its source file only (functions are inlined).

    Each ``WARN_ONCE`` warns once in a step.
    """
    once = {_MESSAGE if warning.startswith(_MESSAGE) else warning: warning for warning in reversed(tuple(warnings))}
    return tuple(warning if place == _MESSAGE else "net/netfilter/core.c" for place, warning in reversed(once.items()))


def _hook_ops(label: str, step: steps.RawInsert) -> HookOps:
    """``nfharness_hook``, which returns its u32 here for every packet."""
    verdict = Verdict.decode(step.verdict)
    return HookOps(lambda _ops, _context: verdict, OURS, OUR_MODULE, Family.IPV4, hook_number(Family.IPV4, "INPUT"), step.priority,
                   label=label)


@dataclass(slots=True)
class RawArrays:
    """The private arrays of a scenario under way. :param hooks: those that are in one, with its key"""

    core: Core
    heads: dict[Key, Head] = field(default_factory=dict)
    hooks: dict[str, tuple[Key, HookOps]] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)

    def step(self, index: int, step: steps.RawInsert | steps.RawDelete | steps.RawRun) -> StepOutcome:
        match step:
            case steps.RawInsert():
                key = step.netns, step.array
                return StepOutcome(index, self._insert(key, step), self._array(key))
            case steps.RawDelete():
                own = self.keys[step.id]
                key = own if step.array is None else (own[0], step.array)
                return StepOutcome(index, self._delete(key, step.id), self._array(key))
            case steps.RawRun():
                key = step.netns, step.array
                run = self._run(key, step.start)
                return StepOutcome(index, 0 if run else errno.ENOENT, self._array(key), run)

    def _head(self, key: Key) -> Head:
        return self.heads.setdefault(key, Head())

    def _insert(self, key: Key, step: steps.RawInsert) -> int:
        self.keys.update(dict.fromkeys(step.ids, key))
        for label in step.ids:
            ops = _hook_ops(label, step)
            err = nf_hook_entries_insert_raw(self._head(key), ops, self.core.alloc, self.core.warnings)
            if err < 0:
                return -err
            self.hooks[label] = key, ops
        return 0

    def _delete(self, key: Key, label: str) -> int:
        """nfharness.ko refuses where core would dereference NULL. :returns: a positive errno, or 0"""
        if label not in self.hooks or self._head(key).entries is None:
            return errno.ENOENT
        own, ops = self.hooks[label]
        nf_hook_entries_delete_raw(self._head(key), ops, self.core.alloc, self.core.warnings)
        if own == key:
            del self.hooks[label]
        return 0

    def _run(self, key: Key, start: int) -> RawRun | None:
        entries = self._head(key).entries
        if entries is None:
            return None
        context = Context(Skb(), HookState(Family.IPV4, hook_number(Family.IPV4, "INPUT"), key[0], "lo"), warnings=self.core.warnings)
        returned = nf_hook_slow(context, entries, start, profile=self.core.profile)
        called = tuple(call.label for call in context.calls if call.label is not None)
        return RawRun(returned, called, 1 if context.skb.state == "freed" else 2)

    def _array(self, key: Key) -> tuple[tuple[str, tuple[Slot, ...]], ...]:
        entries = self._head(key).entries or ()
        slots = tuple(Slot(index, ops.function, ops.module, ops.priority, ops is DUMMY_OPS, ops.label) for index, ops in enumerate(entries))
        return ((raw_key(*key), slots),)
