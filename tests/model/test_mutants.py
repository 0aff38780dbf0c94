"""Every wrong hook core is told from the right one, and every rule can fail."""

from __future__ import annotations

from functools import cache

import pytest

from harness.conformance import RULES
from harness.conformance.judge import judge
from harness.model import Foreign, predict
from harness.netfilter import Family
from harness.outcome import KernelProfile, Outcome, Slot, conclude, point_key
from harness.scenario import BUILTIN
from tests.mutants import MUTANTS
from tests.recorded import recorded

FOREIGN = Foreign({0: ((point_key("router", Family.IPV4, 2), (Slot(0, "nft_do_chain_inet", "nf_tables", 0),)),)})


def profile_for(rule: str) -> KernelProfile:
    """Of a kernel to which the rule applies."""
    profile: KernelProfile = RULES[rule].profile
    assert RULES[rule].lacking(profile) is None
    return profile


@cache
def predicted() -> dict[str, Outcome]:
    """What the model, which is right, says of each built-in scenario."""
    return {scenario.name: predict(scenario, foreign=FOREIGN) for scenario in BUILTIN.values()}


KILLED = [(name, rule) for name, mutant in MUTANTS.items() for rule in mutant.rules]


@pytest.mark.parametrize("name", sorted(name for name, mutant in MUTANTS.items() if not mutant.rules_only))
def test_a_built_in_scenario_tells_the_mutant_from_the_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = predicted()
    MUTANTS[name].apply(monkeypatch)
    assert any(conclude(right[scenario.name], predict(scenario, foreign=FOREIGN)) == "different" for scenario in BUILTIN.values())


@pytest.mark.parametrize("rule", RULES)
def test_the_model_keeps_the_rule(rule: str) -> None:
    outcomes = [predict(script.scenario, profile_for(rule), script.foreign) for script in RULES[rule].scripts]
    assert [list(script.unmet(outcome)) for script, outcome in zip(RULES[rule].scripts, outcomes, strict=True)] == [[] for _ in outcomes]


@pytest.mark.parametrize(("name", "rule"), KILLED, ids=[f"{name} → {rule}" for name, rule in KILLED])
def test_a_kernel_and_a_model_that_are_wrong_in_the_same_way_break_the_rule(name: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name].apply(monkeypatch)
    assert any(list(script.unmet(predict(script.scenario, profile_for(rule), script.foreign))) for script in RULES[rule].scripts)


def test_every_rule_is_broken_by_a_mutant() -> None:
    assert RULES.keys() - {rule for mutant in MUTANTS.values() for rule in mutant.rules} == set()


@pytest.mark.parametrize("name", [name for name, mutant in MUTANTS.items() if mutant.rules[0] in recorded().rules])
def test_a_wrong_model_departs_from_what_a_real_kernel_did(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = RULES[MUTANTS[name].rules[0]]
    observed = recorded().rules[rule.id]

    def verdicts() -> set[str]:
        return {judge(script, recorded().profile, outcome).comparison.verdict
                for script, outcome in zip(rule.scripts, observed, strict=True)}

    assert verdicts() == {"conformant"}
    MUTANTS[name].apply(monkeypatch)
    assert "different" in verdicts()


def test_the_recording_covers_the_rules_that_are_named_first_but_for_the_large_ones_and_those_of_other_kernels() -> None:
    first = {mutant.rules[0] for mutant in MUTANTS.values()}
    large = {rule for rule in first if rule.startswith("limit.")} | {"inet.first-half", "inet.rollback"}
    assert first - recorded().rules.keys() == large | {rule for rule in first if RULES[rule].lacking(recorded().profile)}


def test_the_recording_is_of_a_kernel_with_every_probe() -> None:
    profile = recorded().profile
    assert isinstance(profile, KernelProfile) and profile.netdev_egress and profile.stolen_errno
