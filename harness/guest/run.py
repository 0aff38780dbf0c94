"""What the executor keeps while a scenario is under way; what each step does with it is in :mod:`harness.guest.steps`."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from harness.guest.arrays import Arrays, all_arrays, arrays_of, points_of
from harness.guest.ground import Ground
from harness.guest.health import KernelLog, warn_again
from harness.guest.module import Hook, HookModule, HookRefused
from harness.guest.settle import Watch
from harness.guest.topology import Network
from harness.guest.traffic import Sinks
from harness.netfilter import Family, hook_number
from harness.scenario.steps import RawInsert, Register, Scenario, Send, destination, is_point
from harness.trace.capture import Capture
from harness.trace.walk import Count

__all__ = ("Run",)


@dataclass(slots=True)
class Run:
    """A scenario under way.

    :param capture: the tracer, armed
    :param ids: the module's number for each hook that is in core's arrays or was; :param labels: the scenario's name for each number
    :param registers: what each hook's step said of it
    :param calls: the module's own count of each hook's calls
    :param batches: hook → all that came with it
    :param sent: cookie → what ``sendto()`` failed with, 0 if it did not
    :param private: hook in a private array → the step that put it there
    :param numbers: the module's number for each private array
    :param synthetic: cookies of datagrams that the module made: what a tracer sees of them is no packet's walk
    """

    scenario: Scenario
    ground: Ground
    log: KernelLog
    capture: Capture
    watch: Watch = field(init=False)
    ids: dict[str, int] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)
    registers: dict[str, Register] = field(default_factory=dict)
    calls: dict[int, Count] = field(default_factory=dict)
    batches: dict[str, tuple[Register, ...]] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)
    private: dict[str, RawInsert] = field(default_factory=dict)
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    synthetic: set[int] = field(default_factory=set)
    _unused: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.capture, self.sinks)
        taken = {step.cookie for step in self.scenario.steps if isinstance(step, Send)}
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
        found = tuple(splat.summary for splat in self.log.splats())
        if found:
            warn_again()
        return found

    def ifindex(self, netns: str, device: str | None) -> int:
        """0 for no device."""
        return self.network.ifindexes[netns, device] if device else 0

    def new_id(self, label: str) -> int:
        """The module's number for another hook. :param label: the scenario's name for it"""
        number = self.ids[label] = len(self.ids) + 1
        self.labels[number] = label
        return number

    def new_cookie(self) -> int:
        """For a datagram that the module makes: none of the scenario's packets has it."""
        cookie = next(self._unused)
        self.synthetic.add(cookie)
        return cookie

    def hook(self, step: Register) -> Hook:
        """Another hook, as the module takes it."""
        number = self.new_id(step.id)
        self.registers[step.id] = step
        ifindex = self.ifindex(step.netns, step.device)
        return Hook(number, step.pf, hook_number(step.pf, step.hook), step.priority, step.verdict, ifindex, step.cookie)

    def arrays(self, netns: str, pf: Family, hook: str, device: str | None) -> Arrays:
        """The array(s) of a point; none for a point that the kernel has not."""
        points = points_of(pf, hook_number(pf, hook), device)
        try:
            return arrays_of(self.modules[netns], self.network, netns, points, self.labels)
        except HookRefused:
            return ()

    def arrays_of(self, hooks: Iterable[Register]) -> Arrays:
        """The arrays of several hooks' points, of those that the kernel has."""
        points = [(hook.netns, hook.pf, hook.hook, hook.device) for hook in hooks if is_point(hook.pf, hook.hook, hook.device)]
        return tuple(sorted({key: slots for point in points for key, slots in self.arrays(*point)}.items()))

    def all_arrays(self, netns: str) -> Arrays:
        """The arrays in a namespace that are not empty."""
        return all_arrays(self.modules[netns], self.network, netns, self.labels)

    def open_sinks(self) -> None:
        """Where packets are meant to end: without them the kernel answers with errors of its own."""
        for step in self.scenario.steps:
            if isinstance(step, Send):
                netns, address = destination(self.scenario.topology, step)
                family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
                if step.kind == "udp":
                    self.sinks.add_udp(self.network.namespaces[netns], family, step.port)
                else:
                    for end in (netns, step.source):
                        self.sinks.add_echo(self.network.namespaces[end], family)
