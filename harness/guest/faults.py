"""Allocations of core's that fail while a step is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from harness.errors import GuestError
from harness.guest.module import HookRefused
from harness.guest.run import Run
from harness.scenario.steps import AddNetns, RawDelete, RegisterAgain, Step, Unregister, UnregisterBatch

__all__ = ("no_memory",)


@contextmanager
def no_memory(run: Run, step: Step) -> Iterator[None]:
    """The allocations that the step names fail while the block runs.

    :raises GuestError: this kernel's allocator takes no kretprobe
    """
    numbers: tuple[int, ...] = getattr(step, "fail", ())
    if not numbers:
        yield
        return
    fail, no_more = _arming(run, step, numbers)
    try:
        fail()
    except HookRefused as refusal:
        raise GuestError(f"no allocation can be made to fail: {refusal.reason}", mend="run it on a kernel with kretprobes") from refusal
    try:
        yield
    finally:
        no_more()


def _arming(run: Run, step: Step, numbers: tuple[int, ...]) -> tuple[Callable[[], None], Callable[[], None]]:
    if isinstance(step, AddNetns):
        module = next(iter(run.modules.values()))
        return partial(module.fail_netns, True), partial(module.fail_netns, False)
    module = run.modules[_netns(run, step)]
    return partial(module.fail_next, *numbers), module.fail_next


def _netns(run: Run, step: Step) -> str:
    match step:
        case Unregister() | UnregisterBatch() | RegisterAgain():
            return run.registers[step.id].netns
        case RawDelete():
            return run.private[step.id].netns
    netns: str = step.netns  # type: ignore[union-attr]
    return netns
