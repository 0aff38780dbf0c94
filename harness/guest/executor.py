"""The kernel as an executor: a scenario in, the outcome that a real kernel gives out."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface

from harness.errors import UserError
from harness.guest import traffic
from harness.guest.arrays import Arrays, arrays_of, changed, points_of
from harness.guest.direct import DirectDrive
from harness.guest.health import KernelLog, warn_again
from harness.guest.module import Hook, HookModule, HookRefused
from harness.guest.prepare import tracer
from harness.guest.settle import settled
from harness.guest.topology import Network, built
from harness.netfilter import Family, hook_number
from harness.outcome import codec
from harness.outcome.types import BEFORE, Fate, Outcome, PacketOutcome, StepOutcome
from harness.scenario.codec import loads
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
    Unregister,
    UnregisterAbsent,
    UnregisterBatch,
    destination,
    is_point,
)
from harness.scenario.topology import End, Link, Topology
from harness.trace.capture import Capture
from harness.trace.walk import Count, compare_calls

__all__ = ("execute", "main")

_SETTLE_SECONDS = 3.0
_NFT_SECONDS = 60
_ICMP_ENDS = ("icmp_rcv", "icmpv6_rcv")
"""Where the stack ends an ICMP error that it has acted upon: no socket gets it."""


def main() -> None:
    """A scenario's JSON from standard input; its outcome's JSON to standard output."""
    outcome = execute(loads(sys.stdin.read()))
    print(json.dumps(codec.to_json(outcome)))


def execute(scenario: Scenario) -> Outcome:
    """Run a scenario in namespaces of its own, traced. Nothing of it is left.

    :raises GuestError: the topology does not come up, the module or the tracer does not work
    :raises UserError: nft does not take a ruleset
    """
    with ExitStack() as stack:
        network = stack.enter_context(built(_ground(scenario)))
        sinks = stack.enter_context(traffic.Sinks())
        modules = {name: stack.enter_context(HookModule(namespace)) for name, namespace in network.namespaces.items()}
        run = _Run(scenario, network, modules, sinks)
        run.open_sinks()
        before = StepOutcome(BEFORE, 0, run.not_empty())
        run.log = stack.enter_context(KernelLog())
        with Capture(tracer()) as capture:
            run.capture = capture
            steps = (before, *(run.step(index, step) for index, step in enumerate(scenario.steps)))
            run.count_calls()
        return run.outcome(steps)


def _ground(scenario: Scenario) -> Topology:
    """The topology without the addresses that no packet of the scenario needs: IPv6 alone would chatter across the hook points."""
    versions = {4 if send.pf is Family.IPV4 else 6 for send in scenario.steps if isinstance(send, Send)}

    def trimmed(end: End) -> End:
        return replace(end, addresses=tuple(text for text in end.addresses if ip_interface(text).version in versions))

    topology = scenario.topology
    links = tuple(Link(trimmed(link.a), trimmed(link.b)) for link in topology.links)
    routes = tuple(route for route in topology.routes if ip_interface(route.via).version in versions)
    return replace(topology, links=links, routes=routes)


@dataclass(slots=True)
class _Run:
    """A scenario under way.

    :param ids: the module's number for each hook that is registered or was
    :param calls: the module's own count of each hook's calls
    """

    scenario: Scenario
    network: Network
    modules: dict[str, HookModule]
    sinks: traffic.Sinks
    capture: Capture = field(init=False)
    log: KernelLog = field(init=False)
    direct: DirectDrive = field(init=False)
    ids: dict[str, int] = field(default_factory=dict)
    registers: dict[str, Register] = field(default_factory=dict)
    calls: dict[int, Count] = field(default_factory=dict)
    batches: dict[str, tuple[Register, ...]] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        taken = frozenset(step.cookie for step in self.scenario.steps if isinstance(step, Send))
        self.direct = DirectDrive(self.modules, self.ids, taken)

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

    def not_empty(self) -> Arrays:
        """The arrays of every namespace that have hooks in them before the first step."""
        found = (array for name, module in self.modules.items() for array in arrays_of(module, self.network, name, None, {}))
        return tuple(sorted(array for array in found if array[1]))

    def step(self, index: int, step: object) -> StepOutcome:
        warn_again()
        match step:
            case RawInsert() | RawDelete() | RawRun():
                outcome = self.direct.step(index, step)
            case RegisterBatch() | UnregisterBatch() | RegisterAgain() | UnregisterAbsent():
                outcome = self._batch_step(index, step)
            case _:
                outcome = self._step(index, step)
        return replace(outcome, splats=tuple(splat.summary for splat in self.log.splats()))

    def _step(self, index: int, step: object) -> StepOutcome:
        match step:
            case Register():
                return StepOutcome(index, self._register(step), self._arrays(step))
            case RegisterMany():
                return StepOutcome(index, self._register_many(step), self._arrays(step))
            case Unregister():
                return StepOutcome(index, self._unregister(step), self._arrays(self.registers[step.id]))
            case Dump():
                return self._dump(index, step)
            case Send():
                return StepOutcome(index, self._send(step))
            case Nft():
                return StepOutcome(index, 0, self._nft(step))
        raise TypeError(step)

    def _batch_step(self, index: int, step: BatchStep) -> StepOutcome:
        try:
            hooks, err = self._batch(step), 0
        except HookRefused as refusal:
            hooks, err = self._batch_hooks(step), refusal.errno or 0
        found = {key: slots for hook in hooks if is_point(hook) for key, slots in self._arrays(hook)}
        return StepOutcome(index, err, tuple(sorted(found.items())))

    def _batch_hooks(self, step: BatchStep) -> tuple[Register, ...]:
        match step:
            case RegisterBatch():
                return step.hooks
            case UnregisterBatch():
                return self.batches[step.id]
            case RegisterAgain():
                return (self.registers[step.id],)
            case UnregisterAbsent():
                return (Register("", step.netns, step.pf, step.hook, device=step.device),)

    def _batch(self, step: BatchStep) -> tuple[Register, ...]:
        """:returns: hooks whose points the step is about. :raises HookRefused: by core or the module"""
        hooks = self._batch_hooks(step)
        match step:
            case RegisterBatch():
                self.batches.update(dict.fromkeys((hook.id for hook in hooks), hooks))
                self.modules[step.netns].add_batch([replace(self._hook(hook), unchecked=True) for hook in hooks])
            case UnregisterBatch():
                module = self.modules[hooks[0].netns]
                since = time.monotonic_ns()
                calls = {number: module.hook(number).calls for number in (self.ids[hook.id] for hook in hooks)}
                module.del_batch(self.ids[step.id])
                self.calls.update({number: Count(counted, since, time.monotonic_ns()) for number, counted in calls.items()})
            case RegisterAgain():
                self.modules[hooks[0].netns].add_hook_again(self.ids[step.id])
            case UnregisterAbsent():
                number = hook_number(step.pf, step.hook)
                self.modules[step.netns].del_absent_hook(step.pf, number, self._ifindex(step.netns, step.device), unchecked=True)
        return hooks

    def _ifindex(self, netns: str, device: str | None) -> int:
        return self.network.ifindexes[netns, device] if device else 0

    def _hook(self, step: Register) -> Hook:
        number = self.ids[step.id] = len(self.ids) + 1
        self.registers[step.id] = step
        ifindex = self._ifindex(step.netns, step.device)
        return Hook(number, step.pf, hook_number(step.pf, step.hook), step.priority, step.verdict, ifindex, step.cookie)

    def _register(self, step: Register) -> int:
        try:
            self.modules[step.netns].add_hook(self._hook(step))
        except HookRefused as refusal:
            return refusal.errno or 0
        return 0

    def _register_many(self, step: RegisterMany) -> int:
        refusals = self.modules[step.netns].add_hooks([self._hook(each) for each in step.each()])
        return next((refusal.errno or 0 for refusal in refusals if refusal), 0)

    def _unregister(self, step: Unregister) -> int:
        module, number = self.modules[self.registers[step.id].netns], self.ids[step.id]
        try:
            since, calls = time.monotonic_ns(), module.hook(number).calls
            module.del_hook(number)
            self.calls[number] = Count(calls, since, time.monotonic_ns())
        except HookRefused as refusal:
            return refusal.errno or 0
        return 0

    def _labels(self) -> dict[int, str]:
        return {number: label for label, number in self.ids.items()}

    def _arrays(self, step: Register | RegisterMany | Dump) -> Arrays:
        """The arrays of the step's point(s); none for a point that the kernel has not."""
        points = points_of(step.pf, hook_number(step.pf, step.hook), step.device)
        try:
            return arrays_of(self.modules[step.netns], self.network, step.netns, points, self._labels())
        except HookRefused:
            return ()

    def _dump(self, index: int, step: Dump) -> StepOutcome:
        ifindex = self._ifindex(step.netns, step.device)
        try:
            self.modules[step.netns].slots(step.pf, hook_number(step.pf, step.hook), ifindex)
        except HookRefused as refusal:
            return StepOutcome(index, refusal.errno or 0)
        return StepOutcome(index, 0, self._arrays(step))

    def _nft(self, step: Nft) -> Arrays:
        before = arrays_of(self.modules[step.netns], self.network, step.netns, None, self._labels())
        with self.network.namespaces[step.netns].inside():
            command = ["nft", "-f", "-"]
            loaded = subprocess.run(command, input=step.ruleset, capture_output=True, text=True, timeout=_NFT_SECONDS, check=False)
        if loaded.returncode:
            said = loaded.stderr.strip().splitlines() or [f"exit status {loaded.returncode}"]
            raise UserError(f"nft does not take the ruleset for {step.netns}: {said[0]}", mend="correct the nft step's ruleset")
        return changed(before, arrays_of(self.modules[step.netns], self.network, step.netns, None, self._labels()))

    def _send(self, step: Send) -> int:
        netns, to = self.network.namespaces[step.source], destination(self.scenario.topology, step)[1]
        data = traffic.payload(step.size, step.cookie)
        if step.kind == "udp":
            source = str(source_address(self.scenario.topology, step.source, to) or to)
            packet = traffic.udp_packet(source, str(to), step.source_port, step.port, data, ttl=step.ttl)
            errno = traffic.send_ip(netns, packet)
        else:
            errno = traffic.send_echo(netns, str(to), data, ttl=step.ttl)
        self.sent[step.cookie] = errno
        deadline = time.monotonic() + _SETTLE_SECONDS
        while not settled(self.capture, step.cookie, self._arrived(step.cookie) or errno != 0) and time.monotonic() < deadline:
            continue
        return errno

    def _arrived(self, cookie: int) -> bool:
        return any(arrival.cookie == cookie for arrival in self.sinks.wait((), 0))

    def count_calls(self) -> None:
        """Ask the module how often each of its hooks was called."""
        for module in self.modules.values():
            since = time.monotonic_ns()
            for state in module.hooks():
                self.calls[state.hook.id] = Count(state.calls, since, time.monotonic_ns())

    def outcome(self, steps: tuple[StepOutcome, ...]) -> Outcome:
        """Put together what the tracer, the module, the sinks and sendto() saw."""
        names = {namespace.inum: name for name, namespace in self.network.namespaces.items()}
        seen = self.capture.walk(netns=names, labels=self._labels())
        counted = compare_calls(self.capture.events(), self.calls)
        delivered = {(arrival.netns, arrival.cookie) for arrival in self.sinks.wait((), 0)}
        packets = self._judged(tuple(packet for packet in seen.packets if packet.cookie not in self.direct.cookies), delivered)
        overrun = ("the kernel's log overran before it was read: a warning may be missing",) if self.log.lost else ()
        doubts = (*self.capture.doubts, *seen.doubts, *counted, *overrun)
        return Outcome(steps, packets, self.capture.lost_events, doubts)

    def _judged(self, packets: tuple[PacketOutcome, ...], delivered: set[tuple[str, int]]) -> tuple[PacketOutcome, ...]:
        """Add what only the ends know: delivery, and what ``sendto()`` returned."""
        judged: list[PacketOutcome] = []
        met: set[int] = set()
        sends = [step for step in self.scenario.steps if isinstance(step, Send)]
        wanted = {step.cookie: destination(self.scenario.topology, step)[0] for step in sends}
        sender = {step.cookie: step.source for step in sends}
        for packet in packets:
            first = packet.cookie in wanted and packet.cookie not in met
            if first and packet.cookie is not None:
                met.add(packet.cookie)
                arrived = (self.network.namespaces[wanted[packet.cookie]].name, packet.cookie) in delivered
                fate = Fate("delivered", reason=packet.fate.reason) if arrived else packet.fate
                judged.append(replace(packet, fate=fate, sent_errno=self.sent.get(packet.cookie, 0)))
            elif packet.cookie in wanted and (
                    _taken(packet) or (self.network.namespaces[sender[packet.cookie]].name, packet.cookie) in delivered):
                judged.append(replace(packet, fate=Fate("delivered", reason=packet.fate.reason)))
            else:
                judged.append(packet)
        for cookie, netns in wanted.items():
            if cookie not in met and (self.network.namespaces[netns].name, cookie) in delivered:
                judged.append(self._unhooked(cookie))
        return tuple(judged)

    def _unhooked(self, cookie: int) -> PacketOutcome:
        """A packet that arrived and crossed no hook point that has a hook: the tracer has nothing to say of it."""
        return PacketOutcome(f"packet {cookie}", cookie, Fate("delivered"), (), self.sent.get(cookie, 0))


def _taken(packet: PacketOutcome) -> bool:
    """Whether the stack that an ICMP error was meant for took it. Older kernels do not say where an skb was consumed."""
    reason = packet.fate.reason
    return packet.fate.kind == "consumed" and (reason is None or reason.rpartition(" ")[2] in _ICMP_ENDS)
