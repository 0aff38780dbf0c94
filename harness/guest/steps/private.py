"""Steps with private arrays."""

from __future__ import annotations

from collections.abc import Mapping

from harness.guest import raw
from harness.guest.arrays import Arrays, slot_of
from harness.guest.module import HookRefused
from harness.guest.run import Run
from harness.guest.steps.handler import Handler
from harness.outcome.types import RawRun as RawRunOutcome
from harness.outcome.types import StepOutcome, raw_key
from harness.scenario.steps import RawAlter, RawDelete, RawInsert, RawRun

__all__ = ("HANDLERS",)


def _raw_insert(run: Run, index: int, step: RawInsert) -> StepOutcome:
    run.private.update(dict.fromkeys(step.ids, step))
    number = _number(run, step.netns, step.array)
    hooks = [raw.RawHook(run.new_id(label), number, step.priority, step.verdict) for label in step.ids]
    refusals = raw.insert_many(run.modules[step.netns], hooks)
    err = next((refusal.errno or 0 for refusal in refusals if refusal), 0)
    return StepOutcome(index, err, _array(run, step.netns, step.array))


def _raw_delete(run: Run, index: int, step: RawDelete) -> StepOutcome:
    hook, err = run.private[step.id], 0
    array = _number(run, hook.netns, step.array) if step.array is not None else None
    try:
        raw.delete(run.modules[hook.netns], run.ids[step.id], array)
    except HookRefused as refusal:
        err = refusal.errno or 0
    return StepOutcome(index, err, _array(run, hook.netns, step.array or hook.array))


def _raw_alter(run: Run, index: int, step: RawAlter) -> StepOutcome:
    hook, err = run.private[step.id], 0
    try:
        raw.alter(run.modules[hook.netns], run.ids[step.id], step.priority)
    except HookRefused as refusal:
        err = refusal.errno or 0
    return StepOutcome(index, err, _array(run, hook.netns, hook.array))


def _raw_run(run: Run, index: int, step: RawRun) -> StepOutcome:
    """:raises GuestError: a listener took the packet"""
    cookie = run.new_cookie()
    try:
        result = raw.run(run.modules[step.netns], _number(run, step.netns, step.array), step.start, cookie)
    except HookRefused as refusal:
        return StepOutcome(index, refusal.errno or 0, _array(run, step.netns, step.array))
    labels = run.labels
    outcome = RawRunOutcome(result.returned, tuple(labels[number] for number in result.called), result.users)
    return StepOutcome(index, 0, _array(run, step.netns, step.array), outcome)


def _number(run: Run, netns: str, array: str) -> int:
    return run.numbers.setdefault((netns, array), len(run.numbers))


def _array(run: Run, netns: str, array: str) -> Arrays:
    labels = run.labels
    live = raw.slots(run.modules[netns], _number(run, netns, array))
    return ((raw_key(netns, array), tuple(slot_of(slot, labels) for slot in live)),)


HANDLERS: Mapping[type, Handler] = {RawInsert: _raw_insert, RawDelete: _raw_delete, RawAlter: _raw_alter, RawRun: _raw_run}
