"""Steps with several hooks at once, with the same ops twice, and with what is not there."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from harness.model.run import Run
from harness.model.steps.handler import Handler
from harness.model.steps.hooks import hook_ops
from harness.outcome.types import StepOutcome
from harness.scenario.steps import Register, RegisterAgain, RegisterBatch, UnregisterAbsent, UnregisterBatch

__all__ = ("HANDLERS",)


def _register_batch(run: Run, index: int, step: RegisterBatch) -> StepOutcome:
    run.registers.update({hook.id: hook for hook in step.hooks})
    run.batches.update(dict.fromkeys((hook.id for hook in step.hooks), step.hooks))
    net = run.nets[step.netns]
    batch = {hook.id: hook_ops(hook, run.nets) for hook in step.hooks}
    err = run.core.nf_register_net_hooks(net, list(batch.values()))
    if err == 0:
        run.live.update(batch)
    return StepOutcome(index, -err, run.arrays_of(step.hooks))


def _unregister_batch(run: Run, index: int, step: UnregisterBatch) -> StepOutcome:
    hooks = run.batches[step.id]
    if step.id not in run.live:
        return StepOutcome(index, errno.ENOENT, run.arrays_of(hooks))
    run.core.nf_unregister_net_hooks(run.nets[hooks[0].netns], [run.live.pop(hook.id) for hook in hooks])
    return StepOutcome(index, 0, run.arrays_of(hooks))


def _register_again(run: Run, index: int, step: RegisterAgain) -> StepOutcome:
    hook, ops = run.registers[step.id], run.live.get(step.id)
    err = -run.core.nf_register_net_hook(run.nets[hook.netns], ops) if ops else errno.ENOENT
    run.again[step.id] += not err
    return StepOutcome(index, err, run.arrays_of((hook,)))


def _unregister_absent(run: Run, index: int, step: UnregisterAbsent) -> StepOutcome:
    absent = Register("", step.netns, step.pf, step.hook, device=step.device)
    run.core.nf_unregister_net_hook(run.nets[step.netns], hook_ops(absent, run.nets))
    return StepOutcome(index, 0, run.arrays_of((absent,)))


HANDLERS: Mapping[type, Handler] = {
    RegisterBatch: _register_batch, UnregisterBatch: _unregister_batch, RegisterAgain: _register_again,
    UnregisterAbsent: _unregister_absent,
}
