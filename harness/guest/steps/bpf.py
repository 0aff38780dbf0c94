"""Steps with BPF programs as hooks."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from harness.guest import bpf
from harness.guest.run import Run
from harness.guest.steps.handler import Handler
from harness.outcome.types import StepOutcome
from harness.scenario.steps import BpfLink, BpfUnlink

__all__ = ("HANDLERS",)


def _link(run: Run, index: int, step: BpfLink) -> StepOutcome:
    err = 0
    try:
        run.links[step.id] = step, bpf.link(run.network.namespaces[step.netns], step)
    except OSError as error:
        err = error.errno or 0
    return StepOutcome(index, err, run.arrays(step.netns, step.pf, step.hook, None))


def _unlink(run: Run, index: int, step: BpfUnlink) -> StepOutcome:
    if step.id not in run.links:
        return StepOutcome(index, errno.ENOENT)
    link, descriptor = run.links.pop(step.id)
    os.close(descriptor)
    return StepOutcome(index, 0, run.arrays(link.netns, link.pf, link.hook, None))


HANDLERS: Mapping[type, Handler] = {BpfLink: _link, BpfUnlink: _unlink}
