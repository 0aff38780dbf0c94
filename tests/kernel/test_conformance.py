"""A kernel that was tampered with does not pass: rules can fail on real kernels."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from harness.conformance import RULES
from harness.conformance.judge import Judgement, judge
from harness.guest.executor import execute
from harness.guest.module import Hook, HookModule
from harness.guest.profile import probe
from harness.guest.run import Run
from harness.guest.steps import HANDLERS
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.types import StepOutcome
from harness.scenario.steps import Send

INPUT = 1
ACCEPT, DROP = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.DROP)
RULESET = "table ip t { chain c { type filter hook input priority 2; policy accept; }; }"

Tampering = Callable[[Run], None]


@pytest.fixture
def order_ascending(nfharness_ko: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[Tampering | None], Judgement]:
    """Runs the rule's first script and does something to the kernel before its packet is sent."""
    rule_script = RULES["order.ascending"].scripts[0]

    def run(tamper: Tampering | None) -> Judgement:
        sending = HANDLERS[Send]

        def send(run: Run, index: int, step: Send) -> StepOutcome:
            if tamper:
                tamper(run)
            return sending(run, index, step)

        monkeypatch.setitem(HANDLERS, Send, send)
        return judge(rule_script, probe(), execute(rule_script.scenario))

    return run


def test_an_untouched_kernel_conforms(order_ascending: Callable[[Tampering | None], Judgement]) -> None:
    assert order_ascending(None).comparison.verdict == "conformant"


@pytest.mark.parametrize(("verdict", "said"), [(ACCEPT, "nfharness_hook [nfharness]"), (DROP, "the packet came to another end")])
def test_a_hook_that_was_registered_behind_the_rule_s_back_is_a_difference(
    order_ascending: Callable[[Tampering | None], Judgement], verdict: Verdict, said: str
) -> None:
    def register(run: Run) -> None:
        with HookModule(run.network.namespaces["host"]) as module:
            module.add_hook(Hook(1000, Family.IPV4, INPUT, 3, verdict))

    comparison = order_ascending(register).comparison
    assert comparison.verdict == "different"
    assert any(said in difference.explanation for difference in comparison.differences)


def test_a_hook_that_was_taken_away_behind_the_rule_s_back_is_a_difference(
    order_ascending: Callable[[Tampering | None], Judgement]
) -> None:
    def unregister(run: Run) -> None:
        with HookModule(run.network.namespaces["host"]) as module:
            module.del_hook(run.ids["one"])

    comparison = order_ascending(unregister).comparison
    assert comparison.verdict == "different"
    assert "one was not called" in {difference.explanation for difference in comparison.differences}
    by_the_rule_itself = [one for one in comparison.differences if one.explanation.startswith("the rule says so")]
    assert any("first minus-5 zero seven last" in one.observed for one in by_the_rule_itself)


def test_a_chain_that_nft_loaded_behind_the_rule_s_back_is_a_difference(
    order_ascending: Callable[[Tampering | None], Judgement]
) -> None:
    def load(run: Run) -> None:
        with run.network.namespaces["host"].inside():
            subprocess.run(["nft", "-f", "-"], input=RULESET, text=True, check=True, timeout=60)

    comparison = order_ascending(load).comparison
    assert comparison.verdict == "different"
    assert any("is a foreign hook that came behind the scenario's back" in one.explanation for one in comparison.differences)
