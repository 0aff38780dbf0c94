"""What a step meets in the kernel is the step's outcome, whatever it is: a kernel that does the unexpected does not end the scenario."""

from __future__ import annotations

import errno

from harness.guest.run import Run
from harness.guest.steps.handler import Handler
from harness.outcome.types import StepOutcome
from harness.scenario.step import Step

__all__ = ("met",)


def met(run: Run, index: int, step: Step, handler: Handler) -> StepOutcome:
    """What the step answers: the errno that it met, if it did not get so far as to say more.

    A namespace, a device or a hook that an earlier step should have made, and which is missing, is ENOENT.
    """
    from pyroute2 import NetlinkError  # noqa: PLC0415 - seconds in an emulated guest

    try:
        outcome = handler(run, index, step)
    except OSError as error:
        outcome = StepOutcome(index, error.errno or errno.EIO)
    except NetlinkError as error:
        outcome = StepOutcome(index, abs(error.code))
    except KeyError:
        if not run.failed:
            raise
        outcome = StepOutcome(index, errno.ENOENT)
    if outcome.errno:
        run.failed.add(index)
    return outcome
