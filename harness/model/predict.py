"""The model as an executor: a scenario in, the outcome that core.c's rules give out."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from harness.model.entries import DUMMY_OPS, HookOps
from harness.model.foreign import Foreign, Oracle, adopt
from harness.model.path import Packet, Stack
from harness.model.raw import RawArrays, splats
from harness.model.register import ARRAY_SIZE, NET_DEVICE_HOOKS, NETDEV_INGRESS, Core, Net
from harness.model.slow import Context, Skb
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.outcome.profile import KernelProfile
from harness.outcome.types import BEFORE, OUR_MODULE, OURS, Outcome, PacketOutcome, Slot, StepOutcome, point_key
from harness.scenario.routing import source_address
from harness.scenario.steps import (
    BatchStep,
    Dump,
    Nft,
    RawDelete,
    RawInsert,
    RawRun,
    Register,
    RegisterAgain,
    RegisterBatch,
    RegisterMany,
    Scenario,
    Send,
    Step,
    Unregister,
    UnregisterAbsent,
    UnregisterBatch,
    destination,
    is_point,
    packet_summary,
)

__all__ = ("predict",)

Arrays = tuple[tuple[str, tuple[Slot, ...]], ...]
"""Slots by :func:`harness.outcome.types.point_key`."""

Point = tuple[Family, int, str | None]
"""Family, number and device of a hook point that has an array."""


def predict(scenario: Scenario, profile: KernelProfile | None = None, foreign: Foreign | None = None) -> Outcome:
    """What the scenario does on a kernel of that profile.

    :param foreign: what was seen of hooks that are not the scenario's own (:func:`harness.model.foreign.seen`); none by default
    """
    run = _Run(scenario, Core(profile or KernelProfile()), Oracle(foreign or Foreign()))
    steps = (*run.before(), *(run.step(index, step) for index, step in enumerate(scenario.steps)))
    return Outcome(steps, tuple(run.packets), doubts=tuple(run.stack.doubts))


def _hook_ops(step: Register, net: Net) -> HookOps:
    """``nfharness_hook``: its verdict for the packet with its cookie, or for all; ACCEPT for others."""
    def hook(_ops: HookOps, context: Context) -> Verdict:
        return step.verdict if step.cookie in (None, context.skb.cookie) else Verdict(VerdictKind.ACCEPT)

    device = net.devices[step.device] if step.device is not None else None
    return HookOps(hook, OURS, OUR_MODULE, step.pf, hook_number(step.pf, step.hook), step.priority, device, step.id)


@dataclass(slots=True)
class _Run:
    """A scenario under way. :param live: hooks of ours that are registered; :param registers: the steps that name all of them"""

    scenario: Scenario
    core: Core
    oracle: Oracle
    nets: dict[str, Net] = field(init=False)
    stack: Stack = field(init=False)
    live: dict[str, HookOps] = field(default_factory=dict)
    registers: dict[str, Register] = field(default_factory=dict)
    packets: list[PacketOutcome] = field(default_factory=list)
    batches: dict[str, tuple[Register, ...]] = field(default_factory=dict)
    again: Counter[str] = field(default_factory=Counter)
    raw: RawArrays = field(init=False)

    def __post_init__(self) -> None:
        topology = self.scenario.topology
        self.nets = {netns: Net(netns) for netns in topology.namespaces}
        for netns, net in self.nets.items():
            for device in topology.devices(netns):
                net.add_device(device)
        self.stack = Stack(topology, self.core, self.nets)
        self.raw = RawArrays(self.core)

    def before(self) -> Iterator[StepOutcome]:
        """Foreign hooks that were there first, if any were seen."""
        if BEFORE in self.oracle.foreign.arrays:
            yield self._adopt(BEFORE)

    def step(self, index: int, step: Step) -> StepOutcome:
        self.core.warnings.clear()
        match step:
            case RawInsert() | RawDelete() | RawRun():
                outcome = self.raw.step(index, step)
            case RegisterBatch() | UnregisterBatch() | RegisterAgain() | UnregisterAbsent():
                outcome = self._batch_step(index, step)
            case _:
                outcome = self._step(index, step)
        return replace(outcome, splats=splats(self.core.warnings))

    def _step(self, index: int, step: Register | RegisterMany | Unregister | Send | Dump | Nft) -> StepOutcome:
        match step:
            case Register():
                return StepOutcome(index, self._register(step), self._arrays(step))
            case RegisterMany():
                errnos = [self._register(each) for each in step.each()]
                return StepOutcome(index, next(filter(None, errnos), 0), self._arrays(step))
            case Unregister():
                return StepOutcome(index, self._unregister(step), self._arrays(self.registers[step.id]))
            case Dump():
                return StepOutcome(index, self._module_refuses(step.pf, step.hook), self._arrays(step))
            case Send():
                return StepOutcome(index, self._send(step))
            case Nft():
                return self._adopt(index)

    def _batch_step(self, index: int, step: BatchStep) -> StepOutcome:
        match step:
            case RegisterBatch():
                return StepOutcome(index, self._register_batch(step), self._arrays_of(step.hooks))
            case UnregisterBatch():
                hooks = self.batches[step.id]
                if step.id not in self.live:
                    return StepOutcome(index, errno.ENOENT, self._arrays_of(hooks))
                self.core.nf_unregister_net_hooks(self.nets[hooks[0].netns], [self.live.pop(hook.id) for hook in hooks])
                return StepOutcome(index, 0, self._arrays_of(hooks))
            case RegisterAgain():
                hook, ops = self.registers[step.id], self.live.get(step.id)
                err = -self.core.nf_register_net_hook(self.nets[hook.netns], ops) if ops else errno.ENOENT
                self.again[step.id] += not err
                return StepOutcome(index, err, self._arrays_of((hook,)))
            case UnregisterAbsent():
                absent = Register("", step.netns, step.pf, step.hook, device=step.device)
                net = self.nets[step.netns]
                self.core.nf_unregister_net_hook(net, _hook_ops(absent, net))
                return StepOutcome(index, 0, self._arrays_of((absent,)))

    def _register_batch(self, step: RegisterBatch) -> int:
        self.registers.update({hook.id: hook for hook in step.hooks})
        self.batches.update(dict.fromkeys((hook.id for hook in step.hooks), step.hooks))
        net = self.nets[step.netns]
        batch = {hook.id: _hook_ops(hook, net) for hook in step.hooks}
        err = self.core.nf_register_net_hooks(net, list(batch.values()))
        if err == 0:
            self.live.update(batch)
        return -err

    def _arrays_of(self, hooks: Iterable[Register]) -> Arrays:
        """The arrays of several hooks' points, of those that the kernel has."""
        return tuple(sorted({key: slots for hook in hooks if is_point(hook) for key, slots in self._arrays(hook)}.items()))

    def _module_refuses(self, pf: Family, hook: str) -> int:
        """Points that this kernel has not: nfharness.ko answers before core is asked. :returns: a positive errno, or 0"""
        if pf not in self.core.profile.families:
            return errno.EAFNOSUPPORT
        if pf in ARRAY_SIZE and hook_number(pf, hook) >= ARRAY_SIZE[pf]:
            return errno.EINVAL
        if pf is Family.NETDEV and hook == "EGRESS" and not self.core.profile.netdev_egress:
            return self.core.profile.netdev_egress_errno
        return 0

    def _register(self, step: Register) -> int:
        self.registers[step.id] = step
        refused = self._module_refuses(step.pf, step.hook)
        if refused:
            return refused
        net = self.nets[step.netns]
        ops = _hook_ops(step, net)
        err = self.core.nf_register_net_hook(net, ops)
        if err == 0:
            self.live[step.id] = ops
        return -err

    def _unregister(self, step: Unregister) -> int:
        ops = self.live.get(step.id)
        if ops is None:
            return errno.ENOENT
        if self.again[step.id]:
            self.again[step.id] -= 1
        else:
            del self.live[step.id]
        self.core.nf_unregister_net_hook(self.nets[self.registers[step.id].netns], ops)
        return 0

    def _arrays(self, step: Register | RegisterMany | Dump) -> Arrays:
        """The arrays of the point(s) of a step, as they are now; none for a point that the kernel has not."""
        if self._module_refuses(step.pf, step.hook):
            return ()
        number = hook_number(step.pf, step.hook)
        points: list[Point] = [(step.pf, number, step.device)]
        if step.pf is Family.INET and step.device is not None:
            points = [(Family.NETDEV, NETDEV_INGRESS, step.device)]
        elif step.pf is Family.INET:
            points = [(Family.IPV4, number, None), (Family.IPV6, number, None)]
        return tuple(self._array(step.netns, point) for point in points)

    def _array(self, netns: str, point: Point) -> tuple[str, tuple[Slot, ...]]:
        pf, number, device = point
        net = self.nets[netns]
        head = net.hooks[pf][number] if device is None else net.devices[device].hooks[number]
        slots = (Slot(index, ops.function, ops.module, ops.priority, ops is DUMMY_OPS, ops.label)
                 for index, ops in enumerate(head.entries or ()))
        return point_key(netns, pf, number, device), tuple(slots)

    def _send(self, step: Send) -> int:
        """Send the packet, then whatever the stacks answer, one packet after the other. :returns: what ``sendto()`` failed with"""
        topology = self.scenario.topology
        _, to = destination(topology, step)
        source = source_address(topology, step.source, to)
        packet = Packet(Skb(step.cookie), "udp" if step.kind == "udp" else "echo request", source, to, step.size,
                        packet_summary(topology, step), step.ttl)
        sender = step.source
        fate = self.stack.sendto(sender, packet)
        self.packets.append(packet.outcome(fate))
        while self.stack.answers:
            sender, answer = self.stack.answers.pop(0)
            fate = self.stack.sendto(sender, answer)
            answer.sent_errno = 0  # nobody called sendto()
            self.packets.append(answer.outcome(fate))
        return packet.sent_errno

    def _adopt(self, index: int) -> StepOutcome:
        """A ruleset brings or takes the foreign hooks that it was seen to; their arrays come out as the model has them."""
        arrays = self.oracle.foreign.arrays.get(index, ())
        adopt(self.core, self.nets, arrays, self.oracle)
        points = {point_key(netns, *point): (netns, point) for netns, point in self._all_points()}
        return StepOutcome(index, 0, tuple(self._array(*points[key]) for key, _ in arrays if key in points))

    def _all_points(self) -> Iterator[tuple[str, Point]]:
        for netns, net in self.nets.items():
            for pf, heads in net.hooks.items():
                yield from ((netns, (pf, number, None)) for number in range(len(heads)))
            for device in net.devices:
                yield from ((netns, (Family.NETDEV, number, device)) for number in NET_DEVICE_HOOKS)
