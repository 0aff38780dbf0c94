"""Statements of a kernel's own core.c beside the pinned core.c's."""

from __future__ import annotations

import pytest

from harness.conformance import RULES
from harness.conformance.coverage import FUNCTIONS
from harness.conformance.promise import warnings
from harness.conformance.statements import CoreSource, pinned

NEWER = """/* core.c of a newer kernel */
int nf_hook_slow(struct sk_buff *skb, struct nf_hook_state *state,
         const struct nf_hook_entries *e, unsigned int s);

int nf_hook_slow(struct sk_buff *skb, struct nf_hook_state *state,
         const struct nf_hook_entries *e, unsigned int s)
{
    unsigned int verdict;
    int ret;

    for (; s < e->num_hook_entries; s++) {
        verdict = nf_hook_entry_hookfn(&e->hooks[s], skb, state);
        switch (verdict & NF_VERDICT_MASK) {
        case NF_ACCEPT:
            break;
        case NF_DROP:
            kfree_skb_reason(skb, SKB_DROP_REASON_NETFILTER_DROP);
            ret = NF_DROP_GETERR(verdict);
            if (ret == 0)
                ret = -EPERM;
            return ret;
        }
    }

    return 1;
}
EXPORT_SYMBOL(nf_hook_slow);
"""


def test_the_seed_has_every_statement_where_the_rules_were_read_from() -> None:
    for function in FUNCTIONS:
        for branch in function.branches:
            assert pinned().place(function, branch) == (branch.lines if branch.lines[0] != 34 and branch.lines[0] != 556
                                                      else (branch.lines[0],) * 2), (function.name, branch.what)


def test_a_statement_that_has_changed_and_moved_is_found_with_its_new_text() -> None:
    (statement,) = CoreSource("net/netfilter/core.c", tuple(NEWER.splitlines())).statements("drop.frees")
    assert str(statement) == "net/netfilter/core.c:16-21 nf_hook_slow: DROP: freed; -EPERM, or the errno it carries"
    assert statement.text[:2] == ("case NF_DROP:", "kfree_skb_reason(skb, SKB_DROP_REASON_NETFILTER_DROP);")


def test_functions_that_a_core_has_not_have_no_statements() -> None:
    assert list(CoreSource("core.c", ("int main;",)).statements("drop.frees")) == []


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_statements(rule: str) -> None:
    assert list(pinned().statements(rule))


def test_a_warning_has_its_line_and_its_function() -> None:
    log = ["------------[ cut here ]------------", "hook not found, pf 2 num 1",
           "WARNING: CPU: 0 PID: 77 at net/netfilter/core.c:517 __nf_unregister_net_hook+0x101/0x120", "Modules linked in: x", "",
           "WARNING: net/netfilter/core.c:303 at nf_hook_entry_head+0x1/0x2, CPU#1: python3/77"]
    assert list(warnings(log)) == ["the kernel warned: net/netfilter/core.c:517 __nf_unregister_net_hook",
                                   "the kernel warned: net/netfilter/core.c:303 nf_hook_entry_head"]
