"""Steps of an NFQUEUE listener."""

from __future__ import annotations

from collections.abc import Mapping

from harness.guest.queue import Listener
from harness.guest.run import Run
from harness.guest.steps.handler import Handler
from harness.outcome.types import StepOutcome
from harness.scenario.steps import Answer, HangUp, Listen

__all__ = ("HANDLERS",)


def _listen(run: Run, index: int, step: Listen) -> StepOutcome:
    try:
        listener = Listener(run.network.namespaces[step.netns], step)
    except OSError as error:
        return StepOutcome(index, error.errno or 0)
    run.listeners[step.netns, step.queue] = listener
    return StepOutcome(index)


def _answer(run: Run, index: int, step: Answer) -> StepOutcome:
    err = run.listeners[step.netns, step.queue].answer(step.verdict, step.cookie)
    run.watch.settle_all()
    return StepOutcome(index, err)


def _hang_up(run: Run, index: int, step: HangUp) -> StepOutcome:
    run.hang_up(step.netns, step.queue)
    return StepOutcome(index)


HANDLERS: Mapping[type, Handler] = {Listen: _listen, Answer: _answer, HangUp: _hang_up}
