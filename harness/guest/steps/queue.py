"""Steps of an NFQUEUE listener."""

from __future__ import annotations

from harness.guest.queue import Listener
from harness.guest.run import Run
from harness.outcome.types import StepOutcome
from harness.scenario.steps.queue import Answer, HangUp, Listen

__all__ = ("answer", "hang_up", "listen")


def listen(run: Run, index: int, step: Listen) -> StepOutcome:
    try:
        listener = Listener(run.network.namespaces[step.netns], step)
    except OSError as error:
        return StepOutcome(index, error.errno or 0)
    run.listeners[step.netns, step.queue] = listener
    return StepOutcome(index)


def answer(run: Run, index: int, step: Answer) -> StepOutcome:
    err = run.listeners[step.netns, step.queue].answer(step.verdict, step.cookie)
    run.watch.settle_all()
    return StepOutcome(index, err)


def hang_up(run: Run, index: int, step: HangUp) -> StepOutcome:
    run.hang_up(step.netns, step.queue)
    return StepOutcome(index)
