"""Wrong in other widths, at other indices, of the other one of a pair; once for always, and always for once."""

from __future__ import annotations

from tests.mutants.kernel.fault import fault

__all__ = ("FAULTS",)

_TAKEN = "\t\t\tif («reg->priority == orig_ops[i]->priority &&\n\t\t\t    reg->hook_ops_type == NF_HOOK_OP_BPF»)"
_FREE = "\t\t\t«kfree_skb_reason(skb,\n\t\t\t\t\t SKB_DROP_REASON_NETFILTER_DROP);»"
_QUEUE = "\t\t\tret = «nf_queue(skb, state, s, verdict)»;"
_UNKNOWN = "\t\tdefault:\n\t\t\t«WARN_ON_ONCE(1);\n\t\t\treturn 0;»"
_DEC_EGRESS = "\t\t\t«net_dec_egress_queue();»"
_DEC_KEY = "\t\t«nf_static_key_dec(reg, pf);»\n"
_NOT_FOUND = "\t\t«WARN_ONCE(1, \"hook not found, pf %d num %d\", pf, reg->hooknum);»"
_KEPT = "\tmutex_unlock(&nf_hook_mutex);\n\t«if (!p)\n\t\treturn;»\n\n\tnf_queue"
_FLUSH = "\t«nf_queue_nf_hook_drop(net);»\n"
_MATCH = "\t\tif («orig_ops[i] != unreg»)\n\t\t\tcontinue;"
_ROLLBACK = "\t\t\tif (err < 0) {\n\t\t\t\t«__nf_unregister_net_hook(net, NFPROTO_IPV4, reg);»"

ARRAYS = (
    fault("room-for-one-ops-less", "\t\t       sizeof(struct nf_hook_ops *) * «num» +", "(num - 1)",
          breaks="an array has room for the ops of each hook", rules="memory.freed memory.grace-period order.ascending limit.1024",
          why="needs KASAN where what is behind it is not used, or is what nobody looks at"),
    fault("array-not-accounted", "\te = kvzalloc(alloc, GFP_KERNEL_ACCOUNT);", "\te = kvzalloc(alloc, GFP_KERNEL);",
          breaks="an array is on the account of the process that registers", why="without MEMCG the flag does nothing: nobody can tell; with it only the kernel memory of the control group would"),
    fault("free-of-slabs-only", "\tkvfree(head->allocation);", "\tkfree(head->allocation);",
          breaks="an array is freed as it was taken, from vmalloc too", why="kvzalloc() goes to vmalloc only where no pages that are neighbours are free: needs fault injection below it (FAIL_PAGE_ALLOC)"),
    fault("grow-forgets-priv-before-others", "\t\t\tnew->hooks[nhooks].priv = «reg->priv»;\n\t\t\tinserted = true;", "NULL",
          breaks="a hook is called with its priv, also before others", rules="order.ascending"),
    fault("grow-copies-from-the-new-slot", "new->hooks[nhooks] = «old->hooks[i]»;", "old->hooks[nhooks - inserted]",
          breaks="a larger array has the hooks of the smaller one, dummies or not", rules="grow.drops-dummies"),
    fault("shrink-copies-from-the-new-slot", "\t\tnew->hooks[j] = «old->hooks[i]»;", "old->hooks[j]",
          breaks="a smaller array has the hooks that stay", rules="unregister.shrinks"),
    fault("shrink-ops-from-the-new-slot", "\t\tnew_ops[j] = (void *)«orig_ops[i]»;", "orig_ops[j]",
          breaks="a smaller array has the ops of the hooks that stay", rules="unregister.shrinks"),
    fault("dummies-of-eight-bits", "\tif («skip == hook_entries»)\n\t\tgoto out_assign;", "(u8)skip == hook_entries",
          breaks="a point that has dummies only is emptied, however many they are", rules="limit.dummies"),
    fault("validate-warns-once", "\t\tWARN_ON(orig_ops[i]->priority < prio);\n", "\t\tWARN_ON_ONCE(orig_ops[i]->priority < prio);\n",
          breaks="each that is out of order warns, each time", rules="validate.altered"),
    fault("validate-not-the-last", "\tfor (i = 0; «i < hooks->num_hook_entries»; i++) {", "i + 1 < hooks->num_hook_entries",
          breaks="the last of an array is looked at too", rules="validate.altered"),
    fault("raw-delete-frees-a-failed-shrink", "\t\tp = __nf_hook_entries_try_shrink(p, pp);\n\t\tnf_hook_entries_free(p);",
          "__nf_hook_entries_try_shrink(p, pp); nf_hook_entries_free(p);",
          breaks="without memory a private array stays", rules="raw.enomem"),
)

