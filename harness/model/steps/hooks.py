"""Steps with hooks at hook points."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from harness.model.run import Run
from harness.model.structures import Context, HookOps, Net
from harness.netfilter import Verdict, VerdictKind, hook_number
from harness.outcome.types import OUR_MODULE, OURS, StepOutcome
from harness.scenario.steps.hooks import Alter, Dump, Nft, Register, RegisterMany, Unregister

__all__ = ("alter", "dump", "hook_ops", "nft", "register", "register_many", "unregister")


def hook_ops(step: Register, nets: Mapping[str, Net]) -> HookOps:
    """``nfharness_hook``: its verdict for the packet with its cookie, or for all; ACCEPT for others."""
    left = step.times

    def hook(_ops: HookOps, context: Context) -> Verdict:
        nonlocal left
        if step.cookie not in (None, context.skb.cookie):
            return Verdict(VerdictKind.ACCEPT)
        if step.reinjected is None or not context.reinjected:
            return step.verdict
        if left is not None:
            left -= 1
        return Verdict(VerdictKind.ACCEPT) if left is not None and left < 0 else Verdict.decode(step.reinjected)

    device = nets[step.device_netns or step.netns].devices[step.device] if step.device is not None else None
    return HookOps(hook, OURS, OUR_MODULE, step.pf, hook_number(step.pf, step.hook), step.priority, device, step.id)


def register(run: Run, index: int, step: Register) -> StepOutcome:
    return StepOutcome(index, _add(run, step), run.arrays(step.netns, step.pf, step.hook, step.device))


def register_many(run: Run, index: int, step: RegisterMany) -> StepOutcome:
    errnos = [_add(run, each) for each in step.each()]
    return StepOutcome(index, next(filter(None, errnos), 0), run.arrays(step.netns, step.pf, step.hook, step.device))


def _add(run: Run, step: Register) -> int:
    """Register a step's hook.

    :returns: a positive errno, or 0
    """
    run.registers[step.id] = step
    refused = run.module_refuses(step.pf, step.hook)
    if refused:
        return refused
    net = run.nets[step.netns]
    ops = hook_ops(step, run.nets)
    err = run.core.nf_register_net_hook(net, ops)
    if err == 0:
        run.live[step.id] = ops
    return -err


def unregister(run: Run, index: int, step: Unregister) -> StepOutcome:
    hook, ops = run.registers[step.id], run.live.get(step.id)
    if ops is not None:
        if run.again[step.id]:
            run.again[step.id] -= 1
        else:
            del run.live[step.id]
        run.core.nf_unregister_net_hook(run.nets[hook.netns], ops)
    return StepOutcome(index, errno.ENOENT if ops is None else 0, run.arrays(hook.netns, hook.pf, hook.hook, hook.device))


def alter(run: Run, index: int, step: Alter) -> StepOutcome:
    hook, ops = run.registers[step.id], run.live.get(step.id)
    if ops is not None:
        ops.priority = step.priority
    return StepOutcome(index, errno.ENOENT if ops is None else 0, run.arrays(hook.netns, hook.pf, hook.hook, hook.device))


def dump(run: Run, index: int, step: Dump) -> StepOutcome:
    return StepOutcome(index, run.module_refuses(step.pf, step.hook), run.arrays(step.netns, step.pf, step.hook, step.device))


def nft(run: Run, index: int, _step: Nft) -> StepOutcome:
    """A ruleset brings or takes the foreign hooks that it was seen to."""
    return run.adopt(index)
