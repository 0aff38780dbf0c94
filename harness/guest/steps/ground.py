"""Steps that change the ground: namespaces and devices, and what is left when they go."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from harness.guest import changes
from harness.guest.arrays import Arrays
from harness.guest.module import HookRefused
from harness.guest.run import Run
from harness.guest.steps.handler import Handler
from harness.netfilter import Family, hook_name
from harness.outcome.types import StepOutcome
from harness.scenario.steps import AddDevice, AddLink, AddNetns, DeleteDevice, DeleteNetns, Keys, MoveDevice
from harness.scenario.steps.ground import lost_devices
from harness.trace.walk import Count

__all__ = ("HANDLERS",)

_GONE_SECONDS = 20.0


def _add_netns(run: Run, index: int, step: AddNetns) -> StepOutcome:
    others = {changes.proc_inode(namespace) for namespace in run.network.namespaces.values()} | {changes.proc_inode(None)}
    try:
        namespace = run.add_netns(step.netns)
    except OSError as error:
        if not step.fail:
            raise
        return StepOutcome(index, error.errno or 0)
    inode = changes.proc_inode(namespace)
    run.open_sinks(index)
    arrays = tuple(array for array in run.all_arrays(step.netns) if array[1])
    return StepOutcome(index, 0, arrays, facts=(("proc", "none" if inode is None else "shared" if inode in others else "own"),))


def _delete_netns(run: Run, index: int, step: DeleteNetns) -> StepOutcome:
    namespace = run.network.namespaces[step.netns]
    with changes.proc_directory(namespace) as entries, _counted(run, lost_devices(run.grounds[index], step), step.netns):
        run.delete_netns(step.netns)
        gone = changes.await_gone(next(iter(run.modules.values())), namespace.inum, _GONE_SECONDS)
        left = bool(entries())
    return StepOutcome(index, facts=(("netns", "gone" if gone else "there"), ("proc", "there" if left else "gone")))


def _add_device(run: Run, index: int, step: AddDevice) -> StepOutcome:
    changes.add_dummy(run.network, step.netns, step.device)
    return StepOutcome(index, 0, _arrays(run, [(step.netns, step.device)]))


def _add_link(run: Run, index: int, step: AddLink) -> StepOutcome:
    changes.add_link(run.network, step.a, step.b)
    return StepOutcome(index, 0, _arrays(run, [(end.netns, end.device) for end in (step.a, step.b)]))


def _delete_device(run: Run, index: int, step: DeleteDevice) -> StepOutcome:
    lost = lost_devices(run.grounds[index], step)
    with _counted(run, lost):
        changes.delete_device(run.network, step.netns, step.device)
    return StepOutcome(index)


def _move_device(run: Run, index: int, step: MoveDevice) -> StepOutcome:
    with _counted(run, [(step.netns, step.device)]):
        changes.move_device(run.network, step.netns, step.device, step.to)
    return StepOutcome(index, 0, _arrays(run, [(step.to, step.device)]))


def _arrays(run: Run, devices: Collection[tuple[str, str]]) -> Arrays:
    return tuple(sorted(array for netns, device in devices for hook in ("INGRESS", "EGRESS")
                        for array in run.arrays(netns, Family.NETDEV, hook, device)))


@contextmanager
def _counted(run: Run, lost: Collection[tuple[str, str]], netns: str | None = None) -> Iterator[None]:
    """The block takes hooks along: those on lost devices, and all of a namespace. Their counts are read before."""
    since, calls = time.monotonic_ns(), dict[int, int]()
    for name in {name for name, _ in lost} | ({netns} if netns else set()):
        indexes = {run.network.ifindexes[pair] for pair in lost if pair[0] == name}
        calls |= {state.hook.id: state.calls for state in run.modules[name].hooks() if name == netns or state.hook.ifindex in indexes}
    yield
    for name, device in lost:
        run.journal.lost(name, device)
    if netns:
        run.journal.lost(netns)
    run.calls.update({number: Count(counted, since, time.monotonic_ns()) for number, counted in calls.items()})


def _keys(run: Run, index: int, _step: Keys) -> StepOutcome:
    try:
        found = next(iter(run.modules.values())).keys()
    except HookRefused as refusal:
        return StepOutcome(index, refusal.errno or 0)
    changes = {(pf, number): count - run.keys[pf, number] for (pf, number), count in found.items()}
    return StepOutcome(index, facts=tuple(sorted((f"{pf.name} {hook_name(pf, number)}", change)
                                                 for (pf, number), change in changes.items() if change)))


HANDLERS: Mapping[type, Handler] = {
    AddNetns: _add_netns, DeleteNetns: _delete_netns, AddDevice: _add_device, AddLink: _add_link, DeleteDevice: _delete_device,
    MoveDevice: _move_device, Keys: _keys,
}