BPF = (
    fault("bpf-taken-by-a-dummy", _TAKEN,
          "reg->priority == (orig_ops[i] == &dummy_ops ? 0 : orig_ops[i]->priority) && reg->hook_ops_type == NF_HOOK_OP_BPF",
          breaks="a dummy takes no priority away from a BPF program", rules="bpf.dummies"),
    fault("bpf-taken-by-bpf-only", _TAKEN, "reg->priority == orig_ops[i]->priority && reg->hook_ops_type == NF_HOOK_OP_BPF && "
          "orig_ops[i]->hook_ops_type == NF_HOOK_OP_BPF",
          breaks="a BPF program shares no priority with an ordinary hook", rules="bpf.taken-priority"),
    fault("bpf-nftables-too", _TAKEN, "reg->priority == orig_ops[i]->priority && reg->hook_ops_type != NF_HOOK_OP_UNDEFINED",
          breaks="a chain of nftables shares a priority", rules="order.foreign"),
    fault("bpf-full-before-taken", _TAKEN,
          "reg->priority == orig_ops[i]->priority && reg->hook_ops_type == NF_HOOK_OP_BPF && old_entries < MAX_HOOK_COUNT",
          breaks="a taken priority is -EBUSY, at a full point too", rules="bpf.full"),
)

POINTS = (
    fault("head-arp-one-less", "WARN_ON_ONCE(«ARRAY_SIZE(net->nf.hooks_arp) <= hooknum»)", "ARRAY_SIZE(net->nf.hooks_arp) <= hooknum + 1",
          breaks="ARP has a FORWARD", rules="head.arp"),
    fault("head-bridge-one-less", "WARN_ON_ONCE(«ARRAY_SIZE(net->nf.hooks_bridge) <= hooknum»)",
          "ARRAY_SIZE(net->nf.hooks_bridge) <= hooknum + 1", breaks="BRIDGE has a POSTROUTING", rules="head.bridge"),
    fault("head-ipv6-silent", "if (WARN_ON_ONCE(«ARRAY_SIZE(net->nf.hooks_ipv6) <= hooknum»))\n\t\t\treturn NULL;\n\t\treturn net->nf.hooks_ipv6",
          "({ if (ARRAY_SIZE(net->nf.hooks_ipv6) <= hooknum) return NULL; 0; })",
          breaks="a number out of range warns, of IPV6 too", rules="head.bad-hook unregister.no-point"),
    fault("head-any-number-is-ingress", "\tif («hooknum == NF_NETDEV_INGRESS») {", "hooknum != NF_NETDEV_EGRESS",
          breaks="a device has no point of another number", rules="unregister.no-device"),
    fault("key-down-only-with-the-array", [(_DEC_KEY, ";"), (_KEPT, "if (!p)\n\t\treturn;\n\tnf_static_key_dec(reg, pf);")],
          breaks="a hook that is gone does not count, dummy or not", rules="key.failed-shrink"),
    fault("egress-down-only-with-the-array", [
        (_DEC_EGRESS, ";"), (_KEPT, "if (!p)\n\t\treturn;\n\tif (nf_egress_hook(reg, pf))\n\t\tnet_dec_egress_queue();")],
          breaks="an egress hook that is gone does not count, dummy or not", rules="key.failed-shrink-egress"),
    fault("egress-counts-down-ingress", _DEC_EGRESS, "net_dec_ingress_queue();",
          breaks="egress is counted down, and ingress is not", rules="key.egress"),
    fault("inet-ingress-never-counted-down", "\t\tif («nf_ingress_hook(reg, pf)»)\n\t\t\tnet_dec", "pf == NFPROTO_NETDEV && nf_ingress_hook(reg, pf)",
          breaks="an INET hook at INGRESS is counted down", rules="key.ingress"),
    fault("inet-rollback-keeps-the-key", _ROLLBACK, "__nf_unregister_net_hook(net, NFPROTO_IPV4, reg); nf_static_key_inc(reg, NFPROTO_IPV4);",
          breaks="IPV6 refuses: the IPV4 half does not count", rules="key.refused"),
    fault("inet-ipv6-first", [
        ("\t\t\terr = «__nf_register_net_hook(net, NFPROTO_IPV4, reg)»;", "__nf_register_net_hook(net, NFPROTO_IPV6, reg)"),
        ("\t\t\terr = «__nf_register_net_hook(net, NFPROTO_IPV6, reg)»;", "__nf_register_net_hook(net, NFPROTO_IPV4, reg)"),
        (_ROLLBACK, "__nf_unregister_net_hook(net, NFPROTO_IPV6, reg);")],
          breaks="IPV4 refuses: IPV6 is not tried", rules="inet.enomem"),
)

