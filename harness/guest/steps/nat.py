"""Steps with address translation."""

from __future__ import annotations

from harness.guest.run import Run
from harness.guest.steps.hooks import load_ruleset
from harness.outcome.types import StepOutcome
from harness.scenario.steps.nat import Redirect

__all__ = ("redirect",)


def redirect(run: Run, index: int, step: Redirect) -> StepOutcome:
    """Load a nat chain that redirects datagrams.

    :raises UserError: nft does not take the ruleset: the kernel cannot redirect
    """
    rule = f"udp dport {step.port} redirect to :{step.to}"
    chain = f"chain c {{ type nat hook prerouting priority {step.priority}; {rule}; }}"
    return StepOutcome(index, 0, load_ruleset(run, step.netns, f"table ip nfharness_{index} {{ {chain}; }}"))
