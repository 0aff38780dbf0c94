"""Steps with BPF programs as hooks."""

from __future__ import annotations

import errno
import os

from harness.guest import bpf
from harness.guest.run import Run
from harness.outcome.types import StepOutcome
from harness.scenario.steps.bpf import BpfLink, BpfUnlink

__all__ = ("bpf_link", "bpf_unlink")


def bpf_link(run: Run, index: int, step: BpfLink) -> StepOutcome:
    err = 0
    try:
        run.links[step.id] = step, bpf.link(run.network.namespaces[step.netns], step)
    except OSError as error:
        err = error.errno or 0
    return StepOutcome(index, err, run.arrays(step.netns, step.pf, step.hook, None))


def bpf_unlink(run: Run, index: int, step: BpfUnlink) -> StepOutcome:
    if step.id not in run.links:
        return StepOutcome(index, errno.ENOENT)
    link, descriptor = run.links.pop(step.id)
    os.close(descriptor)
    return StepOutcome(index, 0, run.arrays(link.netns, link.pf, link.hook, None))
