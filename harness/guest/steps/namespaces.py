"""Steps that make and end namespaces and devices: what is left when they go."""

from __future__ import annotations

import errno
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress

from harness.errors import GuestError
from harness.guest import changes, netns
from harness.guest.arrays import Arrays
from harness.guest.keys import needed
from harness.guest.module import Hook, HookModule, HookRefused
from harness.guest.netns import Namespace
from harness.guest.run import Run
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.outcome.facts import NO_PROC, remembered
from harness.outcome.types import StepOutcome
from harness.scenario.step import lost_devices
from harness.scenario.steps.namespaces import AddDevice, AddLink, AddNetns, DeleteDevice, DeleteNetns, Keys, Memory, MoveDevice
from harness.trace.capture import grace_period
from harness.trace.kmsg import KernelMessages
from harness.walks.counts import Count

__all__ = ("device_add", "device_delete", "device_move", "keys", "keys_baseline", "link_add", "memory", "netns_add", "netns_delete")

_GONE_SECONDS = 20.0
#: How many other namespaces are made to see whether their directories stay, too, and how long their numbers may take to be given back.
_LOOKS, _LATE_SECONDS = 4, 0.1


def netns_add(run: Run, index: int, step: AddNetns) -> StepOutcome:
    others = {changes.proc_inode(namespace) for namespace in run.network.namespaces.values()} | {changes.proc_inode(None)}
    # Where the first one is the scenario's own, its hooks are the scenario's to say.
    with nullcontext() if run.network.topology.first else _first_one_has_hooks(), KernelMessages() as messages:
        try:
            namespace = run.add_netns(step.netns)
        except OSError as error:
            told = NO_PROC in {line.text for line in messages.complete()}
            return StepOutcome(index, error.errno or errno.EIO, facts=(("log", NO_PROC if told else "nothing"),))
    inode, left = changes.proc_inode(namespace), _procs_left(run, namespace)
    run.open_sinks(index)
    arrays = tuple(array for array in run.all_arrays(step.netns) if array[1])
    own = "none" if inode is None else "shared" if inode in others else "own"
    amiss: list[tuple[str, str | int]] = [("proc left", left)] if left else []
    if inode is not None and not changes.has_loggers(namespace):
        amiss.append(("nf_log", "missing"))
    return StepOutcome(index, 0, arrays, facts=(("proc", own), *amiss))


def _procs_left(run: Run, namespace: Namespace) -> int:
    """How many directories of dead namespaces are there still.

    A number that is passed by may be given back late, or belong to what cannot be seen. Where directories stay, those of other namespaces
    do, too: each adds one.
    """
    if not (left := run.procs.left(namespace)):
        return 0
    now = 0
    for _ in range(_LOOKS):
        other = netns.create(f"{run.network.prefix}-procs")
        try:
            now = run.procs.left(other)
        finally:
            other.delete()
        if not changes.await_quiet(next(iter(run.modules.values())), _GONE_SECONDS):  # its number is its own still
            return 0
        time.sleep(_LATE_SECONDS)
        grace_period()
        run.procs.died(other)
    return left if now >= _LOOKS else 0


@contextmanager
def _first_one_has_hooks() -> Iterator[None]:
    """Hooks of IPv4 and IPv6 in the initial namespace, where there are none on many kernels: no other namespace is to inherit them."""
    hooks = [Hook(number, family, hook_number(family, "INPUT"), 0, Verdict(VerdictKind.ACCEPT))
             for number, family in enumerate((Family.IPV4, Family.IPV6), 1)]
    with HookModule() as first:
        there = [hook.id for hook, refused in zip(hooks, first.add_hooks(hooks), strict=True) if refused is None]
        try:
            yield
        finally:
            for number in there:
                first.del_hook(number)


def netns_delete(run: Run, index: int, step: DeleteNetns) -> StepOutcome:
    namespace = run.network.namespaces[step.netns]
    run.procs.saw(namespace)
    with changes.proc_directory(namespace) as entries, _counted(run, lost_devices(run.topologies[index], step), step.netns):
        run.delete_netns(step.netns)
        gone = changes.await_gone(next(iter(run.modules.values())), namespace.inum, _GONE_SECONDS)
        left = bool(entries())
    if gone and changes.await_quiet(next(iter(run.modules.values())), _GONE_SECONDS):  # all of cleanup_net() is over
        grace_period()  # procfs gives its numbers back that much later
        run.procs.died(namespace)
    return StepOutcome(index, facts=(("netns", "gone" if gone else "there"), ("proc", "there" if left else "gone")))


def device_add(run: Run, index: int, step: AddDevice) -> StepOutcome:
    changes.add_dummy(run.network, step.netns, step.device, up=step.up)
    return StepOutcome(index, 0, _arrays(run, [(step.netns, step.device)]))


def link_add(run: Run, index: int, step: AddLink) -> StepOutcome:
    changes.add_link(run.network, step.a, step.b)
    return StepOutcome(index, 0, _arrays(run, [(end.netns, end.device) for end in (step.a, step.b)]))


def device_delete(run: Run, index: int, step: DeleteDevice) -> StepOutcome:
    lost = lost_devices(run.topologies[index], step)
    with _counted(run, lost):
        changes.delete_device(run.network, step.netns, step.device)
    return StepOutcome(index)


def device_move(run: Run, index: int, step: MoveDevice) -> StepOutcome:
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


def keys(run: Run, index: int, _step: Keys) -> StepOutcome:
    try:
        found = needed(next(iter(run.modules.values())))
    except HookRefused as refusal:
        return StepOutcome(index, refusal.errno or 0)
    changes = {name: count - run.keys[name] for name, count in found.items()}
    return StepOutcome(index, facts=tuple(sorted((name, change) for name, change in changes.items() if change)))


def keys_baseline(run: Run) -> None:
    """Remember what the static keys count before the scenario.

    :raises GuestError: namespaces of others do not come to their end: they would count
    """
    module = next(iter(run.modules.values()))
    if not changes.await_quiet(module, _GONE_SECONDS):
        raise GuestError(f"namespaces are being cleaned up for more than {_GONE_SECONDS:.0f} s", hint="look at the kernel's log: dmesg")
    with suppress(HookRefused):  # which the step says
        run.keys.update(needed(module))


def memory(run: Run, index: int, _step: Memory) -> StepOutcome:
    try:
        found = run.modules[next(iter(run.modules))].memory(settle=True)
    except HookRefused as refusal:
        return StepOutcome(index, refusal.errno or 0)
    before = run.memory
    early = found.early - (before.early if before else 0)
    overwritten = found.overwritten - (before.overwritten if before else 0)
    left = max(0, len(found.leaked) - (len(before.leaked) if before else 0)) + found.waiting
    return StepOutcome(index, facts=remembered(found.allocated - (before.allocated if before else 0), left, early, overwritten))