UNREGISTER = (
    fault("remove-by-function-and-priv", _MATCH, "orig_ops[i]->hook != unreg->hook || orig_ops[i]->priv != unreg->priv",
          breaks="only the ops that were meant go", rules="bpf.same-program"),
    fault("remove-every-match", "\t\treturn true;\n\t}\n\n\treturn false;\n}\n\nstatic void __nf_unregister".replace("return true;", "«return true;»"),
          "for (i++; i < old->num_hook_entries; i++) if (orig_ops[i] == unreg) "
          "{ WRITE_ONCE(old->hooks[i].hook, accept_all); WRITE_ONCE(orig_ops[i], (void *)&dummy_ops); } return true;",
          breaks="one unregistration takes one of two", rules="duplicate.same-ops"),
    fault("missing-leaves-dummies", _NOT_FOUND,
          'WARN_ONCE(1, "hook not found, pf %d num %d", pf, reg->hooknum); mutex_unlock(&nf_hook_mutex); return;',
          breaks="unregistering what is not there drops dummies", rules="unregister.missing-shrinks"),
    fault("missing-says-inet", _NOT_FOUND, 'WARN_ONCE(1, "hook not found, pf %d num %d", reg->pf, reg->hooknum);',
          breaks="the warning says which half is missed", rules="unregister.missing"),
    fault("missing-warns-each-time", _NOT_FOUND, 'WARN(1, "hook not found, pf %d num %d", pf, reg->hooknum);',
          breaks="unregistering what is not there warns once", rules="unregister.missing"),
    fault("queue-flushed-only-when-emptied", _FLUSH, "if (!rcu_access_pointer(*pp)) nf_queue_nf_hook_drop(net);",
          breaks="what waits is dropped when its array goes, and another comes", rules="queue.hook-unregistered-meanwhile"),
    fault("queue-not-flushed-for-devices", _FLUSH, "if (pf != NFPROTO_NETDEV && pf != NFPROTO_INET) nf_queue_nf_hook_drop(net);",
          breaks="what waits is dropped when an array goes, a device's too", rules="unregister.flushes-queue"),
    fault("queue-not-flushed-by-the-second-half", _FLUSH, "if (reg->pf == pf || pf != NFPROTO_IPV6) nf_queue_nf_hook_drop(net);",
          breaks="what waits is dropped when an array goes, IPV4's or IPV6's", rules="queue.failed-shrink"),
    fault("batch-of-eight-bits", "\tfor (i = 0; «i < n»; i++) {", "i < (u8)n",
          breaks="all of a batch are registered, however many", rules="batch.all"),
    fault("batch-unregistered-from-the-end", "\t\tnf_unregister_net_hook(net, «&reg[i]»);", "&reg[hookcount - 1 - i]",
          breaks="a batch is unregistered as it is written", rules="batch.enomem"),
    fault("batch-rollback-not-of-inet", "\t\tnf_unregister_net_hooks(net, reg, i);", "while (i--) __nf_unregister_net_hook(net, reg[i].pf, &reg[i]);",
          breaks="a batch is refused whole, both halves of it", rules="batch.rollback"),
)

