"""Rules as data: which are meant, what the pinned core.c's table says, what makes no rule."""

from __future__ import annotations

import ast
import errno
from itertools import pairwise
from pathlib import Path

import pytest

from harness import conformance
from harness.conformance import RULES
from harness.conformance.coverage import FUNCTIONS, core_lines, functions_of
from harness.conformance.expect import Array, At, Crosses, Returns
from harness.conformance.rule import Rule, by_id, script
from harness.conformance.selection import chosen
from harness.errors import UserError
from harness.model import predict
from harness.netfilter import Family
from harness.outcome import KernelProfile
from harness.scenario import dumps, loads
from harness.scenario.steps.hooks import Dump, Nft, Register
from harness.scenario.steps.packets import Send

V4 = Family.IPV4

#: Those that the issue names, and the static ones beside them.
NAMED = {
    "nf_hook_entries_grow", "hooks_validate", "nf_hook_entries_insert_raw", "__nf_hook_entries_try_shrink", "nf_hook_entry_head",
    "__nf_register_net_hook", "nf_remove_net_hook", "__nf_unregister_net_hook", "nf_unregister_net_hook", "nf_hook_entries_delete_raw",
    "nf_register_net_hook", "nf_register_net_hooks", "nf_unregister_net_hooks", "nf_hook_slow", "nf_ct_attach", "nf_conntrack_destroy",
    "nf_ct_get_tuple_skb", "nf_ct_zone_dflt", "netfilter_net_init", "netfilter_net_exit", "netfilter_init",
}


def ids(*patterns: str) -> list[str]:
    return [rule.id for rule in chosen(patterns)]


def test_no_pattern_means_every_rule() -> None:
    assert ids() == list(RULES)


@pytest.mark.parametrize("pattern", ["order.*", "order", "order."])
def test_a_glob_and_a_prefix_mean_all_that_begin_like_that(pattern: str) -> None:
    assert ids(pattern) == [
        "order.ascending", "order.equal-newest-first", "order.stable", "order.many", "order.every-point", "order.layer-2", "order.devices",
        "order.egress", "order.inet-ingress", "order.foreign", "order.named-priorities-every-point", "order.named-priorities-every-egress"]


def test_an_id_that_is_also_a_prefix_means_that_rule_and_all_that_begin_like_it() -> None:
    others = ["stolen.errno", "stolen.keeps", "stolen.errno-range"]
    assert (ids("stolen"), ids("stolen.*")) == (["stolen", *others], others)


def test_rules_come_once_and_in_the_order_of_core_c() -> None:
    assert ids("drop.errno", "*.errno", "order.stable") == ["order.stable", "drop.errno", "stolen.errno"]


def test_an_unknown_rule_is_told_the_nearest() -> None:
    with pytest.raises(UserError) as raised:
        chosen(["order.acsending"])
    assert raised.value.hint is not None
    assert raised.value.hint.startswith('did you mean "order.ascending"?')


def test_every_function_of_core_c_is_in_the_table_once() -> None:
    names = [function.name for function in FUNCTIONS]
    assert len(names) == len(set(names))
    assert set(names) >= NAMED


def test_every_branch_is_in_its_function_and_has_rules_or_a_reason() -> None:
    for function in FUNCTIONS:
        for branch in function.branches:
            assert function.lines[0] <= branch.lines[0] <= branch.lines[1] <= function.lines[1], (function.name, branch.what)
            assert bool(branch.rules) != bool(branch.uncovered), (function.name, branch.what)


def test_branches_that_share_lines_are_told_apart() -> None:
    """By what they do: a line that does several things has several branches. One of newer kernels stands at the lines that it changed."""
    for function in FUNCTIONS:
        said = [(branch.lines, branch.what) for branch in function.branches]
        assert len(said) == len(set(said)), function.name
        assert len({what for _, what in said}) == len(said), function.name


def test_functions_follow_one_another() -> None:
    assert all(one.lines[1] < other.lines[0] for one, other in pairwise(FUNCTIONS))


def test_the_table_names_the_rules_and_no_others() -> None:
    named = {rule for function in FUNCTIONS for rule in function.rules}
    assert not RULES.keys() - named, "name them at a branch in harness/conformance/coverage.py"
    assert not named - RULES.keys(), "no rule has that id"


def test_a_rule_knows_its_lines_and_functions() -> None:
    assert core_lines("order.equal-newest-first") == ((146, 151),)
    assert functions_of("inet.rollback") == (
        "nf_hook_entries_grow", "__nf_hook_entries_try_shrink", "__nf_register_net_hook", "nf_register_net_hook")


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_scripts_have_names_of_their_own_and_survive_json(rule: Rule) -> None:
    for one in rule.scripts:
        assert one.scenario.name.startswith(rule.id)
        assert one.expected, "nothing but agreement with the model is expected"
        assert loads(dumps(one.scenario)) == one.scenario


