"""Wrong later on: in what a second hook is given, when a namespace dies, at the hundredth array, for the other one of two."""

from __future__ import annotations

from tests.mutants.kernel.fault import fault

__all__ = ("FAULTS",)

_LOOP = "\tfor (; «s < e->num_hook_entries»; s++) {\n\t\tverdict"
_DROPPED = "\t\t\t«kfree_skb_reason(skb,\n\t\t\t\t\t SKB_DROP_REASON_NETFILTER_DROP);»"
_QUEUE = "\t\t\tret = «nf_queue(skb, state, s, verdict)»;"
_DEC_KEY = "\t\t«nf_static_key_dec(reg, pf);»\n"
_DEC_INGRESS, _DEC_EGRESS = "\t\t\t«net_dec_ingress_queue();»", "\t\t\t«net_dec_egress_queue();»"
_FREE = "\tnf_queue_nf_hook_drop(net);\n\t«nf_hook_entries_free(p);»"
_FLUSH = "\t«nf_queue_nf_hook_drop(net);»\n"
_MATCH = "\t\tif («orig_ops[i] != unreg»)\n\t\t\tcontinue;"
_INC_EGRESS = "\t\t«net_inc_egress_queue();»"
_PASSED = "\t\t«if (ret == 1)\n\t\t\tlist_add_tail(&skb->list, &sublist);»"
_BATCH_ROLLBACK = "\t\tnf_unregister_net_hooks(net, reg, i);"
_CALL_RCU = "\tcall_rcu(&head->head, __nf_hook_entries_free);"


def _given(change: str) -> str:
    """Behind the first hook the state is another one."""
    return f"({{ if (s) {change}; s < e->num_hook_entries; }})"


STATE = tuple(
    fault(f"state-{name}-behind-the-first", _LOOP, _given(change), breaks="each hook of a point is given the state that the first one was",
          rules=rules) for name, change, rules in (
        ("without-in", "state->in = NULL", "queue.reinject-accept"),
        ("without-out", "state->out = NULL", "queue.reinject-accept"),
        ("of-another-point", "state->hook = NF_INET_LOCAL_IN", "queue.reinject-accept"),
        ("of-another-family", "state->pf = NFPROTO_IPV4", "queue.reinject-accept"),
        ("of-the-first-namespace", "state->net = &init_net", "queue.reinject-accept queue.waits"),
    ))

DYING = (
    *(fault(f"key-stays-{name}-for-a-dying-namespace", _DEC_KEY, f"if (check_net(net) || pf != {pf}) nf_static_key_dec(reg, pf);",
            breaks="hooks of a dead namespace do not count, of any family", rules=rules) for name, pf, rules in (
        ("of-arp", "NFPROTO_ARP", "pernet.exit-layer-2"), ("of-bridge", "NFPROTO_BRIDGE", "pernet.exit-layer-2"),
        ("of-ipv6", "NFPROTO_IPV6", "pernet.exit"), ("of-inet", "NFPROTO_INET", "pernet.exit-devices"))),
    fault("ingress-stays-for-a-dying-namespace", _DEC_INGRESS, "if (check_net(net)) net_dec_ingress_queue();",
          breaks="ingress hooks of a dead namespace do not count", rules="pernet.exit pernet.exit-devices"),
    fault("egress-stays-for-a-dying-namespace", _DEC_EGRESS, "if (check_net(net)) net_dec_egress_queue();",
          breaks="egress hooks of a dead namespace do not count", rules="pernet.exit-devices"),
    fault("arrays-of-layer-2-of-a-dying-namespace-leak", _FREE,
          "if (check_net(net) || (pf != NFPROTO_ARP && pf != NFPROTO_BRIDGE)) nf_hook_entries_free(p);",
          breaks="a dead namespace's arrays are freed, of ARP and BRIDGE too", rules="pernet.exit-layer-2"),
    fault("arrays-of-devices-of-a-dying-namespace-leak", _FREE,
          "if (check_net(net) || (pf != NFPROTO_NETDEV && pf != NFPROTO_INET)) nf_hook_entries_free(p);",
          breaks="a dead namespace's arrays are freed, its devices' too", rules="pernet.exit-devices"),
)

SECOND = (
    fault("hundredth-array-leaks", _CALL_RCU, "\t{ static unsigned int nth; if (++nth % 100) call_rcu(&head->head, __nf_hook_entries_free); }",
          breaks="an array that is replaced is freed, each", rules="order.many limit.1024"),
    fault("second-drop-consumes", _DROPPED,
          "{ static unsigned int nth; if (++nth % 2) kfree_skb_reason(skb, SKB_DROP_REASON_NETFILTER_DROP); else consume_skb(skb); }",
          breaks="a drop is told as a drop, each", rules="drop.reason"),
    fault("second-flush-forgotten", _FLUSH, "{ static unsigned int nth; if (++nth % 2) nf_queue_nf_hook_drop(net); }",
          breaks="what waits is dropped when its array goes, each time", rules="unregister.flushes-queue"),
    fault("second-batch-not-rolled-back", _BATCH_ROLLBACK, "{ static unsigned int nth; if (++nth % 2) nf_unregister_net_hooks(net, reg, i); }",
          breaks="a batch is refused whole, each", rules="batch.rollback"),
    fault("third-passed-of-a-list-first", _PASSED,
          "{ static unsigned int nth; if (ret == 1 && ++nth % 3 == 0) list_add(&skb->list, &sublist); "
          "else if (ret == 1) list_add_tail(&skb->list, &sublist); }",
          breaks="a list keeps its order, however long", rules="list.order"),
    fault("queue-behind-the-second-from-the-next", _QUEUE, "nf_queue(skb, state, s + (s > 1), verdict)",
          breaks="a packet goes on behind the hook that queued it, the third too", rules="queue.hook-registered-meanwhile queue.number"),
)

OTHERS = (
    fault("remove-chain-by-function", _MATCH,
          "orig_ops[i] != unreg && (unreg->hook_ops_type != NF_HOOK_OP_NF_TABLES || orig_ops[i]->hook != unreg->hook)",
          breaks="of two chains the one that was meant goes", rules="unregister.one-of-two-chains"),
    fault("remove-link-by-priority", _MATCH,
          "orig_ops[i] != unreg && (unreg->hook_ops_type != NF_HOOK_OP_BPF || orig_ops[i]->priority != unreg->priority)",
          breaks="of a BPF link and a hook of its priority the one that was meant goes", rules="bpf.shared-priority"),
    fault("egress-of-lo-not-counted", [(_INC_EGRESS, "if (reg->dev->ifindex != 1) net_inc_egress_queue();"),
                                       (_DEC_EGRESS, "if (reg->dev->ifindex != 1) net_dec_egress_queue();")],
          breaks="egress of lo counts as any", rules="key.egress"),
    fault("large-drop-consumes", _DROPPED,
          "if (skb->len > 1000) consume_skb(skb); else kfree_skb_reason(skb, SKB_DROP_REASON_NETFILTER_DROP);",
          breaks="a drop is told as a drop, of a large packet too", rules="drop.reason"),
)

FAULTS = (*STATE, *DYING, *SECOND, *OTHERS)
