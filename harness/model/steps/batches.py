"""Steps with several hooks at once, with the same ops twice, and with what is not there."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from harness.model.run import Run
from harness.model.steps.hooks import hook_ops
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

__all__ = ("register_again", "register_batch", "register_together", "unregister_absent", "unregister_batch", "unregister_together")


def register_batch(run: Run, index: int, step: RegisterBatch) -> StepOutcome:
    run.registers.update({hook.id: hook for hook in step.hooks})
    run.batches.update(dict.fromkeys((hook.id for hook in step.hooks), step.hooks))
    net = run.nets[step.netns]
    batch = {hook.id: hook_ops(hook, run.nets) for hook in step.hooks}
    err = run.core.nf_register_net_hooks(net, list(batch.values()))
    if err == 0:
        run.live.update(batch)
    return StepOutcome(index, -err, run.arrays_of(step.hooks))


def unregister_batch(run: Run, index: int, step: UnregisterBatch) -> StepOutcome:
    hooks = run.batches[step.id]
    if step.id not in run.live:
        return StepOutcome(index, errno.ENOENT, run.arrays_of(hooks))
    run.core.nf_unregister_net_hooks(run.nets[hooks[0].netns], [run.live.pop(hook.id) for hook in hooks])
    return StepOutcome(index, 0, run.arrays_of(hooks))


def register_again(run: Run, index: int, step: RegisterAgain) -> StepOutcome:
    hook, ops = run.registers[step.id], run.live.get(step.id)
    err = -run.core.nf_register_net_hook(run.nets[hook.netns], ops) if ops else errno.ENOENT
    run.again[step.id] += not err
    return StepOutcome(index, err, run.arrays_of((hook,)))


def unregister_absent(run: Run, index: int, step: UnregisterAbsent) -> StepOutcome:
    absent = Register("", step.netns, step.pf, step.hook, device=step.device, device_netns=step.device_netns)
    for _ in range(step.times):
        run.core.nf_unregister_net_hook(run.nets[step.netns], hook_ops(absent, run.nets))
    return StepOutcome(index, 0, run.arrays_of((absent,)))


def one_after_the_other(run: Run, hooks: Sequence[Register]) -> list[int]:
    """``nf_hook_mutex`` keeps the second one out until the first one is through.

    :returns: positive errnos, or 0
    """
    errnos = []
    for hook in hooks:
        ops = hook_ops(hook, run.nets)
        errnos.append(-run.core.nf_register_net_hook(run.nets[hook.netns], ops))
        if not errnos[-1]:
            run.live[hook.id] = ops
    return errnos


def out_one_after_the_other(run: Run, hooks: Sequence[Register]) -> None:
    """Unregistered in order: ``nf_hook_mutex`` keeps the second one out until the first one is through."""
    for hook in hooks:
        run.core.nf_unregister_net_hook(run.nets[hook.netns], run.live.pop(hook.id))


def register_together(run: Run, index: int, step: RegisterTogether) -> StepOutcome:
    hooks = (step.first, step.second)
    run.registers.update({hook.id: hook for hook in hooks})
    refused = run.module_refuses(step.first.pf, step.first.hook) or run.module_refuses(step.second.pf, step.second.hook)
    errnos = [refused] if refused else one_after_the_other(run, hooks)
    return StepOutcome(index, next(filter(None, errnos), 0), run.arrays_of(hooks))


def unregister_together(run: Run, index: int, step: UnregisterTogether) -> StepOutcome:
    hooks = [run.registers[name] for name in (step.first, step.second)]
    missing = errno.ENOENT if step.first not in run.live else errno.EINVAL if step.second not in run.live else 0
    if not missing:
        out_one_after_the_other(run, hooks)
    return StepOutcome(index, missing, run.arrays_of(hooks))
