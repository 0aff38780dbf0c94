"""Steps that make and end namespaces and devices: what both take along when they go, and the static keys."""

from __future__ import annotations

import errno
from collections.abc import Collection
from dataclasses import replace

from harness.model.entries import DUMMY_OPS
from harness.model.run import Arrays, Run
from harness.model.structures import NETDEV_EGRESS, NETDEV_INGRESS, Net, NetDevice
from harness.netfilter import Family
from harness.outcome.facts import remembered
from harness.outcome.types import OURS, StepOutcome
from harness.scenario.step import lost_devices
from harness.scenario.steps.namespaces import AddDevice, AddLink, AddNetns, DeleteDevice, DeleteNetns, Keys, Memory, MoveDevice
from harness.scenario.topology import LOOPBACK

__all__ = ("device_add", "device_delete", "device_move", "keys", "link_add", "memory", "netns_add", "netns_delete")


def netns_add(run: Run, index: int, step: AddNetns) -> StepOutcome:
    net = run.core.netfilter_net_init(step.netns)
    if isinstance(net, int):
        return StepOutcome(index, -net, facts=(("log", run.core.log.pop() if run.core.log else "nothing"),))
    run.nets[step.netns] = net
    net.add_device(LOOPBACK)
    left = sum(other not in run.nets.values() for other in run.core.proc)
    return replace(run.adopt(index), facts=(("proc", "own" if net in run.core.proc else "none"), *([("proc left", left)] if left else [])))


def netns_delete(run: Run, index: int, step: DeleteNetns) -> StepOutcome:
    net = run.nets[step.netns]
    for netns, number in [key for key in run.stack.queues.instances if key[0] == step.netns]:
        run.stack.queues.release(netns, number)
    _take_devices(run, lost_devices(run.topologies[index], step))
    _unregister(run, [name for name, hook in run.registers.items() if name in run.live and hook.netns == step.netns])
    _unregister_foreign(run, net, [(pf, number) for pf, heads in net.hooks.items() for number in range(len(heads))], None)
    for label in [label for label, (key, _) in run.private.items() if key[0] == step.netns]:
        del run.private[label]
    run.heads = {key: head for key, head in run.heads.items() if key[0] != step.netns}
    run.core.netfilter_net_exit(net)
    del run.nets[step.netns]
    return StepOutcome(index, facts=(("netns", "gone"), ("proc", "there" if net in run.core.proc else "gone")))


def device_add(run: Run, index: int, step: AddDevice) -> StepOutcome:
    found = _added(run, [(step.netns, step.device)])
    run.nets[step.netns].devices[step.device].up = step.up
    return StepOutcome(index, 0, found)


def link_add(run: Run, index: int, step: AddLink) -> StepOutcome:
    for end in (step.a, step.b):
        run.stack.neighbours.add_device(run.topologies[index + 1], end.netns, end.device)
    return StepOutcome(index, 0, _added(run, [(end.netns, end.device) for end in (step.a, step.b)]))


def device_delete(run: Run, index: int, step: DeleteDevice) -> StepOutcome:
    _take_devices(run, lost_devices(run.topologies[index], step))
    return StepOutcome(index)


def device_move(run: Run, index: int, step: MoveDevice) -> StepOutcome:
    run.stack.neighbours.ifdown(step.netns, step.device, (step.to, step.device))
    _take_devices(run, [(step.netns, step.device)])
    return StepOutcome(index, 0, _added(run, [(step.to, step.device)]))


def _added(run: Run, devices: Collection[tuple[str, str]]) -> Arrays:
    """New devices, and their arrays: there are none."""
    for netns, device in devices:
        run.nets[netns].add_device(device)
    points = [(netns, hook, device) for netns, device in devices for hook in ("INGRESS", "EGRESS")]
    return tuple(sorted(array for netns, hook, device in points for array in run.arrays(netns, Family.NETDEV, hook, device)))


def _take_devices(run: Run, lost: Collection[tuple[str, str]]) -> None:
    """``NETDEV_UNREGISTER``: owners unregister their hooks on the device."""
    _unregister(run, [name for name, hook in run.registers.items() if name in run.live and (hook.netns, hook.device) in lost])
    for netns, name in lost:
        net = run.nets[netns]
        device = net.devices[name]
        _unregister_foreign(run, net, [(Family.NETDEV, number) for number in (NETDEV_INGRESS, NETDEV_EGRESS)], device)
        del net.devices[name]
        run.stack.neighbours.ifdown(netns, name)


def _unregister(run: Run, labels: Collection[str]) -> None:
    for label in labels:
        ops = run.live.pop(label)
        for _ in range(1 + run.again.pop(label, 0)):
            run.core.nf_unregister_net_hook(run.nets[run.registers[label].netns], ops)


def _unregister_foreign(run: Run, net: Net, points: Collection[tuple[Family, int]], device: NetDevice | None) -> None:
    """Every owner takes its own: what is left is a security module's, or a ruleset's."""
    for pf, number in points:
        head = net.hooks[pf][number] if device is None else device.hooks[number]
        for ops in [ops for ops in head.entries or () if ops is not DUMMY_OPS and ops.function != OURS]:
            run.core._unregister(net, pf, ops)


def keys(run: Run, index: int, _step: Keys) -> StepOutcome:
    if not run.core.profile.static_keys:
        return StepOutcome(index, errno.EOPNOTSUPP)
    changes = {name: count - run.keys[name] for name, count in run.needed().items()}
    return StepOutcome(index, facts=tuple(sorted((name, change) for name, change in changes.items() if change)))


def memory(run: Run, index: int, _step: Memory) -> StepOutcome:
    books = run.core.books
    return StepOutcome(index, facts=remembered(books.allocated, books.replaced - books.freed, books.early, books.overwritten))