def test_every_file_of_rules_is_collected() -> None:
    """An import of all files would be a circle: some of the room's files need the rules."""
    room = Path(conformance.__file__).parent
    files = {path.stem for path in room.glob("*.py") for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)
             if "RULES" in map(ast.unparse, node.targets)} - {"__init__"}
    collected = {module.__name__.rpartition(".")[2] for module in conformance._CONCERNS}
    assert files == collected, "name the file in _CONCERNS of harness/conformance/__init__.py"


def test_two_rules_with_one_id_are_an_error() -> None:
    rule = Rule("new.rule", "", (script("new.rule", Dump("host", V4, "INPUT")),))
    with pytest.raises(ValueError, match=r"two rules have the id 'new\.rule'"):
        by_id([rule, rule])


def test_two_scripts_with_one_name_are_an_error() -> None:
    one = script("new.rule", Dump("host", V4, "INPUT"))
    with pytest.raises(ValueError, match=r"a script of 'new\.rule' and one of 'new\.other' are both called 'new\.rule'"):
        by_id([Rule("new.rule", "", (one,)), Rule("new.other", "", (one,))])


def test_an_expectation_comes_after_a_step() -> None:
    with pytest.raises(ValueError, match="no step"):
        script("early", Returns(0), Dump("host", V4, "INPUT"))


def test_a_walk_comes_after_a_packet() -> None:
    with pytest.raises(ValueError, match="no step"):
        script("no packet", Dump("host", V4, "INPUT"), Crosses(()))


def test_a_script_that_makes_no_scenario_is_named() -> None:
    with pytest.raises(UserError, match=r'^twice: steps\[1\].id: "a" is already the id'):
        script("twice", *[Register("a", "host", V4, "INPUT")] * 2)


def test_a_rule_needs_probes_that_there_are() -> None:
    with pytest.raises(ValueError, match="unknown probes eggs"):
        Rule("r", "", (script("r", Dump("host", V4, "INPUT")),), needs=("eggs",))


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_a_rule_needs_the_families_that_it_has_hooks_at(rule: Rule) -> None:
    hooks = [hook for script in rule.scripts for step in script.scenario.steps for hook in (step, *getattr(step, "hooks", ()))]
    families = {getattr(hook, "pf", None) for hook in hooks}
    if any(getattr(hook, "hook", None) == "INGRESS" or (isinstance(hook, Nft) and "hook ingress" in hook.ruleset) for hook in hooks):
        families.add(Family.NETDEV)
    assert (Family.NETDEV in families) == bool({"netdev", "netdev_absent"} & set(rule.needs))
    assert {"arp"} & set(rule.needs) or Family.ARP not in families
    assert {"bridge"} & set(rule.needs) or Family.BRIDGE not in families


def test_a_probe_that_says_no_is_named() -> None:
    assert RULES["netdev.egress"].lacking(KernelProfile(netdev_egress=False)) == "netdev_egress"
    assert RULES["head.bridge"].lacking(KernelProfile(families=(Family.IPV4,))) == "bridge"
    assert RULES["netdev.egress"].lacking(KernelProfile()) is None


HOOKS = (Register("a", "host", V4, "INPUT", 1), Register("b", "host", V4, "INPUT", 2))


@pytest.mark.parametrize("expectation", [
    Crosses((At("host", "INPUT", "b a"),)),
    Crosses((At("host", "INPUT", "a"),)),
    Crosses((At("host", "INPUT", "a b", 0),)),
    Crosses((At("host", "INPUT", "a b", outdev="eth0"),)),
    Crosses((At("host", "PREROUTING", "a b"),)),
    Crosses(()),
    Crosses((At("host", "INPUT", "a b"),), "dropped"),
    Returns(errno.EPERM),
    Array("host", V4, "INPUT", "a b"),
], ids=str)
def test_an_expectation_that_does_not_hold_is_told(expectation: Crosses | Returns | Array) -> None:
    one = script("s", *HOOKS, Send("peer", "host", 1), expectation)
    assert list(one.unmet(predict(one.scenario)))


@pytest.mark.parametrize("expectation", [
    Crosses((At("host", "INPUT", "a b"),)), Crosses((At("host", "INPUT", "a b", 1, V4, "eth0", ""),)), Returns(0),
], ids=str)
def test_an_expectation_that_holds_is_not(expectation: Crosses | Returns) -> None:
    one = script("s", *HOOKS, Send("peer", "host", 1), expectation)
    assert list(one.unmet(predict(one.scenario))) == []
