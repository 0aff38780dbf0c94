"""Steps with several hooks at once, with the same ops twice, and with what is not there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from harness.guest.churn import on_processor
from harness.guest.module import HookRefused
from harness.guest.run import Run
from harness.netfilter import hook_number
from harness.outcome.types import StepOutcome
from harness.scenario.steps.batches import (
    RegisterAgain,
    RegisterBatch,
    RegisterTogether,
    UnregisterAbsent,
    UnregisterBatch,
    UnregisterTogether,
)
from harness.scenario.steps.hooks import Register
from harness.walks.counts import Count

__all__ = ("register_again", "register_batch", "register_together", "unregister_absent", "unregister_batch", "unregister_together")


def register_batch(run: Run, index: int, step: RegisterBatch) -> StepOutcome:
    run.batches.update(dict.fromkeys((hook.id for hook in step.hooks), step.hooks))
    with ExitStack() as opened:
        batch = [replace(run.hook(hook), unchecked=True, device_netns=_foreign(run, hook, opened)) for hook in step.hooks]
        return _answer(run, index, step.hooks, lambda: run.modules[step.netns].add_batch(batch), added=step.hooks)


def _foreign(run: Run, hook: Register, opened: ExitStack) -> int | None:
    """A descriptor of the namespace that the hook's device is in, if that is another one."""
    if hook.device_netns is None:
        return None
    return opened.enter_context(run.network.namespaces[hook.device_netns].path.open("rb")).fileno()


def unregister_batch(run: Run, index: int, step: UnregisterBatch) -> StepOutcome:
    hooks = run.batches[step.id]
    return _answer(run, index, hooks, lambda: _delete_batch(run, hooks), removed=hooks)


def _delete_batch(run: Run, hooks: Sequence[Register]) -> None:
    module, since = run.modules[hooks[0].netns], time.monotonic_ns()
    calls = {number: module.hook(number).calls for number in (run.ids[hook.id] for hook in hooks)}
    module.del_batch(run.ids[hooks[0].id])
    run.calls.update({number: Count(counted, since, time.monotonic_ns()) for number, counted in calls.items()})


def register_again(run: Run, index: int, step: RegisterAgain) -> StepOutcome:
    hook = run.registers[step.id]
    return _answer(run, index, (hook,), lambda: run.modules[hook.netns].add_hook_again(run.ids[step.id]), added=(hook,))


def unregister_absent(run: Run, index: int, step: UnregisterAbsent) -> StepOutcome:
    number, ifindex = hook_number(step.pf, step.hook), run.ifindex(step.device_netns or step.netns, step.device)
    point = Register("", step.netns, step.pf, step.hook, device=step.device, device_netns=step.device_netns)
    with ExitStack() as opened:
        foreign, module = _foreign(run, point, opened), run.modules[step.netns]

        def delete() -> None:
            for _ in range(step.times):
                module.del_absent_hook(step.pf, number, ifindex, unchecked=True, device_netns=foreign)

        return _answer(run, index, (point,), delete)


def register_together(run: Run, index: int, step: RegisterTogether) -> StepOutcome:
    hooks = (step.first, step.second)
    first, second = map(run.hook, hooks)
    with on_processor(0):
        return _answer(run, index, hooks, lambda: run.modules[step.first.netns].add_together(first, second), added=hooks)


def unregister_together(run: Run, index: int, step: UnregisterTogether) -> StepOutcome:
    hooks = [run.registers[name] for name in (step.first, step.second)]
    with on_processor(0):
        return _answer(run, index, hooks, lambda: _delete_together(run, hooks), removed=hooks)


def _delete_together(run: Run, hooks: Sequence[Register]) -> None:
    module, since, numbers = run.modules[hooks[0].netns], time.monotonic_ns(), [run.ids[hook.id] for hook in hooks]
    calls = {state.hook.id: state.calls for state in module.hooks() if state.hook.id in numbers}
    module.del_together(*numbers)
    run.calls.update({number: Count(counted, since, time.monotonic_ns()) for number, counted in calls.items()})


def _answer(run: Run, index: int, hooks: Sequence[Register], action: Callable[[], None], *, added: Sequence[Register] = (),
            removed: Sequence[Register] = ()) -> StepOutcome:
    """What a registration or an unregistration led to.

    :param hooks: whose points the step is about
    :param added: what is registered afterwards
    :param removed: what is not registered any more
    """
    err = 0
    try:
        action()
        for hook in added:
            run.journal.added(hook)
        for hook in removed:
            run.journal.removed(hook)
    except HookRefused as refusal:
        err = refusal.errno or 0
    return StepOutcome(index, err, run.arrays_of(hooks))