PACKETS = (
    fault("drop-positive-is-eperm", "\t\t\tif («ret == 0»)\n\t\t\t\tret = -EPERM;", "ret >= 0",
          breaks="a drop's errno is returned, whatever its sign", rules="drop.positive"),
    fault("known-verdicts-silent", _UNKNOWN, "WARN_ON_ONCE((verdict & NF_VERDICT_MASK) > NF_MAX_VERDICT);\n\t\t\treturn 0;",
          breaks="REPEAT and STOP warn", rules="repeat stop"),
    fault("bridge-drop-without-reason", _FREE,
          "if (state->pf == NFPROTO_BRIDGE) kfree_skb(skb); else kfree_skb_reason(skb, SKB_DROP_REASON_NETFILTER_DROP);",
          breaks="a drop's reason is NETFILTER_DROP, at bridges too", rules="path.bridge-verdicts"),
    fault("ipv6-drop-consumes", _FREE,
          "if (state->pf == NFPROTO_IPV6) consume_skb(skb); else kfree_skb_reason(skb, SKB_DROP_REASON_NETFILTER_DROP);",
          breaks="a drop is told as a drop, of IPV6 too", rules="drop.reason"),
    fault("queue-number-of-eight-bits", _QUEUE, "nf_queue(skb, state, s, verdict & 0x00ffffff)",
          breaks="the verdict's queue gets the packet, whatever its number", rules="queue.number"),
    fault("list-goes-on-with-positive", "\t\tif («ret == 1»)\n\t\t\tlist_add_tail", "ret > 0",
          breaks="what is dropped does not go on, whatever its errno", rules="list.verdicts"),
)

TRACKING = (
    fault("ct-attach-not-over-another", "\tif («skb->_nfct») {\n\t\trcu_read_lock();", "skb->_nfct && !new->_nfct",
          breaks="attach is called whatever the new packet has", why="its four callers (nf_reject_ipv4.c, nf_reject_ipv6.c, both icmp.c) attach to an skb that they have just allocated: nobody can tell"),
    fault("ct-orphan-warns-once", "\tWARN_ON(!ct_hook);", "\tWARN_ON_ONCE(!ct_hook);",
          breaks="each connection that nobody destroys warns", rules="ct.orphan"),
    fault("ct-closing-twice", "\t\t«ct_hook->set_closing(nfct);»", "ct_hook->set_closing(nfct); ct_hook->set_closing(nfct);",
          breaks="a connection is closed once", rules="ct.closing"),
    fault("arrays-of-a-dying-namespace-leak", "\tnf_queue_nf_hook_drop(net);\n\t«nf_hook_entries_free(p);»",
          "if (check_net(net)) nf_hook_entries_free(p);", breaks="a dead namespace's arrays are freed", rules="pernet.exit"),
    fault("proc-of-the-first-namespace-removed", "\t«remove_proc_entry(\"netfilter\", net->proc_net);»",
          "remove_proc_entry(\"netfilter\", init_net.proc_net);", breaks="the directory goes with its own namespace", rules="pernet.proc"),
)

FAULTS = (*ARRAYS, *BPF, *POINTS, *UNREGISTER, *PACKETS, *TRACKING)
