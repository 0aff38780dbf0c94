"""The kernel as an executor: a scenario in, the outcome that a real kernel gives out."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_interface

from harness.guest import traffic
from harness.guest.fates import judged
from harness.guest.health import KernelLog, warn_again
from harness.guest.module import HookModule
from harness.guest.prepare import tracer
from harness.guest.run import Run
from harness.guest.steps import HANDLERS
from harness.guest.topology import built
from harness.netfilter import Family
from harness.outcome import codec
from harness.outcome.types import BEFORE, Outcome, StepOutcome
from harness.scenario.codec import loads
from harness.scenario.steps import Scenario, Send, Step
from harness.scenario.topology import End, Link, Topology
from harness.trace.capture import Capture
from harness.trace.walk import Count, compare_calls

__all__ = ("execute", "main")


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
        log = stack.enter_context(KernelLog())
        network = stack.enter_context(built(_ground(scenario)))
        sinks = stack.enter_context(traffic.Sinks())
        modules = {name: stack.enter_context(HookModule(namespace)) for name, namespace in network.namespaces.items()}
        run = Run(scenario, network, modules, sinks, log, Capture(tracer()))
        run.open_sinks()
        found = (array for name in modules for array in run.all_arrays(name))
        before = StepOutcome(BEFORE, 0, tuple(sorted(array for array in found if array[1])), splats=_splats(run))
        with run.capture:
            steps = (before, *(_step(run, index, step) for index, step in enumerate(scenario.steps)))
            _count_calls(run)
        return _outcome(run, steps)


def _ground(scenario: Scenario) -> Topology:
    """The topology without the addresses that no packet of the scenario needs: IPv6 alone would chatter across the hook points."""
    versions = {4 if send.pf is Family.IPV4 else 6 for send in scenario.steps if isinstance(send, Send)}

    def trimmed(end: End) -> End:
        return replace(end, addresses=tuple(text for text in end.addresses if ip_interface(text).version in versions))

    topology = scenario.topology
    links = tuple(Link(trimmed(link.a), trimmed(link.b)) for link in topology.links)
    routes = tuple(route for route in topology.routes if ip_interface(route.via).version in versions)
    return replace(topology, links=links, routes=routes)


def _step(run: Run, index: int, step: Step) -> StepOutcome:
    warn_again()
    outcome = HANDLERS[type(step)](run, index, step)
    return replace(outcome, splats=_splats(run))


def _splats(run: Run) -> tuple[str, ...]:
    return tuple(splat.summary for splat in run.log.splats())


def _count_calls(run: Run) -> None:
    """Ask the module how often each of its hooks was called."""
    for module in run.modules.values():
        since = time.monotonic_ns()
        for state in module.hooks():
            run.calls[state.hook.id] = Count(state.calls, since, time.monotonic_ns())


def _outcome(run: Run, steps: tuple[StepOutcome, ...]) -> Outcome:
    """Put together what the tracer, the module, the sinks and sendto() saw."""
    names = {namespace.inum: name for name, namespace in run.network.namespaces.items()}
    seen = run.capture.walk(netns=names, labels=run.labels())
    counted = compare_calls(run.capture.events(), run.calls)
    packets = judged(run, tuple(packet for packet in seen.packets if packet.cookie not in run.synthetic))
    overrun = ("the kernel's log overran before it was read: a warning may be missing",) if run.log.lost else ()
    return Outcome(steps, packets, run.capture.lost_events, (*run.capture.doubts, *seen.doubts, *counted, *overrun))
