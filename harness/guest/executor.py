"""The kernel as an executor: scenarios in, the outcomes that a real kernel gives out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from harness.errors import NfharnessError
from harness.guest.child import described
from harness.guest.fates import judged
from harness.guest.ground import Grounds, topology_of
from harness.guest.health import KernelLog, warn_again
from harness.guest.prepare import tracer
from harness.guest.run import Run
from harness.guest.softirq import softirqs_first
from harness.guest.steps import HANDLERS, UNDONE
from harness.outcome import codec
from harness.outcome.types import BEFORE, Outcome, StepOutcome
from harness.scenario.codec import loads
from harness.scenario.steps import Scenario, Step
from harness.trace.capture import Capture
from harness.trace.walk import Count, compare_calls

__all__ = ("Executor", "execute", "main")


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
    """Run one scenario. Nothing of it is left. :raises NfharnessError: as :meth:`Executor.execute` does"""
    with Executor() as executor:
        return executor.execute(scenario)


class Executor:
    """Runs scenarios one after the other; a context. The tracer is armed and the kernel's log open all the time, each scenario has books
    of its own, and namespaces are kept for the next scenario of the same topology.
    """

    def __enter__(self) -> Executor:
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
        with self._grounds.borrowed(topology_of(scenario), keep=all(type(step) in UNDONE for step in scenario.steps)) as ground:
            run = Run(scenario, ground, self._log, self._capture)
            run.open_sinks()
            self._capture.begin()
            before = StepOutcome(BEFORE, 0, ground.before, splats=run.splats())
            steps = (before, *self._steps(run))
            _count_calls(run)
            self._capture.end()
            return _outcome(run, steps)

    def _steps(self, run: Run) -> Iterator[StepOutcome]:
        for index, step in enumerate(run.scenario.steps):
            yield _step(run, index, step)


def _step(run: Run, index: int, step: Step) -> StepOutcome:
    outcome = HANDLERS[type(step)](run, index, step)
    return replace(outcome, splats=run.splats())


def _count_calls(run: Run) -> None:
    """Ask the module how often each of its hooks was called."""
    for module in run.modules.values():
        since = time.monotonic_ns()
        for state in module.hooks():
            run.calls[state.hook.id] = Count(state.calls, since, time.monotonic_ns())


def _outcome(run: Run, steps: tuple[StepOutcome, ...]) -> Outcome:
    """Put together what the tracer, the module, the sinks and sendto() saw."""
    names = {namespace.inum: name for name, namespace in run.network.namespaces.items()}
    seen = run.capture.walk(netns=names, labels=run.labels)
    counted = compare_calls(run.capture.events(), run.calls)
    packets = judged(run, tuple(packet for packet in seen.packets if packet.cookie not in run.synthetic))
    overrun = ("the kernel's log overran before it was read: a warning may be missing",) if run.log.lost else ()
    return Outcome(steps, packets, run.capture.lost_events, (*run.capture.doubts, *seen.doubts, *counted, *overrun))
