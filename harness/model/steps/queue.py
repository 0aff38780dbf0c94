"""Steps of an NFQUEUE listener."""

from __future__ import annotations

from harness.model.path import settle
from harness.model.run import Run
from harness.model.steps.packets import put_ended
from harness.netfilter import Verdict
from harness.outcome.types import StepOutcome
from harness.scenario.steps.queue import Answer, HangUp, Listen

__all__ = ("answer", "hang_up", "listen")


def listen(run: Run, index: int, step: Listen) -> StepOutcome:
    return StepOutcome(index, -run.stack.queues.recv_config(step))


def answer(run: Run, index: int, step: Answer) -> StepOutcome:
    err = run.stack.queues.recv_verdict(step.netns, step.queue, Verdict.decode(step.verdict), step.cookie)
    run.packets += settle(run.stack)
    put_ended(run)
    return StepOutcome(index, -err)


def hang_up(run: Run, index: int, step: HangUp) -> StepOutcome:
    run.stack.queues.release(step.netns, step.queue)
    put_ended(run)
    return StepOutcome(index)
