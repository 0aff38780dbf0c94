"""What the model keeps while a scenario is under way; what each step does with it is in :mod:`harness.model.steps`."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from harness.model.conntrack import Tracking
from harness.model.entries import DUMMY_OPS, Books
from harness.model.foreign import Oracle, adopt
from harness.model.nat import Redirections
from harness.model.path import Packet, Stack, known_hooks, register_br_netfilter
from harness.model.register import Core
from harness.model.structures import ARRAY_SIZE, NET_DEVICE_HOOKS, NETDEV_INGRESS, Head, HookOps, Net
from harness.model.sysctl import given
from harness.netfilter import Family, hook_name, hook_number
from harness.outcome.types import BEFORE, Slot, StepOutcome, point_key
from harness.scenario.step import Scenario, topologies
from harness.scenario.steps.bpf import BpfLink
from harness.scenario.steps.conntrack import KERNEL_MODULES
from harness.scenario.steps.hooks import Register, is_point
from harness.scenario.topology import Topology

__all__ = ("Arrays", "Point", "Run", "slots_of")

Arrays = tuple[tuple[str, tuple[Slot, ...]], ...]
"""Slots by :func:`harness.outcome.types.point_key`."""

Point = tuple[Family, int, str | None]
"""Family, number and device of a hook point that has an array."""


@dataclass(slots=True)
class Run:
    """A scenario under way.

    :param live: hooks of ours that are registered
    :param registers: what each hook's step said of it
    :param batches: hook → all that came with it
    :param again: hook → registrations beside the first
    :param heads: of private arrays, by namespace and name
    :param private: hooks in private arrays, with the array
    :param inserted: hook → the private array that its step named
    :param links: BPF links, each with its hook
    :param packets: in the order in which they were sent
    :param nat: redirections
    :ivar topologies: what each step finds
    :ivar keys: static keys before the first step
    """

    scenario: Scenario
    core: Core
    oracle: Oracle
    nets: dict[str, Net] = field(default_factory=dict, init=False)
    stack: Stack = field(init=False)
    topologies: tuple[Topology, ...] = field(init=False)
    keys: Counter[str] = field(init=False)
    live: dict[str, HookOps] = field(default_factory=dict)
    registers: dict[str, Register] = field(default_factory=dict)
    batches: dict[str, tuple[Register, ...]] = field(default_factory=dict)
    again: Counter[str] = field(default_factory=Counter)
    heads: dict[tuple[str, str], Head] = field(default_factory=dict)
    private: dict[str, tuple[tuple[str, str], HookOps]] = field(default_factory=dict)
    inserted: dict[str, tuple[str, str]] = field(default_factory=dict)
    links: dict[str, tuple[BpfLink, HookOps]] = field(default_factory=dict)
    packets: list[Packet] = field(default_factory=list)
    nat: Redirections = field(default_factory=Redirections)

    def __post_init__(self) -> None:
        topology = self.scenario.topology
        self.topologies = topologies(topology, self.scenario.steps)
        for netns in topology.namespaces:
            net = self.core.netfilter_net_init(netns, first=netns == topology.first)
            if isinstance(net, Net):  # there is memory before the first step
                self.nets[netns] = net
                net.sysctl = given(topology, netns)
        for netns, net in self.nets.items():
            for device in topology.devices(netns):
                net.add_device(device)
        self.stack = Stack(topology, self.core, self.nets, self.tracking, self.nat)
        for one in topology.interfaces():
            self.stack.neighbours.add_device(topology, one.netns, one.device)
        register_br_netfilter(self.stack)

    @property
    def tracking(self) -> Tracking:
        return self.oracle.tracking

    def before(self) -> Iterator[StepOutcome]:
        """Foreign hooks that were there first, if any were seen."""
        if BEFORE in self.oracle.foreign.arrays:
            reported = {key for key, _ in self.oracle.foreign.arrays[BEFORE]}
            empty = (point_key(netns, *point) for netns, point in self._all_points())
            adopt(self.core, self.nets, tuple((key, ()) for key in empty if key not in reported), self.oracle, {})
            self.core.books = Books()
            yield self.adopt(BEFORE)
        self.keys = self.needed()

    def needed(self) -> Counter[str]:
        """How often each point, and each direction of devices, is needed, by name."""
        points = {f"{pf.name} {hook_name(pf, number)}": count for (pf, number), count in self.core.nf_hooks_needed.items()}
        return Counter({**points, **self.core.queues_needed})

    def adopt(self, index: int) -> StepOutcome:
        """Foreign hooks come or go as they were seen to; their arrays come out as the model has them."""
        arrays = self.oracle.foreign.arrays.get(index, ())
        own = replace(self.core.books)
        adopt(self.core, self.nets, arrays, self.oracle, known_hooks(self.stack))
        self.core.books = own  # others' arrays are not in it
        for module in {slot.module for _, slots in arrays for slot in slots} & KERNEL_MODULES.keys():
            self.tracking.load(str(module))
        points = {point_key(netns, *point): (netns, point) for netns, point in self._all_points()}
        return StepOutcome(index, 0, tuple(self._array(*points[key]) for key, _ in arrays if key in points))

    def module_refuses(self, pf: Family, hook: str) -> int:
        """Points that this kernel has not: nfharness.ko answers before core is asked.

        :returns: a positive errno, or 0
        """
        if pf not in self.core.profile.families:
            return errno.EAFNOSUPPORT
        if pf in ARRAY_SIZE and hook_number(pf, hook) >= ARRAY_SIZE[pf]:
            return errno.EINVAL
        if pf is Family.INET and hook == "INGRESS" and Family.NETDEV not in self.core.profile.families:
            return errno.EOPNOTSUPP
        if pf is Family.NETDEV and hook == "EGRESS" and not self.core.profile.netdev_egress:
            return self.core.profile.netdev_egress_errno
        return 0

    def arrays(self, netns: str, pf: Family, hook: str, device: str | None) -> Arrays:
        """The array(s) of a point, as they are now; none for a point that the kernel has not."""
        if self.module_refuses(pf, hook) or not is_point(pf, hook, device):
            return ()
        number = hook_number(pf, hook)
        points: list[Point] = [(pf, number, device)]
        if pf is Family.INET and device is not None:
            points = [(Family.NETDEV, NETDEV_INGRESS, device)]
        elif pf is Family.INET:
            points = [(Family.IPV4, number, None), (Family.IPV6, number, None)]
        return tuple(self._array(netns, point) for point in points)

    def arrays_of(self, hooks: Iterable[Register]) -> Arrays:
        """The arrays of several hooks' points, of those that the kernel has."""
        points = [(hook.device_netns or hook.netns, hook.pf, hook.hook, hook.device) for hook in hooks]
        return tuple(sorted({key: slots for point in points for key, slots in self.arrays(*point)}.items()))

    def _array(self, netns: str, point: Point) -> tuple[str, tuple[Slot, ...]]:
        pf, number, device = point
        net = self.nets[netns]
        head = net.hooks[pf][number] if device is None else net.devices[device].hooks[number]
        return point_key(netns, pf, number, device), slots_of(head)

    def _all_points(self) -> Iterator[tuple[str, Point]]:
        for netns, net in self.nets.items():
            for pf, heads in net.hooks.items():
                yield from ((netns, (pf, number, None)) for number in range(len(heads)))
            for device in net.devices:
                yield from ((netns, (Family.NETDEV, number, device)) for number in NET_DEVICE_HOOKS)


def slots_of(head: Head) -> tuple[Slot, ...]:
    """An array in the terms of an outcome."""
    return tuple(Slot(index, ops.function, ops.module, ops.priority, ops is DUMMY_OPS, ops.label)
                 for index, ops in enumerate(head.entries or ()))
