"""Wrong at the edges: beyond the first slots, in one family alone, beside dummies, with flags and errno at once."""

from __future__ import annotations

from tests.mutants.kernel.fault import fault

__all__ = ("FAULTS",)

_ORDER = "if (inserted || «reg->priority > orig_ops[i]->priority»)"
_TAKEN = "\t\t\tif («reg->priority == orig_ops[i]->priority &&\n\t\t\t    reg->hook_ops_type == NF_HOOK_OP_BPF»)"
_SHRINK_COPY = "\t\tnew->hooks[j] = old->hooks[i];\n\t\tnew_ops[j] = (void *)orig_ops[i];"
_ERRNO = "\t\t\tret = «NF_DROP_GETERR(verdict)»;\n\t\t\tif (ret == 0)"
_FREE = "\t\t\t«kfree_skb_reason(skb,\n\t\t\t\t\t SKB_DROP_REASON_NETFILTER_DROP);»"
_STOLEN = "\t\tcase NF_STOLEN:\n\t\t\t«return NF_DROP_GETERR(verdict);»"
_UNKNOWN = "\t\tdefault:\n\t\t\t«WARN_ON_ONCE(1);\n\t\t\treturn 0;»"
_QUEUE = "\t\t\tret = «nf_queue(skb, state, s, verdict)»;"
_INC_KEY = "\t«nf_static_key_inc(reg, pf);»\n"
_DEC_KEY = "\t\t«nf_static_key_dec(reg, pf);»\n"
_NOT_FOUND = "\t\t«WARN_ONCE(1, \"hook not found, pf %d num %d\", pf, reg->hooknum);»"
_REFUSED = "\t«if (IS_ERR(new_hooks))\n\t\treturn PTR_ERR(new_hooks);»\n\n#ifdef CONFIG_NETFILTER_INGRESS"
_FOREIGN = "\t\t    «!reg->dev || dev_net(reg->dev) != net»)\n\t\t\treturn -EINVAL;"
_FLUSH = "\t«nf_queue_nf_hook_drop(net);»\n"
_REG_FREE = "\t«nf_hook_entries_free(p);»\n\treturn 0;\n}\n\n/*\n * nf_remove"

