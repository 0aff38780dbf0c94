"""A kernel that was tampered with does not pass: rules can fail on real kernels."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from harness.conformance import RULES
from harness.conformance.judge import Judgement, judge
from harness.guest import executor
from harness.guest import run as guest_run
from harness.guest.executor import execute
from harness.guest.module import Hook, HookModule
from harness.guest.run import Run
from harness.guest.steps import HANDLERS
from harness.guest.uapi import Tamper
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.types import StepOutcome
from harness.pytest_plugin.kernel import RunningKernel
from harness.scenario.steps.packets import Send

INPUT, FORWARD = 1, 2
CORE = "net/netfilter/core.c"
ACCEPT, DROP = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.DROP)
RULESET = "table ip t { chain c { type filter hook input priority 2; policy accept; }; }"

Tampering = Callable[[Run], None]


@pytest.fixture
def tampered(nfharness_ko: None, kernel: RunningKernel, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Judgement]:
    """Runs a rule's first script and does something to the kernel before its first packet is sent."""

    def run(tamper: Tampering | None, rule: str = "order.ascending") -> Judgement:
        script, sending = RULES[rule].scripts[0], HANDLERS[Send]

        def send(run: Run, index: int, step: Send) -> StepOutcome:
            if tamper and not run.sent:
                tamper(run)
            return sending(run, index, step)

        monkeypatch.setitem(HANDLERS, Send, send)
        return judge(script, kernel.profile, execute(script.scenario))

    return run


def test_an_untouched_kernel_conforms(tampered: Callable[..., Judgement]) -> None:
    assert tampered(None).comparison.verdict == "conformant"


@pytest.mark.parametrize(("verdict", "said"), [(ACCEPT, "nfharness_hook [nfharness]"), (DROP, "the packet came to another end")])
def test_a_hook_that_was_registered_behind_the_rule_s_back_is_a_difference(
    tampered: Callable[..., Judgement], verdict: Verdict, said: str
) -> None:
    def register(run: Run) -> None:
        with HookModule(run.network.namespaces["host"]) as module:
            module.add_hook(Hook(1000, Family.IPV4, INPUT, 3, verdict))

    comparison = tampered(register).comparison
    assert comparison.verdict == "different"
    assert any(said in difference.explanation for difference in comparison.differences)


def test_a_hook_that_was_taken_away_behind_the_rule_s_back_is_a_difference(tampered: Callable[..., Judgement]) -> None:
    def unregister(run: Run) -> None:
        with HookModule(run.network.namespaces["host"]) as module:
            module.del_hook(run.ids["one"])

    comparison = tampered(unregister).comparison
    assert comparison.verdict == "different"
    assert "one was not called" in {difference.explanation for difference in comparison.differences}
    by_the_rule_itself = [one for one in comparison.differences if one.explanation.startswith("the rule says so")]
    assert any("first minus-5 zero seven last" in one.observed for one in by_the_rule_itself)


def test_a_chain_that_nft_loaded_behind_the_rule_s_back_is_a_difference(tampered: Callable[..., Judgement]) -> None:
    def load(run: Run) -> None:
        with run.network.namespaces["host"].inside():
            subprocess.run(["nft", "-f", "-"], input=RULESET, text=True, check=True, timeout=60)

    comparison = tampered(load).comparison
    assert comparison.verdict == "different"
    assert any("is a foreign hook that came behind the scenario's back" in one.explanation for one in comparison.differences)


def test_a_hook_that_was_taken_out_of_its_array_behind_core_s_back_is_a_difference(tampered: Callable[..., Judgement]) -> None:
    comparison = tampered(lambda run: run.modules["host"].tamper(run.ids["seven"], Tamper.HIDE)).comparison
    assert comparison.verdict == "different"
    assert "seven was not called" in {difference.explanation for difference in comparison.differences}


def test_a_count_that_is_off_by_one_makes_the_run_inconclusive(tampered: Callable[..., Judgement]) -> None:
    comparison = tampered(lambda run: run.modules["host"].tamper(run.ids["zero"], Tamper.MISCOUNT)).comparison
    assert comparison.verdict == "inconclusive"
    assert any("counted 2 calls, the probes saw 1" in reason for reason in comparison.reasons)


def test_a_packet_that_comes_to_two_ends_is_a_difference(tampered: Callable[..., Judgement]) -> None:
    comparison = tampered(lambda run: run.modules["host"].tamper(run.ids["last"], Tamper.DUPLICATE)).comparison
    assert comparison.verdict == "different"
    assert {one.where for one in comparison.differences} >= {"packet 1/fate"}
    assert any("delivered 2 times" in one.observed for one in comparison.differences)


def test_a_packet_that_nobody_frees_is_a_difference(tampered: Callable[..., Judgement]) -> None:
    comparison = tampered(lambda run: run.modules["host"].tamper(run.ids["last"], Tamper.HOLD)).comparison
    assert comparison.verdict == "different"
    assert any("leaked" in one.observed for one in comparison.differences)


def test_readings_of_an_array_that_do_not_agree_are_a_difference(tampered: Callable[..., Judgement]) -> None:
    comparison = tampered(lambda run: run.modules["host"].tamper(run.ids["e"], Tamper.HIDE), "unregister.shrinks").comparison
    assert comparison.verdict == "different"
    disputes = [one.observed for one in comparison.differences if one.explanation == "the readings of a hook point do not agree"]
    assert any("the array was left with" in one for one in disputes)
    assert any("the scenario has registered c d e there, and the array has c d" in one for one in disputes)


def test_a_hook_at_a_point_that_no_step_is_about_is_found_at_the_end(tampered: Callable[..., Judgement]) -> None:
    def register(run: Run) -> None:
        with HookModule(run.network.namespaces["host"]) as module:
            module.add_hook(Hook(1000, Family.ARP, 1, 3, ACCEPT))

    comparison = tampered(register).comparison
    assert comparison.verdict == "different"
    assert any("host/ARP/OUTPUT: the array was left with nothing, and now has nfharness_hook [nfharness] at 3" in one.observed
               for one in comparison.differences)


@pytest.mark.may_warn(CORE)
def test_a_warning_that_nobody_expected_is_a_difference_whatever_ran(tampered: Callable[..., Judgement]) -> None:
    judged = tampered(lambda run: run.modules["host"].del_absent_hook(Family.IPV6, FORWARD))
    assert judged.comparison.verdict == "different"
    (splat,) = [one for one in judged.comparison.differences if one.where.endswith("/splats")]
    assert (splat.predicted, splat.observed, splat.explanation) == ("none", CORE, "the kernel warned where the model does not")
    assert any("Call Trace:" in line for line in judged.observed.log), "its words are kept for the bundle"


@pytest.mark.may_warn(CORE)
def test_an_expected_warning_that_does_not_come_is_a_difference(
    nfharness_ko: None, kernel: RunningKernel, monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = RULES["unregister.empty-head"].scripts[0]
    execute(script.scenario)  # it warns once
    for module in (executor, guest_run):
        monkeypatch.setattr(module, "warn_again", lambda: None)
    execute(script.scenario)
    comparison = judge(script, kernel.profile, execute(script.scenario)).comparison
    assert comparison.verdict == "different"
    assert {(one.where, one.observed) for one in comparison.differences} == {("steps[0]/splats", "none")}
