"""Allocations of core's that fail while a step is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from harness.errors import GuestError
from harness.guest.module import HookRefused
from harness.guest.run import Run
from harness.scenario.step import Allocates, Step

__all__ = ("no_memory",)


@contextmanager
def no_memory(run: Run, step: Step) -> Iterator[None]:
    """The allocations that the step names fail while the block runs.

    :raises GuestError: this kernel's allocator takes no kretprobe
    """
    numbers: tuple[int, ...] = step.common("fail")
    if not numbers:
        yield
        return
    fail, no_more = _arming(run, step, numbers)
    try:
        fail()
    except HookRefused as refusal:
        raise GuestError(f"no allocation can be made to fail: {refusal.reason}", hint="run it on a kernel with kretprobes") from refusal
    try:
        yield
    finally:
        no_more()


def _arming(run: Run, step: Step, numbers: tuple[int, ...]) -> tuple[Callable[[], None], Callable[[], None]]:
    if step.facts.allocates(step) is Allocates.NAMESPACE:
        module = next(iter(run.modules.values()))
        return partial(module.fail_netns, True), partial(module.fail_netns, False)
    module = run.modules[_netns(run, step)]
    return partial(module.fail_next, *numbers), module.fail_next


def _netns(run: Run, step: Step) -> str:
    """The step's own, or that of the hook that it is about."""
    netns, hook = step.common("netns"), step.common("id")
    return str(netns) if netns is not None else (run.registers.get(hook) or run.private[hook]).netns
