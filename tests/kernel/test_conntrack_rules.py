"""A kernel whose connection tracking or NAT was tampered with does not pass."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from harness.conformance import RULES
from harness.conformance.judge import judge
from harness.guest import conntrack
from harness.guest.executor import execute
from harness.guest.run import Run
from harness.guest.steps import HANDLERS
from harness.outcome.types import StepOutcome
from harness.pytest_plugin.kernel import RunningKernel
from harness.scenario.steps.conntrack import CtRead, CtRun
from harness.scenario.steps.packets import Send

pytestmark = pytest.mark.usefixtures("nfharness_ko")

Judged = Callable[[str, type, Callable[[Run], object]], str]


@pytest.fixture
def judged(kernel: RunningKernel, monkeypatch: pytest.MonkeyPatch) -> Judged:
    """Runs a rule's first script, doing something to the kernel before each step of a kind."""

    def run(rule: str, step: type, tamper: Callable[[Run], object]) -> str:
        script, right = RULES[rule].scripts[0], HANDLERS[step]

        def tampered(run: Run, index: int, done: Any) -> StepOutcome:
            tamper(run)
            return right(run, index, done)

        monkeypatch.setitem(HANDLERS, step, tampered)
        return judge(script, kernel.profile, execute(script.scenario)).comparison.verdict

    return run


@pytest.mark.parametrize(("rule", "step", "module"), [
    ("nat.hook", CtRead, "nf_nat"), ("ct.absent", CtRead, "nf_conntrack"), ("ct.absent", CtRun, "nf_conntrack"),
])
def test_a_kernel_module_that_was_loaded_behind_the_rule_s_back_is_a_difference(
        judged: Judged, rule: str, step: type, module: str) -> None:
    assert judged(rule, step, lambda _run: conntrack.load(module)) == "different"


def test_a_nat_chain_that_was_loaded_behind_the_rule_s_back_is_a_difference(judged: Judged) -> None:
    ruleset = "table ip behind { chain c { type nat hook prerouting priority -150; udp dport 9 redirect to :23; }; }"

    def load(run: Run) -> None:
        with run.network.namespaces["host"].inside():
            subprocess.run(["nft", "-f", "-"], input=ruleset, text=True, check=True, timeout=60)

    assert judged("nat.order", Send, load) == "different"
