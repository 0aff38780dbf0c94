"""Steps with private arrays."""

from __future__ import annotations

from harness.guest import raw
from harness.guest.arrays import Arrays, slot_of
from harness.guest.module import HookRefused
from harness.guest.run import Run
from harness.outcome.facts import listed
from harness.outcome.types import RawOutcome, StepOutcome, raw_key
from harness.scenario.steps.raw import RawAlter, RawDelete, RawInsert, RawList, RawRun

__all__ = ("raw_alter", "raw_delete", "raw_insert", "raw_list", "raw_run")


def raw_insert(run: Run, index: int, step: RawInsert) -> StepOutcome:
    run.private.update(dict.fromkeys(step.ids, step))
    number = _number(run, step.netns, step.array)
    cookie = None if step.packet is None else run.list_cookie(step.packet)
    hooks = [raw.RawHook(run.new_id(label), number, step.priority, step.verdict, cookie) for label in step.ids]
    refusals = raw.insert_many(run.modules[step.netns], hooks)
    err = next((refusal.errno or 0 for refusal in refusals if refusal), 0)
    return StepOutcome(index, err, _array(run, step.netns, step.array))


def raw_delete(run: Run, index: int, step: RawDelete) -> StepOutcome:
    hook, err = run.private[step.id], 0
    array = _number(run, hook.netns, step.array) if step.array is not None else None
    try:
        raw.delete(run.modules[hook.netns], run.ids[step.id], array)
    except HookRefused as refusal:
        err = refusal.errno or 0
    return StepOutcome(index, err, _array(run, hook.netns, step.array or hook.array))


def raw_alter(run: Run, index: int, step: RawAlter) -> StepOutcome:
    hook, err = run.private[step.id], 0
    try:
        raw.alter(run.modules[hook.netns], run.ids[step.id], step.priority)
    except HookRefused as refusal:
        err = refusal.errno or 0
    return StepOutcome(index, err, _array(run, hook.netns, hook.array))


def raw_run(run: Run, index: int, step: RawRun) -> StepOutcome:
    """Run ``nf_hook_slow`` over a private array.

    :raises GuestError: a listener took the packet
    """
    cookie = run.new_cookie()
    try:
        result = raw.run(run.modules[step.netns], _number(run, step.netns, step.array), step.start, cookie)
    except HookRefused as refusal:
        return StepOutcome(index, refusal.errno or 0, _array(run, step.netns, step.array))
    labels = run.labels
    outcome = RawOutcome(result.returned, tuple(labels[number] for number in result.called), result.users, result.altered)
    return StepOutcome(index, 0, _array(run, step.netns, step.array), outcome)


def raw_list(run: Run, index: int, step: RawList) -> StepOutcome:
    numbers = {run.list_cookie(number): number for number in range(1, step.packets + 1)}
    try:
        result = raw.run_list(run.modules[step.netns], _number(run, step.netns, step.array), tuple(numbers))
    except HookRefused as refusal:
        return StepOutcome(index, refusal.errno or 0, _array(run, step.netns, step.array))
    calls = [(numbers[cookie], run.labels[hook]) for cookie, hook in result.calls]
    freed = [number for number, users in zip(numbers.values(), result.users, strict=True) if users == 1]
    linked = [number for number, met in zip(numbers.values(), result.linked, strict=True) if met]
    facts = listed(calls, [numbers[cookie] for cookie in result.passed], freed, linked, result.altered)
    return StepOutcome(index, 0, _array(run, step.netns, step.array), facts=facts)


def _number(run: Run, netns: str, array: str) -> int:
    return run.numbers.setdefault((netns, array), len(run.numbers))


def _array(run: Run, netns: str, array: str) -> Arrays:
    labels = run.labels
    live = raw.slots(run.modules[netns], _number(run, netns, array))
    return ((raw_key(netns, array), tuple(slot_of(slot, labels) for slot in live)),)