FAULTS = (
    # arrays
    fault("equal-oldest-behind-64", _ORDER, "reg->priority > orig_ops[i]->priority || (i >= 64 && reg->priority == orig_ops[i]->priority)",
          breaks="of equal priorities the newest runs first, wherever in the array", rules="order.equal-newest-first"),
    fault("equal-oldest-beside-dummies", _ORDER,
          "reg->priority > orig_ops[i]->priority || (reg->priority == orig_ops[i]->priority && alloc_entries <= old_entries)",
          breaks="of equal priorities the newest runs first, dummies or not", rules="grow.drops-dummies"),
    fault("bpf-only-the-last-counts", _TAKEN,
          "i == old_entries - 1 && reg->priority == orig_ops[i]->priority && reg->hook_ops_type == NF_HOOK_OP_BPF",
          breaks="a BPF program shares no priority with any hook of the point", rules="bpf.taken-priority"),
    fault("shrink-turned-beside-dummies", _SHRINK_COPY,
          "{ unsigned int k = skip > 1 ? hook_entries - 1 - j : j; new->hooks[k] = old->hooks[i]; new_ops[k] = (void *)orig_ops[i]; }",
          breaks="a smaller array keeps the order, however many dummies go", rules="unregister.drops-dummies"),
    fault("freed-through-the-last-ops", "\thead = (void *)«&ops[num]»;", "&ops[num - 1]",
          breaks="an old array's ops stay readable until its readers are gone", rules="memory.grace-period"),
    fault("register-leaks-beside-dummies", _REG_FREE,
          "if (!p || new_hooks->num_hook_entries > p->num_hook_entries) nf_hook_entries_free(p);",
          breaks="an array that is replaced is freed", rules="grow.drops-dummies"),
    fault("removed-priv-first", "\t\t«WRITE_ONCE(old->hooks[i].hook, accept_all);»",
          "WRITE_ONCE(old->hooks[i].priv, NULL); WRITE_ONCE(old->hooks[i].hook, accept_all);",
          breaks="readers see a hook with its priv, or the dummy",
          why="needs a sanitizer: KCSAN; a reader must come between two stores"),
    # verdicts
    fault("drop-errno-lost-with-flags", _ERRNO, "(verdict & 0xff00) ? 0 : NF_DROP_GETERR(verdict)",
          breaks="a drop's errno is returned, whatever bits 8 to 15 are", rules="drop.frees"),
    fault("stolen-errno-of-eight-bits", _STOLEN, "return -(int)((verdict >> NF_VERDICT_QBITS) & 0xff);",
          breaks="STOLEN's errno has 16 bits", rules="stolen.errno-range"),
    fault("arp-drop-consumes", _FREE,
          "if (state->pf == NFPROTO_ARP) consume_skb(skb); else kfree_skb_reason(skb, SKB_DROP_REASON_NETFILTER_DROP);",
          breaks="a drop is told as a drop, of ARP too", rules="drop.reason-arp"),
    fault("device-drop-without-reason", _FREE,
          "if (state->pf == NFPROTO_NETDEV) kfree_skb(skb); else kfree_skb_reason(skb, SKB_DROP_REASON_NETFILTER_DROP);",
          breaks="a drop's reason is NETFILTER_DROP, at devices too", rules="netdev.ingress-drop"),
    fault("unknown-warns-each-time", _UNKNOWN, "WARN_ON(1);\n\t\t\treturn 0;",
          breaks="a verdict that nobody knows warns once, not for each packet", rules="unknown"),
    fault("queue-index-of-eight-bits", _QUEUE, "nf_queue(skb, state, (u8)s, verdict)",
          breaks="a packet goes on behind the hook that queued it, wherever that is", rules="queue.reinject-accept"),
    fault("list-stays-linked", "\t\t«skb_list_del_init(skb);»\n\t\tret = nf_hook_slow", "__list_del_entry(&skb->list);",
          breaks="a packet of a list is alone when its hooks see it", rules="list.order"),
    # keys
    fault("key-of-arp-twice", _INC_KEY, "{ nf_static_key_inc(reg, pf); if (pf == NFPROTO_ARP) nf_static_key_inc(reg, pf); }",
          breaks="each registration counts once, ARP's too", rules="key.layer-2"),
    fault("key-of-bridge-never-down", _DEC_KEY, "if (pf != NFPROTO_BRIDGE) nf_static_key_dec(reg, pf);",
          breaks="the last unregistration turns its point off, BRIDGE's too", rules="key.layer-2"),
    fault("missing-counts-egress-down", _NOT_FOUND,
          "if (nf_egress_hook(reg, pf)) net_dec_egress_queue();\n\t\tWARN_ONCE(1, \"hook not found, pf %d num %d\", pf, reg->hooknum);",
          breaks="unregistering what is not there does not count, at EGRESS neither", rules="key.egress"),
    fault("egress-up-for-refused", _REFUSED,
          "if (IS_ERR(new_hooks)) {\n\t\tif (nf_egress_hook(reg, pf))\n\t\t\tnet_inc_egress_queue();\n\t\treturn PTR_ERR(new_hooks);\n\t}",
          breaks="what is refused does not count, at EGRESS neither", rules="key.refused-egress"),
    fault("key-stays-for-a-dying-namespace", _DEC_KEY, "if (check_net(net)) nf_static_key_dec(reg, pf);",
          breaks="hooks of a dead namespace do not count", rules="pernet.exit"),
    # points
    fault("egress-device-not-looked-for", _FOREIGN, "reg->hooknum == NF_NETDEV_INGRESS && (!reg->dev || dev_net(reg->dev) != net)",
          breaks="EGRESS without a device, or with another namespace's, is refused in silence", rules="netdev.no-device-egress"),
    fault("inet-unregister-turned", [
        ("\t\t\t«__nf_unregister_net_hook(net, NFPROTO_IPV4, reg);»\n\t\t\t__nf_unregister_net_hook(net, NFPROTO_IPV6",
         "__nf_unregister_net_hook(net, NFPROTO_IPV6, reg);"),
        ("\t\t\t__nf_unregister_net_hook(net, NFPROTO_IPV4, reg);\n\t\t\t«__nf_unregister_net_hook(net, NFPROTO_IPV6, reg);»",
         "__nf_unregister_net_hook(net, NFPROTO_IPV4, reg);")],
          breaks="an INET hook goes out of IPV4 first", rules="inet.failed-shrinks"),
    fault("queue-not-flushed-for-inet", _FLUSH, "if (reg->pf == pf) nf_queue_nf_hook_drop(net);",
          breaks="what waits is dropped when an array goes, an INET hook's too", rules="unregister.flushes-queue"),
    fault("queue-not-flushed-for-bridge", _FLUSH, "if (pf != NFPROTO_BRIDGE && pf != NFPROTO_ARP) nf_queue_nf_hook_drop(net);",
          breaks="what waits is dropped when an array goes, of any family", rules="unregister.flushes-queue-layer-2"),
    fault("published-outside-the-mutex", [
        ("\t\thooks_validate(new_hooks);\n\t\t«rcu_assign_pointer(*pp, new_hooks);»\n\t}", ";"),
        ("\t«mutex_unlock(&nf_hook_mutex);»\n\tif (IS_ERR(new_hooks))",
         "mutex_unlock(&nf_hook_mutex); if (!IS_ERR(new_hooks)) rcu_assign_pointer(*pp, new_hooks);")],
          breaks="two that register at one point at once are both there",
          why="needs a sanitizer: KCSAN; the window is a few instructions"),
    fault("shrunk-outside-the-mutex", "\tp = __nf_hook_entries_try_shrink(p, pp);\n\tmutex_unlock(&nf_hook_mutex);",
          "\tmutex_unlock(&nf_hook_mutex);\n\tp = __nf_hook_entries_try_shrink(p, pp);",
          breaks="two that unregister at one point at once are both gone", rules="unregister.at-once"),
    # connections, namespaces
    fault("ct-attach-not-for-untracked", "\tif («skb->_nfct») {\n\t\trcu_read_lock();", "skb_nfct(skb) != NULL",
          breaks="attach is called for what conntrack was told to leave alone", rules="ct.hooks"),
    fault("ct-tuple-lock-kept", "\t\tret = ct_hook->get_tuple_skb(dst_tuple, skb);\n\t«rcu_read_unlock();»", "if (ct_hook) rcu_read_unlock();",
          breaks="the read lock is given back without a hook too",
          why="needs a sanitizer: lockdep; without preemption counts the lock is a barrier"),
    fault("proc-enomem-silent", "\t\t\t«pr_err(\"cannot create netfilter proc entry\");»", ";",
          breaks="a namespace without its directory is told in the log", rules="pernet.enomem"),
)
