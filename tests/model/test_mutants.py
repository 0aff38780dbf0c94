"""Every wrong hook core is told from the right one, and every rule can fail."""

from __future__ import annotations

import pytest

from harness.conformance import RULES
from harness.conformance.judge import judge
from harness.model import Foreign, predict
from harness.netfilter import Family
from harness.outcome import KernelProfile, Slot, conclude, point_key
from harness.scenario import BUILTIN
from tests.mutants import MUTANTS
from tests.recorded import recorded

FOREIGN = Foreign({0: ((point_key("router", Family.IPV4, 2), (Slot(0, "nft_do_chain_inet", "nf_tables", 0),)),)})

#: Mutants that no built-in scenario shows: those have no full points, rollbacks or faults, nothing that moves, nor conntrack's hooks where
#: no kernel is.
RULES_ONLY = {"the limit is 1023", "there is no limit", "INET is not rolled back", "INET tries IPV6 all the same", "namespaces share heads",
              "devices share heads", "STOLEN forgets its errno", "dummies count", "conntrack does not wait for fragments",
              "full fragments have an empty one behind",
              "a device keeps what it should take apart", "the oldest packet gets every answer", "a listener may say anything",
              "a queue without room counts as none", "a reinjected packet that is stolen is freed", "a removal drops what waits anywhere",
              "a shrink that fails drops what waits", "a namespace needs no directory of procfs's",
              "a slot that is gone is worth a warning", "a slot that is gone is not worth a warning",
              "a BPF link shares priorities", "ICMP answers each fragment", "ICMPv6 answers the first fragment only",
              "IPv4 takes what comes from its own address", "a device that moves is a stranger to its neighbours",
              "a BPF program drops nothing", "an ICMP error quotes all of a datagram",
              "a list has no end", "a process sends all that it has before any comes in",
              "a shrink without a dummy drops what waits", "for a slot that is gone the last one does",
              "br_netfilter is on for all families", "br_netfilter takes what is routed for forwarded",
              "a bridge's host sends nothing to all", "a device takes what is for others", "a dummy hands back what it gets",
              "nobody learns of ENOBUFS", "a connection is any namespace's", "a connection is found before it is in the table",
              "one copy is sent, ever", "connections stay when nf_conntrack goes", "ops that are there twice go once",
              "a redirection leaves the answer's tuple", "a redirected connection was asked for where it went",
              "families have one point more", "a ruleset's hooks outlive their device", "a ruleset's hooks outlive their namespace",
              "nothing answers what had waited", "nobody warns of an orphan", "a kernel without ingress does not know it",
              "private arrays are put in order again", "disorder does not warn", "disorder warns once"}


def profile_for(rule: str) -> KernelProfile:
    """Of a kernel to which the rule applies."""
    profile: KernelProfile = RULES[rule].profile
    assert RULES[rule].lacking(profile) is None
    return profile

KILLED = [(name, rule) for name, mutant in MUTANTS.items() for rule in mutant.rules]


@pytest.mark.parametrize("name", sorted(MUTANTS.keys() - RULES_ONLY))
def test_a_built_in_scenario_tells_the_mutant_from_the_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = {scenario.name: predict(scenario, foreign=FOREIGN) for scenario in BUILTIN.values()}
    MUTANTS[name].apply(monkeypatch)
    wrong = {scenario.name: predict(scenario, foreign=FOREIGN) for scenario in BUILTIN.values()}
    assert any(conclude(right[scenario], wrong[scenario]) == "different" for scenario in right)


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
