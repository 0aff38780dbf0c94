"""Why a chain decided: the kernel's word and the rules as they were listed; what neither settles cannot be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP

from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.types import Change, Connection, Evaluated, HookCall, Ruleset, RulesetRule, Traversal
from harness.walks.explain import Explanation, explained
from harness.walks.expressions import holds, looked_up
from harness.walks.here import Here, here

ACCEPT, DROP = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.DROP)
TABLE, TIME = 7, 1000
LIMIT = {"limit": {"rate": 1, "per": "hour"}}
DPORT = {"payload": {"protocol": "udp", "field": "dport"}}


def match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def jump(chain: str) -> dict[str, Any]:
    return {"jump": {"target": chain}}


def table(
    chains: Mapping[str, Sequence[tuple[int, list[dict[str, Any]]]]], *others: dict[str, Any], handle: int = TABLE,
) -> tuple[dict[str, Any], ...]:
    of = {"family": "ip", "table": "t"}
    rules = ({"rule": {**of, "chain": chain, "handle": number, "expr": expr, "text": f"text {number}"}}
             for chain, rules in chains.items() for number, expr in rules)
    sets = ({kind: {**of, **one}} for each in others for kind, one in each.items())
    return {"table": {"family": "ip", "name": "t", "handle": handle}}, *sets, *rules


def packet(layers: Any = None, **fields: Any) -> Here:
    data = bytes(layers if layers is not None else IP(src="10.0.1.2", dst="10.0.2.2") / UDP(sport=4000, dport=9) / b"xx")
    return Here(**{"pf": Family.IPV4, "indev": "eth0", "outdev": "", "packet": "", "head": data[:64], "length": len(data), "mark": 7,
                   "connection": "new", **fields})


def called(verdict: Verdict = ACCEPT, rule: int | None = None, jumped: tuple[int, ...] = (), jumps: int | None = None) -> HookCall:
    return HookCall(0, "nft_do_chain_ipv4", "nf_tables", 0, verdict, chain="ip t base", rule=None if rule is None else RulesetRule(rule),
                    policy=rule is None, evaluated=Evaluated(TABLE, len(jumped) if jumps is None else jumps, jumped))


def told(call: HookCall, chains: Any, *others: dict[str, Any], at: tuple[Ruleset, ...] | None = None) -> Explanation:
    seen = packet()
    traversal = Traversal(Family.IPV4, 1, "init", "eth0", "", (call,), 1, mark=7, connection="new", head=seen.head, length=30, time=TIME)
    return explained(traversal, (0,), call, (Ruleset("init", 0, 2000, table(chains, *others)),) if at is None else at)


def states(explanation: Explanation) -> dict[int, str]:
    return {rule.handle: rule.state for rule in explanation.rules}


@pytest.mark.parametrize(("left", "op", "right", "truth", "why"), [
    (DPORT, "==", 9, True, "udp dport is 9"),
    (DPORT, "==", 80, False, "udp dport is 9"),
    (DPORT, "!=", {"set": [80, {"range": [1, 8]}]}, True, "udp dport is 9"),
    ({"payload": {"protocol": "tcp", "field": "dport"}}, "!=", 80, False, "it is no TCP packet"),
    ({"payload": {"protocol": "ip", "field": "saddr"}}, "==", {"prefix": {"addr": "10.0.0.0", "len": 8}}, True, "ip saddr is 10.0.1.2"),
    ({"payload": {"protocol": "ip6", "field": "saddr"}}, "==", "::1", False, "it is no IPv6 packet"),
    ({"payload": {"protocol": "ether", "field": "saddr"}}, "==", "00:11:22:33:44:55", None, "ether saddr is not recorded"),
    ({"meta": {"key": "iifname"}}, "==", "eth*", True, "iifname is eth0"),
    ({"meta": {"key": "iifname"}}, "!=", "eth\\*", True, "iifname is eth0"),
    ({"meta": {"key": "oifname"}}, "==", "eth0", False, "oifname is none"),
    ({"meta": {"key": "skuid"}}, "==", 0, None, "meta skuid is not recorded"),
    ({"&": [{"meta": {"key": "mark"}}, 3]}, "==", 3, True, "mark & 0x3 is 0x3"),
    ({"ct": {"key": "state"}}, "in", [2, 4], False, "ct state is new"),
    ({"ct": {"key": "mark"}}, "==", 0, None, "ct mark is not recorded"),
    ({"fib": {"result": "type", "flags": ["daddr"]}}, "==", 2, None, "fib is not recorded"),
    ({"concat": [{"payload": {"protocol": "ip", "field": "daddr"}}, DPORT]}, "==", {"set": [{"concat": ["10.0.2.2", 9]}]}, True,
     "ip daddr . udp dport is 10.0.2.2 . 9"),
])
def test_a_match_is_compared_with_the_packet(left: Any, op: str, right: Any, truth: bool | None, why: str) -> None:
    assert holds(packet(), match(left, right, op)["match"], lambda _: ()) == (truth, why)


@pytest.mark.parametrize(("seen", "left", "right", "truth"), [
    (packet(connection="none"), {"ct": {"key": "state"}}, 1, True),
    (packet(connection="none"), {"ct": {"key": "mark"}}, 0, False),
    (packet(connection="established, reply"), {"ct": {"key": "direction"}}, 1, True),
    (packet(IP(frag=100) / UDP()), DPORT, 53, None),
    (packet(IP(proto=17) / b"12"), DPORT, 53, None),
    (packet(ARP(), pf=Family.ARP), {"meta": {"key": "l4proto"}}, 17, False),
    (packet(IPv6() / UDP(dport=9), pf=Family.IPV6), DPORT, 9, True),
    (packet(IPv6(nh=0) / (b"\x11\x07" + bytes(62)), pf=Family.IPV6), DPORT, 9, None),
    (packet(IP() / TCP(flags="SA")), {"payload": {"protocol": "tcp", "field": "flags"}}, 18, True),
    (packet(IP() / ICMP(type=8)), {"payload": {"protocol": "icmp", "field": "type"}}, 0, False),
    (packet(pf=Family.NETDEV), {"meta": {"key": "nfproto"}}, 2, None),
    (packet(mark=None), {"meta": {"key": "mark"}}, 7, None),
    (packet(length=None), {"meta": {"key": "length"}}, 30, None),
])
def test_what_the_packet_has_not_does_not_match_and_what_was_not_recorded_cannot_be_told(
    seen: Here, left: Any, right: Any, truth: bool | None,
) -> None:
    assert holds(seen, match(left, right)["match"], lambda _: ()).truth is truth


def test_a_map_without_the_key_does_not_match_unless_it_has_one_for_all() -> None:
    elements = [["*", {"drop": None}], [{"elem": {"val": 9, "comment": "nine"}}, {"accept": None}]]
    assert looked_up(packet(), {"key": DPORT, "data": {"set": elements}}, lambda _: ())[1] == {"accept": None}
    assert looked_up(packet(IP() / UDP(dport=5)), {"key": DPORT, "data": {"set": elements}}, lambda _: ())[1] == {"drop": None}
    assert looked_up(packet(IP() / UDP(dport=5)), {"key": DPORT, "data": {"set": elements[1:]}}, lambda _: ())[0].truth is False


def test_a_packet_is_what_the_calls_before_have_made_of_it() -> None:
    made = bytes(IP(dst="10.0.2.3") / UDP(dport=80))
    inner = replace(called(), changed=(Change("mark", "0x7", "0x9"),))
    nat = replace(called(), calls=(inner, called()), head=made, changed=(Change("status", "none", "DST_NAT"), Change("zone", "0", "5")))
    seen = packet()
    traversal = Traversal(Family.IPV4, 1, "init", "eth0", "", (nat, called()), 1, mark=7, connection="new", head=seen.head, length=30,
                          tracked=Connection(1, 0, (), "original"))
    assert here(traversal, (0, 0)).mark == 7
    assert here(traversal, (0, 1))[4:7] == (seen.head, 30, 9)
    assert here(traversal, (1,))[4:] == (made, None, 9, "new", 5, ("DST_NAT",), frozenset())


def test_each_rule_is_told_up_to_the_one_that_decided() -> None:
    found = told(called(DROP, 6, (2,)), {
        "base": [(1, [match(DPORT, 80), {"accept": None}]), (2, [jump("svc")]), (3, [{"accept": None}])],
        "svc": [(4, [LIMIT, {"drop": None}]), (5, [LIMIT, {"counter": None}]),
                (6, [{"xt": {"type": "match", "name": "comment"}}, match(DPORT, 9), {"drop": None}]), (7, [{"drop": None}])]})
    assert states(found) == {1: "not matched", 2: "matched", 4: "not matched", 5: "cannot tell", 6: "matched"}
    assert [rule.did for rule in found.rules if rule.did] == ["jumped to svc", "decided: drop"]
    assert (found.unreached, found.notes) == ({"svc": 1, "base": 1}, ())
    assert found.rules[2].why == ("the state of its limit is not recorded", "the kernel went on to the next rule")


def test_what_the_kernel_did_though_all_that_was_compared_says_otherwise_is_not_told() -> None:
    found = told(called(), {"base": [(1, [match(DPORT, 9), {"drop": None}])]})
    assert [(rule.state, rule.why) for rule in found.rules] == [
        ("cannot tell", ("all that was compared holds, and the kernel went on to the next rule",))]
    found = told(called(DROP, 1), {"base": [(1, [match(DPORT, 80), {"drop": None}])]})
    assert states(found) == {1: "not matched"}
    assert found.notes == ("what the kernel did does not fit the rules as they were listed: rule 1 decided",)


def test_a_mark_that_a_rule_set_is_heeded() -> None:
    key = {"meta": {"key": "mark"}}
    known, unknown = ({"mangle": {"key": key, "value": value}} for value in ({"|": [key, 8]}, {"ct": {"key": "mark"}}))
    is_15 = [match(key, 15), {"counter": None}]
    found = told(called(), {"base": [(1, [known]), (2, is_15), (3, [unknown]), (4, is_15)]})
    assert states(found) == {1: "matched", 2: "matched", 3: "matched", 4: "cannot tell"}


def test_a_goto_does_not_come_back_and_a_return_does() -> None:
    chains = {"base": [(1, [jump("a")]), (2, [{"goto": {"target": "b"}}]), (3, [{"counter": None}])],
              "a": [(4, [match(DPORT, 9), {"return": None}]), (5, [{"counter": None}])], "b": [(6, [{"counter": None}])]}
    assert states(told(called(jumped=(1, 2)), chains)) == {1: "matched", 4: "matched", 2: "matched", 6: "matched"}


def test_a_verdict_map_leads_where_the_rule_that_was_seen_next_stands() -> None:
    vmap = {"vmap": {"key": {"meta": {"key": "cpu"}}, "data": {"set": [[0, jump("a")], [1, jump("b")]]}}}
    found = told(called(DROP, 3, (1,)), {"base": [(1, [vmap])], "a": [(2, [{"drop": None}])], "b": [(3, [{"drop": None}])]})
    assert [(rule.handle, rule.did) for rule in found.rules] == [(1, "jumped to b"), (3, "decided: drop")]


def test_jumps_that_were_not_recorded_are_not_guessed() -> None:
    limited = [LIMIT, jump("a")]
    found = told(called(jumped=(1,), jumps=2), {"base": [(1, limited), (2, limited)], "a": [(3, [{"counter": None}])]})
    assert states(found) == {1: "matched", 3: "matched", 2: "cannot tell"}
    assert found.notes == ("whether rule 2 of base led elsewhere cannot be told",)


def test_a_jump_whose_rule_was_not_seen_is_not_guessed_either() -> None:
    chains = {"base": [(1, [jump("a")]), (2, [LIMIT, jump("a")])], "a": [(4, [{"accept": None}]), (3, [LIMIT])]}
    found = told(called(DROP, 3, (1, 0)), chains)
    assert states(found) == {1: "matched", 4: "cannot tell", 3: "cannot tell", 2: "cannot tell"}


@pytest.mark.parametrize(("flags", "state"), [([], "matched"), (["dynamic"], "cannot tell"), (["timeout"], "cannot tell")])
def test_a_set_whose_elements_come_and_go_tells_nothing(flags: list[str], state: str) -> None:
    ports = {"set": {"name": "ports", "flags": flags, "elem": [9]}}
    assert states(told(called(), {"base": [(1, [match(DPORT, "@ports"), {"counter": None}])]}, ports)) == {1: state}


def test_rules_and_sets_that_changed_between_two_listings_cannot_be_told() -> None:
    ports = {"set": {"name": "ports", "elem": [80]}}
    same, changed = (1, [match(DPORT, 80), {"drop": None}]), (3, [match(DPORT, "@ports"), {"counter": None}])
    before = Ruleset("init", 0, 100, table({"base": [same, (2, [match(DPORT, 1), {"counter": None}]), changed]}, ports))
    after = Ruleset("init", 1200, 1300, table({"base": [same, (2, [match(DPORT, 2), {"counter": None}]), changed]}, {"set": {
        "name": "ports", "elem": [81]}}))
    found = told(called(), {}, at=(before, after))
    assert states(found) == {1: "not matched", 2: "cannot tell", 3: "cannot tell"}
    assert "the table was changed between two listings" in found.notes[0]
    assert told(called(), {}, at=(after,)).notes == ("the rules are those of a listing 200 ns after the packet",)
    assert told(called(), {}, at=(before,)).notes == ("the rules are those of a listing 900 ns before the packet: there is none behind",)


def test_a_table_that_was_not_listed_or_is_another_one_is_not_explained() -> None:
    another, elsewhere = Ruleset("init", 0, 2000, table({"base": []}, handle=TABLE + 1)), Ruleset("router", 0, 2000, table({"base": []}))
    for rulesets in ((), (another,), (elsewhere,)):
        found = told(called(), {}, at=rulesets)
        assert found.rules == ()
        assert found.notes[0].startswith("table ip t was not listed")


def test_a_listing_that_is_not_as_nft_writes_it_is_not_understood() -> None:
    assert states(told(called(), {"base": [(1, [{"match": 5}])]})) == {1: "cannot tell"}


def test_where_the_tracer_does_not_see_rules_the_comparison_alone_speaks() -> None:
    call = replace(called(DROP), policy=False)
    rules = {"base": [(1, [match(DPORT, 80), {"drop": None}]), (2, [match(DPORT, 9), {"drop": None}]), (3, [{"drop": None}])]}
    seen = packet()
    traversal = Traversal(Family.IPV4, 1, "init", "eth0", "", (call,), 1, mark=7, connection="new", head=seen.head, time=TIME)
    found = explained(traversal, (0,), call, (Ruleset("init", 0, 2000, table(rules)),), sees_rules=False)
    assert [(rule.handle, rule.state, rule.did) for rule in found.rules] == [(1, "not matched", ""), (2, "matched", "decided: drop")]


