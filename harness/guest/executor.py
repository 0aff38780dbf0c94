"""The kernel as an executor: scenarios in, the outcomes that a real kernel gives out."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from harness.errors import NfharnessError, described
from harness.guest import conntrack, leaks
from harness.guest.fates import judged
from harness.guest.faults import no_memory
from harness.guest.ground import Grounds, without_idle_addresses
from harness.guest.health import KernelLog, warn_again
from harness.guest.met import met
from harness.guest.privilege import require_root
from harness.guest.run import Run
from harness.guest.softirq import preemptible, softirqs_first
from harness.guest.steps import BASELINES, HANDLERS
from harness.guest.tracing import tracer
from harness.outcome import codec
from harness.outcome.types import BEFORE, Outcome, StepOutcome
from harness.scenario import builtin
from harness.scenario.codec import loads
from harness.scenario.step import Scenario, Step
from harness.trace.capture import Capture
from harness.walks.assembly import assembled
from harness.walks.counts import Count, compare_calls

__all__ = ("Executor", "execute", "main", "rehearse")


def main() -> None:
    """Scenarios from standard input, each the JSON on a line; for each a line to standard output: its outcome, or the error it met.

    After an error that is not one of ours the process ends.
    """
    with Executor() as executor:
        for line in sys.stdin:
            try:
                answer = codec.to_json(executor.execute(loads(line)))
            except NfharnessError as error:
                answer = dict(described(error))
            print(json.dumps(answer, separators=(",", ":")), flush=True)


def execute(scenario: Scenario) -> Outcome:
    """Run one scenario. Nothing of it is left.

    :raises NfharnessError: as :meth:`Executor.execute` does
    """
    with Executor() as executor:
        return executor.execute(scenario)


def rehearse() -> None:
    """Run the scenario that ``nfharness run`` runs without a name, for a template: what the first one finds to do is done then."""
    execute(builtin.load())


class Executor:
    """Runs scenarios one after the other; a context. The tracer is armed and the kernel's log open all the time, each scenario has
    separate books, and namespaces are kept for the next scenario of the same topology.
    """

    def __enter__(self) -> Executor:
        """Get ready: load the module, arm the tracer.

        :raises GuestError: we are not root of the machine
        """
        require_root()
        with ExitStack() as stack:
            stack.enter_context(softirqs_first())
            self._log = stack.enter_context(KernelLog())
            self._grounds = stack.enter_context(Grounds())
            self._capture = stack.enter_context(Capture(tracer()))
            self._stack = stack.pop_all()
        warn_again()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def execute(self, scenario: Scenario) -> Outcome:
        """Run a scenario, traced, in namespaces that nothing else is in.

        :raises GuestError: the topology does not come up, the module or the tracer does not work, an earlier scenario has left something
        :raises UserError: nft does not take a ruleset
        """
        scenario = without_idle_addresses(scenario)
        if any(link.gro for link in scenario.topology.links):
            self._stack.enter_context(preemptible())  # once is for all that follow
        with ExitStack() as stack:
            if any(step.facts.modules for step in scenario.steps):
                stack.enter_context(conntrack.kept())
            keep = all(step.facts.flushed(step) for step in scenario.steps)
            ground = stack.enter_context(self._grounds.borrowed(scenario.topology, keep=keep))
            run = Run(scenario, ground, self._log, self._capture)
            run.open_sinks()
            for kind in {type(step) for step in scenario.steps} & BASELINES.keys():
                BASELINES[kind](run)
            run.memory = leaks.baseline(run)
            self._capture.begin()
            before = StepOutcome(BEFORE, 0, ground.before, splats=run.splats())
            with _links(run), _listeners(run):
                steps = _looked_over(run, (before, *self._steps(run)))
                _count_calls(run)
                run.sinks.take()  # what lies in a socket has not come to its end
                over = time.monotonic_ns()
            self._capture.end()
            outcome = _outcome(run, steps, over)
        return _warned_late(outcome, run)

    def _steps(self, run: Run) -> Iterator[StepOutcome]:
        for index, step in enumerate(run.scenario.steps):
            yield _step(run, index, step)


@contextmanager
def _listeners(run: Run) -> Iterator[None]:
    """Afterwards nobody listens any more. What waited still is freed then, and the tracer has seen that."""
    try:
        yield
    finally:
        for netns, number in tuple(run.listeners):
            run.hang_up(netns, number)


@contextmanager
def _links(run: Run) -> Iterator[None]:
    """Afterwards no BPF link is left: each would keep its namespace."""
    try:
        yield
    finally:
        for _, descriptor in run.links.values():
            os.close(descriptor)


def _step(run: Run, index: int, step: Step) -> StepOutcome:
    points = tuple(step.facts.touches(step, run))
    disputes = tuple(run.journal.before(points) if run.journal.lists else run.journal.unchanged(run.arrays_of(points)))
    with no_memory(run, step):
        outcome = met(run, index, step, HANDLERS[type(step)])
    splats, queues = run.splats(), run.queues()
    disputes = (*disputes, *run.journal.after(outcome.slots))
    return replace(outcome, splats=splats, queues=queues, disputes=disputes) if splats or queues or disputes else outcome


def _looked_over(run: Run, steps: tuple[StepOutcome, ...]) -> tuple[StepOutcome, ...]:
    """The last step gets what has changed at any point since the step that was about it."""
    disputes = [dispute for name in run.modules for dispute in run.journal.at_the_end(name, run.all_arrays(name))]
    last = steps[-1]
    return (*steps[:-1], replace(last, disputes=(*last.disputes, *disputes), facts=(*last.facts, *leaks.found(run))))


def _warned_late(outcome: Outcome, run: Run) -> Outcome:
    """The last step gets what the kernel warned of while its hooks, sockets and namespaces were taken away."""
    if not (late := run.splats()):
        return outcome
    *steps, last = outcome.steps
    return replace(outcome, steps=(*steps, replace(last, splats=(*last.splats, *late))), log=tuple(run.said))


def _count_calls(run: Run) -> None:
    """Ask the module how often each of its hooks was called."""
    for module in run.modules.values():
        since = time.monotonic_ns()
        for state in module.hooks():
            run.calls[state.hook.id] = Count(state.calls, since, time.monotonic_ns())


def _outcome(run: Run, steps: tuple[StepOutcome, ...], over: int) -> Outcome:
    """Put together what the tracer, the module, the sinks and sendto() saw.

    :param over: when the scenario ended; as events' times
    """
    seen = assembled(run.capture.recording(namespaces=run.sightings, labels=run.labels, until=over))
    counted = compare_calls(run.capture.events(), run.calls)
    packets = judged(run, tuple(packet for packet in seen.packets if packet.cookie not in run.synthetic))
    overrun = ("the kernel's log overran before it was read: a warning may be missing",) if run.log.lost else ()
    return replace(seen, steps=steps, packets=packets, doubts=(*seen.doubts, *run.doubts, *counted, *overrun), log=tuple(run.said))
