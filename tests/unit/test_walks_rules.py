"""Which rule decided, told from what a chain evaluated last; never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome import describe
from harness.outcome.types import HookCall, RulesetRule
from harness.walks.assembly import assembled
from harness.walks.events import Decision, Exit, TableRule
from harness.walks.recording import Recording
from harness.walks.rules import Decided, decided, decided_in_table, rules_wanted
from harness.walks.symbol import Symbol
from tests.unit.test_walks_assembly import call, entry

ACCEPT, DROP, STOLEN, QUEUE = (Verdict(kind) for kind in (VerdictKind.ACCEPT, VerdictKind.DROP, VerdictKind.STOLEN, VerdictKind.QUEUE))
REROUTED = Verdict(VerdictKind.DROP, errno=13)
CONTINUE, JUMP, RETURN = -1, -3, -5
TABLE = 9
LISTED = {(TABLE, 5): ("forward", "udp dport 9 jump svc"), (TABLE, 6): ("forward", "udp dport vmap { 9 : jump other, 7 : jump svc }"),
          (TABLE, 7): ("svc", 'counter goto deep comment "down"'), (TABLE, 8): ("deep", 'drop comment "the culprit"'),
          (TABLE, 4): ("forward", "udp dport 9 drop")}
UNKNOWN, POLICY = Decided(None, policy=False), Decided(None, policy=True)


def rule(handle: int, *via: int) -> Decided:
    return Decided(RulesetRule(handle, *LISTED[TABLE, handle], via), policy=False)


@pytest.mark.parametrize(("decision", "verdict", "found"), [
    (Decision(0, 4, 0, table=TABLE), DROP, rule(4)),
    (Decision(0, 4, 0, table=TABLE), STOLEN, rule(4)),
    (Decision(0, 4, 1, table=TABLE), ACCEPT, rule(4)),
    (Decision(0, 4, 3 | 7 << 16, table=TABLE), QUEUE, rule(4)),
    (Decision(0, 0, CONTINUE), DROP, POLICY),
    (Decision(0, 7, RETURN, table=TABLE), ACCEPT, POLICY),
    (Decision(0, 5, JUMP, (5,), 1, TABLE), ACCEPT, POLICY),
    (Decision(0, 4, 1, table=TABLE), DROP, UNKNOWN),
    (Decision(0, 0, CONTINUE), REROUTED, UNKNOWN),
    (Decision(0, 0, 0, table=TABLE), DROP, UNKNOWN),
    (Decision(0, 3, 0, table=TABLE), DROP, Decided(RulesetRule(3), policy=False)),
    (Decision(0, 8, 0, (5, 7), 2, TABLE), DROP, rule(8, 5, 7)),
    (Decision(0, 8, 0, (5, 6, 7), 3, TABLE), DROP, rule(8, 6, 7)),
    (Decision(0, 8, 0, (7, 5), 2, TABLE), DROP, rule(8, 7)),
    (Decision(0, 8, 0, (5, 6, 5, 7), 5, TABLE), DROP, rule(8)),
])
def test_a_verdict_is_a_rules_where_the_last_expression_gave_it(decision: Decision, verdict: Verdict, found: Decided) -> None:
    assert decided(decision, verdict, None, LISTED, "forward") == found


@pytest.mark.parametrize(("function", "found"), [
    ("nft_reject_inet_eval", rule(4)), ("nft_masq_ipv4_eval", rule(4)), ("nft_queue_eval", rule(4)), ("nft_nat_eval", rule(4)),
    ("nft_limit_pkts_eval", POLICY), ("nft_log_eval", POLICY),
    ("nft_target_eval_xt", UNKNOWN), ("nft_synproxy_inet_eval", UNKNOWN), (None, UNKNOWN),
])
def test_what_is_called_indirectly_decides_if_it_always_does(function: str | None, found: Decided) -> None:
    symbol = Symbol(0x10, function, "nf_tables") if function else None
    assert decided(Decision(0x10, 4, 0, table=TABLE), DROP, symbol, LISTED, "forward") == found
    if found == POLICY:
        assert decided(Decision(0x10, 4, 0, table=TABLE), REROUTED, symbol, LISTED, "forward") == UNKNOWN


@pytest.mark.parametrize("function", ["nft_target_eval_xt", None])
def test_a_verdict_that_no_policy_has_is_the_rules_whatever_was_called(function: str | None) -> None:
    symbol = Symbol(0x10, function, "nft_compat") if function else None
    for verdict in (Verdict(VerdictKind.STOLEN), Verdict(VerdictKind.QUEUE)):
        assert decided(Decision(0x10, 4, 0, table=TABLE), verdict, symbol, LISTED, "forward") == rule(4)


def test_a_rule_is_of_the_base_chain_under_the_name_that_it_had_where_nothing_jumped() -> None:
    found = decided(Decision(0, 4, 0, table=TABLE), DROP, None, LISTED, "renamed").rule
    assert found and (found.chain, found.text) == ("renamed", LISTED[TABLE, 4][1])
    jumped = decided(Decision(0, 8, 0, (5, 7), 2, TABLE), DROP, None, LISTED, "renamed").rule
    assert jumped and jumped.chain == LISTED[TABLE, 8][0]


def hook(verdict: Verdict, found: Decided) -> HookCall:
    return HookCall(0, "nft_do_chain_inet", "nf_tables", 0, verdict, chain="inet admin forward", rule=found.rule, policy=found.policy)


@pytest.mark.parametrize(("call", "words"), [
    (hook(DROP, rule(4)), "rule 4: udp dport 9 drop"),
    (hook(DROP, rule(8, 5, 7)), 'rule 8 of deep, from rule 5 and 7: drop comment "the culprit"'),
    (hook(DROP, Decided(RulesetRule(3), policy=False)), "rule 3, whose text is not known"),
    (hook(ACCEPT, Decided(RulesetRule(3), policy=False)), ""),
    (hook(DROP, POLICY), "its policy: no rule gave a verdict"), (hook(ACCEPT, POLICY), ""), (hook(DROP, UNKNOWN), ""),
    (replace(hook(REROUTED, UNKNOWN), function="nf_route_table_hook4"),
     "its chain accepted, and there was no route for what it made of the packet"),
    (hook(REROUTED, UNKNOWN), ""),
])
def test_a_decision_is_told_in_words(call: HookCall, words: str) -> None:
    assert describe.decided_by(call) == words


@pytest.mark.parametrize(("by", "found", "words"), [
    (TableRule(1, 0, 2, "", ""), Decided(RulesetRule(2, "FORWARD", "-j DROP"), policy=False), "rule 2: -j DROP"),
    (TableRule(1, 0, 7, "web", "REJECT"), Decided(RulesetRule(7, "web", "-j REJECT"), policy=False), "rule 7 of web: -j REJECT"),
    (TableRule(1, 0, 2, "", "", hot=True), Decided(RulesetRule(2, "FORWARD", "one of its matches had the packet dropped"), policy=False),
     "rule 2: one of its matches had the packet dropped"),
    (TableRule(1, 0, 0, "", ""), UNKNOWN, ""), (TableRule(1, 0, 4, "", "", policy=True), POLICY, "its policy: no rule gave a verdict"),
], ids=["verdict", "target", "match", "not-found", "policy"])
def test_a_rule_of_a_table_is_told_by_its_number(by: TableRule, found: Decided, words: str) -> None:
    assert decided_in_table(by, DROP, "FORWARD") == found
    symbol = Symbol(0x40, "ipt_do_table", "ip_tables")
    events = (entry(1, hook=2), call(1, function=0x40)._replace(priority=0, verdict=DROP.encode()), by, Exit(1, -1, 0))
    packet, = assembled(Recording(events, {0x40: symbol}.get)).packets
    seen, = packet.traversals[0].calls
    assert (seen.rule, seen.policy, describe.decided_by(seen)) == (*found, words)


def of(rules: Mapping[tuple[int, int, int], tuple[str, str]]) -> Recording:
    events = (entry(1), call(1, 0)._replace(chain="inet admin forward", decision=Decision(0, 8, 0, (5, 0), 2, TABLE)), Exit(1, -1, 0))
    return Recording(events, lambda _: None, namespaces=[(0, 7, "router")], rules=rules)


def test_the_rules_that_are_to_be_listed_are_those_of_the_decisions() -> None:
    recording = of({})
    assert rules_wanted(recording.events, recording.namespaces) == {(7, TABLE, 8), (7, TABLE, 5)}


def test_a_rule_is_told_from_the_listing_of_its_own_namespace() -> None:
    for netns, text in ((7, LISTED[TABLE, 8]), (8, ("", ""))):
        packet, = assembled(of({(netns, TABLE, 8): LISTED[TABLE, 8]})).packets
        assert packet.traversals[0].pf is Family.IPV4
        assert packet.traversals[0].calls[0].rule == RulesetRule(8, *text)


@pytest.mark.parametrize(("function", "priority", "name"), [
    ("ipt_do_table", -300, "iptables raw FORWARD"), ("ipt_do_table", 0, "iptables filter FORWARD"),
    ("ip6t_do_table", -150, "ip6tables mangle FORWARD"), ("iptable_filter_hook", 0, "iptables filter FORWARD"),
    ("ip6table_nat_do_chain", -100, "ip6tables nat FORWARD"), ("arpt_do_table", 0, "arptables filter FORWARD"),
    ("arptable_filter_hook", 0, "arptables filter FORWARD"), ("ipt_do_table", 7, None), ("ipt_do_table", None, None),
    ("nft_do_chain_ipv4", 0, None),
])
def test_a_table_of_xtables_is_told_by_its_function_or_its_priority(function: str, priority: int | None, name: str | None) -> None:
    symbol = Symbol(0x40, function, "x_tables")
    events = (entry(1, hook=2), call(1, function=0x40)._replace(priority=priority), Exit(1, 1, 0))
    packet, = assembled(Recording(events, {0x40: symbol}.get)).packets
    assert packet.traversals[0].calls[0].chain == name
