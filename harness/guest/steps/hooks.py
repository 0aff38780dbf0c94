"""Steps with hooks at hook points."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import time

from harness.errors import UserError
from harness.guest import raw
from harness.guest.arrays import Arrays, changed
from harness.guest.module import HookRefused
from harness.guest.run import Run
from harness.netfilter import hook_number
from harness.outcome.types import StepOutcome
from harness.scenario.steps.hooks import Alter, Dump, Nft, Register, RegisterMany, Unregister
from harness.walks.counts import Count

__all__ = ("alter", "dump", "load_ruleset", "nft", "register", "register_many", "run_nft", "unregister")

_NFT_SECONDS = 60
_TAKES_AWAY = re.compile(r"\b(delete|destroy|flush)\b")
"""What of a ruleset may find a chain or a set in use."""


def register(run: Run, index: int, step: Register) -> StepOutcome:
    err = 0
    try:
        run.modules[step.netns].add_hook(run.hook(step))
        run.journal.added(step)
    except HookRefused as refusal:
        err = refusal.errno or 0
    return StepOutcome(index, err, run.arrays(step.netns, step.pf, step.hook, step.device))


def register_many(run: Run, index: int, step: RegisterMany) -> StepOutcome:
    refusals = run.modules[step.netns].add_hooks([run.hook(each) for each in step.each()])
    for each, refusal in zip(step.each(), refusals, strict=True):
        if refusal is None:
            run.journal.added(each)
    err = next((refusal.errno or 0 for refusal in refusals if refusal), 0)
    return StepOutcome(index, err, run.arrays(step.netns, step.pf, step.hook, step.device))


def unregister(run: Run, index: int, step: Unregister) -> StepOutcome:
    hook, number, err = run.registers[step.id], run.ids[step.id], 0
    module = run.modules[hook.netns]
    try:
        since, calls = time.monotonic_ns(), module.hook(number).calls
        module.del_hook(number)
        run.journal.removed(hook)
        run.calls[number] = Count(calls, since, time.monotonic_ns())
    except HookRefused as refusal:
        err = refusal.errno or 0
    return StepOutcome(index, err, run.arrays(hook.netns, hook.pf, hook.hook, hook.device))


def alter(run: Run, index: int, step: Alter) -> StepOutcome:
    hook, err = run.registers[step.id], 0
    try:
        raw.alter(run.modules[hook.netns], run.ids[step.id], step.priority)
    except HookRefused as refusal:
        err = refusal.errno or 0
    return StepOutcome(index, err, run.arrays(hook.netns, hook.pf, hook.hook, hook.device))


def dump(run: Run, index: int, step: Dump) -> StepOutcome:
    try:
        run.modules[step.netns].slots(step.pf, hook_number(step.pf, step.hook), run.ifindex(step.netns, step.device))
    except HookRefused as refusal:
        return StepOutcome(index, refusal.errno or 0)
    return StepOutcome(index, 0, run.arrays(step.netns, step.pf, step.hook, step.device))


def nft(run: Run, index: int, step: Nft) -> StepOutcome:
    """Load a ruleset with ``nft``. What only makes chains is busy to no core that gives nftables' hooks the priorities of others.

    :raises UserError: nft does not take the ruleset
    """
    try:
        return StepOutcome(index, 0, load_ruleset(run, step.netns, step.ruleset))
    except UserError as refusal:
        if os.strerror(errno.EBUSY) not in refusal.message or _TAKES_AWAY.search(step.ruleset):
            raise
        return StepOutcome(index, errno.EBUSY)


def load_ruleset(run: Run, netns: str, ruleset: str) -> Arrays:
    """``nft -f``.

    :returns: the arrays that it changed
    :raises UserError: nft does not take it
    """
    before = run.all_arrays(netns)
    run_nft(run, netns, ruleset)
    return changed(before, run.all_arrays(netns))


def run_nft(run: Run, netns: str, ruleset: str) -> None:
    """``nft -f``. What a ruleset leaves goes some time later.

    :raises UserError: nft does not take it
    """
    with run.network.namespaces[netns].inside():
        command = ["nft", "-f", "-"]
        loaded = subprocess.run(command, input=ruleset, capture_output=True, text=True, timeout=_NFT_SECONDS, check=False)
    if loaded.returncode:
        said = loaded.stderr.strip().splitlines() or [f"exit status {loaded.returncode}"]
        raise UserError(f"nft does not take the ruleset for {netns}: {said[0]}", hint="correct the nft step's ruleset")
