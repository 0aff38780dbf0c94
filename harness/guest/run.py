"""What the executor keeps while a scenario is under way; what each step does with it is in :mod:`harness.guest.steps`."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from harness.guest import changes
from harness.guest.arrays import Arrays, all_arrays, arrays_of, points_of
from harness.guest.ground import Ground
from harness.guest.health import KernelLog, splats, warn_again
from harness.guest.journal import Journal
from harness.guest.module import ArrayBooks, Hook, HookModule, HookRefused
from harness.guest.netns import Namespace
from harness.guest.nfnetlink_hook import HookList
from harness.guest.procs import Procs
from harness.guest.queue import Listener, queues
from harness.guest.settle import PacketWatch
from harness.guest.topology import Network
from harness.guest.traffic import Sinks
from harness.netfilter import Family, hook_number
from harness.outcome.types import QueueState, queue_key
from harness.scenario.step import Point, Scenario, topologies
from harness.scenario.steps.bpf import BpfLink
from harness.scenario.steps.hooks import Register, is_point
from harness.scenario.steps.raw import RawInsert
from harness.scenario.topology import Topology
from harness.trace.capture import Capture
from harness.walks.counts import Count

__all__ = ("Run", "Sent")


@dataclass(frozen=True, slots=True)
class Sent:
    """A packet that was sent.

    :param errno: of ``sendto()``
    :param source: its namespace's name in ``/run/netns``
    :param to: the same of the namespace that the packet is meant for
    :param kind: as of :class:`harness.outcome.types.PacketOutcome`
    :param parts: datagrams that a socket there gets of it
    """

    errno: int
    source: str
    to: str
    kind: str
    parts: int = 1


@dataclass(slots=True)
class Run:
    """A scenario under way.

    :param capture: the tracer, armed
    :param ids: the module's number for each hook that is in core's arrays or was
    :param labels: the scenario's name for each number
    :param registers: what each hook's step said of it
    :param calls: the module's own count of each hook's calls
    :param batches: hook → all that came with it
    :param sent: packets by cookie
    :param private: hook in a private array → the step that put it there
    :param numbers: the module's number for each private array
    :param listeners: by namespace and number of the queue
    :param links: BPF links, each with its file descriptor
    :param synthetic: cookies of datagrams that are no packets of the scenario's: what a tracer sees of them is no packet's walk
    :param listed: cookies of datagrams that go through private arrays in lists, by the scenario's numbers for them
    :param failed: steps that answered with an errno
    :param doubts: why what was seen cannot be trusted
    :param said: the kernel's log around its warnings
    :param journal: what was registered, and other readings of it
    :ivar topologies: what each step finds
    :ivar redirects: whether ports of packets are changed on their way
    :ivar ends: source, namespace and address of packets, by topology (its ``id()``), sender, destination and family
    :ivar sightings: of namespaces, see :func:`harness.walks.sightings.told_apart`
    :ivar keys: static keys before the first step, by name
    :ivar procs: what of namespaces is left in procfs
    :ivar memory: core's arrays before the first step; ``None`` where they cannot be followed
    """

    scenario: Scenario
    ground: Ground
    log: KernelLog
    capture: Capture
    watch: PacketWatch = field(init=False)
    ids: dict[str, int] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)
    registers: dict[str, Register] = field(default_factory=dict)
    calls: dict[int, Count] = field(default_factory=dict)
    batches: dict[str, tuple[Register, ...]] = field(default_factory=dict)
    sent: dict[int, Sent] = field(default_factory=dict)
    private: dict[str, RawInsert] = field(default_factory=dict)
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    listeners: dict[tuple[str, int], Listener] = field(default_factory=dict)
    links: dict[str, tuple[BpfLink, int]] = field(default_factory=dict)
    synthetic: set[int] = field(default_factory=set)
    listed: dict[int, int] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)
    doubts: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    keys: Counter[str] = field(default_factory=Counter)
    procs: Procs = field(default_factory=Procs)
    memory: ArrayBooks | None = None
    journal: Journal = field(init=False)
    topologies: tuple[Topology, ...] = field(init=False)
    redirects: bool = field(init=False)
    ends: dict[tuple[int, str, str, Family], tuple[str, str, str]] = field(default_factory=dict)
    sightings: list[tuple[int, int, str]] = field(init=False)
    _unused: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        self.watch = PacketWatch(self.capture, self.sinks)
        taken = {step.traffic.cookie for step in self.scenario.steps}
        self.journal = Journal(self.ground.lists, left=dict(self.ground.before))
        self.topologies = topologies(self.scenario.topology, self.scenario.steps)
        self.redirects = any(step.facts.redirects for step in self.scenario.steps)
        self.sightings = [(0, namespace.inum, name) for name, namespace in self.network.namespaces.items()]
        self._unused = (number for number in range(2**64 - 1, 0, -1) if number not in taken)

    @property
    def network(self) -> Network:
        return self.ground.network

    @property
    def modules(self) -> dict[str, HookModule]:
        return self.ground.modules

    @property
    def sinks(self) -> Sinks:
        return self.ground.sinks

    def splats(self) -> tuple[str, ...]:
        """What the kernel warned of since the last call; it will warn of the same again."""
        lines = self.log.lines()
        found = tuple(splat.summary for splat in splats(lines))
        if found:
            self.said += [line.text for line in lines]
            warn_again()
        return found

    def add_netns(self, name: str) -> Namespace:
        """Make another namespace and open the module in it."""
        namespace = changes.add_netns(self.network, name)
        self.sightings.append((time.monotonic_ns(), namespace.inum, name))
        self.modules[name] = HookModule(namespace)
        if self.journal.lists:
            self.journal.lists[name] = HookList(namespace)
        return namespace

    def delete_netns(self, name: str) -> None:
        """Let go of all that is open in a namespace, and of the namespace."""
        for netns, number in [key for key in self.listeners if key[0] == name]:
            self.hang_up(netns, number)
        self.modules.pop(name).close()
        if name in self.journal.lists:
            self.journal.lists.pop(name).close()
        self.sinks.close_netns(self.network.namespaces[name])
        self.ground.senders.close_netns(self.network.namespaces[name])
        changes.delete_netns(self.network, name)

    def queues(self) -> tuple[tuple[str, QueueState], ...]:
        """The kernel's books of the queues that have a listener."""
        return tuple((queue_key(netns, number), state) for netns in sorted({netns for netns, _ in self.listeners})
                     for number, state in queues(self.network.namespaces[netns]))

    def hang_up(self, netns: str, number: int) -> None:
        """Let a listener die, and what waits for it be freed."""
        waits = dict(queues(self.network.namespaces[netns]))[number].total
        self.watch.settle_all()  # what an unregistration has freed does not wait any more
        self.listeners.pop((netns, number)).close()
        self.watch.settle_waiting(len(self.watch.waiting) - waits)

    def ifindex(self, netns: str, device: str | None) -> int:
        """0 for no device."""
        return self.network.ifindexes[netns, device] if device else 0

    def new_id(self, label: str) -> int:
        """The module's number for another hook.

        :param label: the scenario's name for it
        """
        number = self.ids[label] = len(self.ids) + 1
        self.labels[number] = label
        return number

    def new_cookie(self) -> int:
        """A cookie for a datagram that the module makes, which no packet of the scenario has."""
        cookie = next(self._unused)
        self.synthetic.add(cookie)
        return cookie

    def list_cookie(self, number: int) -> int:
        """The cookie of a packet of lists that the module makes.

        :param number: the scenario's for it
        """
        if number not in self.listed:
            self.listed[number] = self.new_cookie()
        return self.listed[number]

    def hook(self, step: Register) -> Hook:
        """The hook of a registration, as the module takes it."""
        number = self.new_id(step.id)
        self.registers[step.id] = step
        ifindex = self.ifindex(step.device_netns or step.netns, step.device)
        return Hook(number, step.pf, hook_number(step.pf, step.hook), step.priority, step.verdict, ifindex, step.cookie,
                    reinject_verdict=step.reinjected, times=step.times)

    def arrays(self, netns: str, pf: Family, hook: str, device: str | None) -> Arrays:
        """The array(s) of a point; none for a point that the kernel has not."""
        points = points_of(pf, hook_number(pf, hook), device)
        try:
            return arrays_of(self.modules[netns], self.network, netns, points, self.labels)
        except HookRefused:
            return ()

    def arrays_of(self, hooks: Iterable[Point]) -> Arrays:
        """The arrays of several hooks' points, of those that the kernel has."""
        points = {(hook.device_netns or hook.netns, hook.pf, hook.hook, hook.device) for hook in hooks
                  if is_point(hook.pf, hook.hook, hook.device)}
        return tuple(sorted({key: slots for point in points for key, slots in self.arrays(*point)}.items()))

    def all_arrays(self, netns: str) -> Arrays:
        """The arrays in a namespace that are not empty."""
        return all_arrays(self.modules[netns], self.network, netns, self.labels)

    def open_sinks(self, since: int = 0) -> None:
        """Open the sockets in which packets are meant to end: without them the kernel answers with errors.

        :param since: the step from which on packets are sent
        """
        for step, topology in list(zip(self.scenario.steps, self.topologies, strict=False))[since:]:
            for sink in step.facts.sinks(step, topology):
                family = socket.AF_INET6 if sink.version == 6 else socket.AF_INET
                if sink.netns not in self.network.namespaces:
                    continue  # it comes later
                if sink.kind == "udp":
                    self.sinks.add_udp(self.network.namespaces[sink.netns], family, sink.port)
                else:
                    self.sinks.add_echo(self.network.namespaces[sink.netns], family)
