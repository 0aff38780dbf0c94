"""Steps with BPF programs as hooks."""

from __future__ import annotations

import errno

from harness.model.run import Run
from harness.model.structures import HookOps
from harness.netfilter import hook_number
from harness.outcome.types import StepOutcome
from harness.scenario.steps.bpf import BpfLink, BpfUnlink

__all__ = ("bpf_link", "bpf_unlink")

_FUNCTION = "nf_hook_run_bpf"
"""``hook`` of every link: it runs the program in ``priv``."""


def bpf_link(run: Run, index: int, step: BpfLink) -> StepOutcome:
    err = -errno.EINVAL
    if run.core.profile.bpf_link:
        ops = HookOps(lambda _ops, _context: step.verdict, _FUNCTION, None, step.pf, hook_number(step.pf, step.hook), step.priority,
                      bpf=True)
        err = run.core.nf_register_net_hook(run.nets[step.netns], ops)
        if err == 0:
            run.links[step.id] = step, ops
    return StepOutcome(index, -err, run.arrays(step.netns, step.pf, step.hook, None))


def bpf_unlink(run: Run, index: int, step: BpfUnlink) -> StepOutcome:
    if step.id not in run.links:
        return StepOutcome(index, errno.ENOENT)
    link, ops = run.links.pop(step.id)
    run.core.nf_unregister_net_hook(run.nets[link.netns], ops)
    return StepOutcome(index, 0, run.arrays(link.netns, link.pf, link.hook, None))
