"""Every wrong hook core is told from the right one, and every rule can fail."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from harness.conformance import RULES
from harness.conformance.judge import judge
from harness.model import Foreign, predict
from harness.netfilter import Family
from harness.outcome import KernelProfile, Outcome, Slot, conclude, point_key
from harness.scenario import BUILTIN, Scenario
from tests.mutants import MUTANTS, Mutant, mutant
from tests.mutants.mutant import collected
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


def shown_by(scenario: Scenario, right: dict[str, Outcome]) -> bool:
    """Whether a scenario tells the mutant that is applied from the model.

    :param right: what the model says, by the scenario's name
    """
    return conclude(right[scenario.name], predict(scenario, foreign=FOREIGN)) == "different"


def quick_first() -> list[Scenario]:
    """The built-in scenarios, those with a thousand hooks last."""
    return sorted(BUILTIN.values(), key=lambda scenario: max(getattr(step, "count", 1) for step in scenario.steps))


KILLED = [(name, rule) for name, mutant in MUTANTS.items() for rule in mutant.rules]


@pytest.mark.parametrize("name", sorted(name for name, mutant in MUTANTS.items() if not mutant.rules_only))
def test_a_built_in_scenario_tells_the_mutant_from_the_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = predicted()
    MUTANTS[name].apply(monkeypatch)
    assert any(shown_by(scenario, right) for scenario in quick_first())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(name for name, mutant in MUTANTS.items() if mutant.rules_only))
def test_no_built_in_scenario_tells_a_mutant_of_rules_only(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = predicted()
    MUTANTS[name].apply(monkeypatch)
    shown = [scenario.name for scenario in BUILTIN.values() if shown_by(scenario, right)]
    assert not shown, f"take rules_only off {name!r}"


@pytest.mark.parametrize("rule", RULES)
def test_the_model_keeps_the_rule(rule: str) -> None:
    outcomes = [predict(script.scenario, profile_for(rule), script.foreign) for script in RULES[rule].scripts]
    assert [list(script.unmet(outcome)) for script, outcome in zip(RULES[rule].scripts, outcomes, strict=True)] == [[] for _ in outcomes]


@pytest.mark.parametrize(("name", "rule"), KILLED, ids=[f"{name} → {rule}" for name, rule in KILLED])
def test_a_kernel_and_a_model_that_are_wrong_in_the_same_way_break_the_rule(name: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name].apply(monkeypatch)
    assert any(list(script.unmet(predict(script.scenario, profile_for(rule), script.foreign))) for script in RULES[rule].scripts)


def test_two_mutants_with_one_name_are_an_error() -> None:
    with pytest.raises(ValueError, match="two mutants are called 'twice'"):
        collected([("twice", Mutant(("order.ascending",), ())), ("twice", Mutant(("drop.errno",), ()))])


def test_no_file_of_mutants_loses_one_to_another_of_the_same_name() -> None:
    """A dictionary's display would, silently."""
    files = list(Path(mutant.__file__).parent.glob("[a-z]*.py"))
    written = [key.value for path in files for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Dict)
               for key in node.keys if isinstance(key, ast.Constant)]
    assert len(written) == len(set(written))
    assert not [path.name for path in files if re.search(r"\bdict\(", path.read_text())], "collected() is for that"


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
    due = first - large - {rule for rule in first if RULES[rule].lacking(recorded().profile)}
    missing, extra = sorted(due - recorded().rules.keys()), sorted(recorded().rules.keys() - due)
    assert not missing, f"record what a real kernel does: .venv/bin/python -m tests.recorded {' '.join(missing)}"
    assert not extra, f"no mutant has {', '.join(extra)} first in its list: record all again: .venv/bin/python -m tests.recorded"


def test_the_recording_is_of_a_kernel_with_every_probe() -> None:
    profile = recorded().profile
    assert isinstance(profile, KernelProfile) and profile.netdev_egress and profile.stolen_errno
