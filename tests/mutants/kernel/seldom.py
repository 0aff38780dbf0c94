"""Wrong where few come by: behind the 256th slot, in the first namespace, at dying devices, for other owners' hooks, in one failing path of many."""

from __future__ import annotations

from tests.mutants.kernel.fault import fault

__all__ = ("FAULTS",)

_ORDER = "if (inserted || «reg->priority > orig_ops[i]->priority»)"
_COUNTED = "\t\t\tif («orig_ops[i] != &dummy_ops»)\n\t\t\t\talloc_entries++;"
_TAKEN = "\t\t\tif («reg->priority == orig_ops[i]->priority &&\n\t\t\t    reg->hook_ops_type == NF_HOOK_OP_BPF»)"
_BUSY = "\t\t\t\t«return ERR_PTR(-EBUSY);»\n"
_FULL = "\t\t«return ERR_PTR(-E2BIG);»\n"
_SHRUNK = "\trcu_assign_pointer(*pp, new);\n\treturn «old»;"
_NO_POINT = "\tdefault:\n\t\t«WARN_ON_ONCE(1);»\n\t\treturn NULL;\n\t}\n\n#ifdef"
_INGRESS = """\tif («(pf == NFPROTO_NETDEV && reg->hooknum == NF_NETDEV_INGRESS) ||
\t    (pf == NFPROTO_INET && reg->hooknum == NF_INET_INGRESS)»)
\t\treturn true;"""
_HEAD = "\tpp = nf_hook_entry_head(net, pf, «reg->hooknum», reg->dev);\n\tif (!pp)\n\t\treturn"
_FOREIGN = "\t\t    «!reg->dev || dev_net(reg->dev) != net»)\n\t\t\treturn -EINVAL;"
_UNLOCK = "\t«mutex_unlock(&nf_hook_mutex);»\n\tif (IS_ERR(new_hooks))"
_REFUSED = "\t«if (IS_ERR(new_hooks))\n\t\treturn PTR_ERR(new_hooks);»\n\n#ifdef CONFIG_NETFILTER_INGRESS"
_REGISTER_FREE = "\t«nf_hook_entries_free(p);»\n\treturn 0;\n}\n\n/*\n * nf_remove"
_EMPTY = "\tif (WARN_ON_ONCE(«!p»)) {"
_EMPTY_UNLOCK = "\tif (WARN_ON_ONCE(!p)) {\n\t\t«mutex_unlock(&nf_hook_mutex);»"
_DEC_INGRESS = "\t\tif («nf_ingress_hook(reg, pf)»)\n\t\t\tnet_dec"
_DEC_EGRESS = "\t\t\t«net_dec_egress_queue();»"
_DEC_KEY = "\t\t«nf_static_key_dec(reg, pf);»\n"
_NOT_FOUND = "\t\t«WARN_ONCE(1, \"hook not found, pf %d num %d\", pf, reg->hooknum);»"
_MISSED = 'WARN_ONCE(1, "hook not found, pf %d num %d", pf, reg->hooknum);'
_FLUSH = "\t«nf_queue_nf_hook_drop(net);»\n"
_FREE = "\tnf_queue_nf_hook_drop(net);\n\t«nf_hook_entries_free(p);»"
_LEAVES_IPV6 = "\t\t\t«__nf_unregister_net_hook(net, NFPROTO_IPV6, reg);»"
_ROLLBACK = "\t\t\tif (err < 0) {\n\t\t\t\t«__nf_unregister_net_hook(net, NFPROTO_IPV4, reg);»"
_BATCH_ROLLBACK = "\t\tnf_unregister_net_hooks(net, reg, i);"
_SWITCH = "\t\tswitch («verdict & NF_VERDICT_MASK») {"
_QUEUED = "\t\t\tif («ret == 1»)\n\t\t\t\tcontinue;"
_STOLEN = "\t\tcase NF_STOLEN:\n\t\t\t«return NF_DROP_GETERR(verdict);»"

_MADE_AND_LOST = "{ new = allocate_hook_entries_size(alloc_entries); barrier_data(new); }"
_NOT_FLUSHED = """{
	struct nf_hook_entries __rcu **half = nf_hook_entry_head(net, NFPROTO_IPV4, reg->hooknum, reg->dev);
	struct nf_hook_entries *old;

	mutex_lock(&nf_hook_mutex);
	old = nf_entry_dereference(*half);
	if (nf_remove_net_hook(old, reg))
		nf_static_key_dec(reg, NFPROTO_IPV4);
	old = __nf_hook_entries_try_shrink(old, half);
	mutex_unlock(&nf_hook_mutex);
	nf_hook_entries_free(old);
}"""

ARRAYS = (
    fault("order-of-slots-of-eight-bits", _ORDER, "reg->priority > orig_ops[i & 0xff]->priority",
          breaks="hooks run by ascending priority, behind the 256th too", rules="order.many"),
    fault("order-by-the-next-priority", _ORDER, "reg->priority >= (int)((u32)orig_ops[i]->priority + 1)",
          breaks="a hook of the largest priority is the last", rules="order.ascending"),
    fault("row-of-dummies-counts-once", _COUNTED, "orig_ops[i] != &dummy_ops || (i && orig_ops[i - 1] == &dummy_ops)",
          breaks="dummies do not count, neighbours neither", rules="queue.dummies-go"),
    fault("shrink-takes-the-first-for-a-dummy", "\t\tif («orig_ops[i] == &dummy_ops»)\n\t\t\tcontinue;\n\t\tnew->hooks",
          "orig_ops[i]->priority == dummy_ops.priority",
          breaks="a hook of the smallest priority is no dummy", rules="validate.order"),
    fault("grow-tries-again", "\tnew = allocate_hook_entries_size(alloc_entries);\n",
          "new = allocate_hook_entries_size(alloc_entries); if (!new) new = allocate_hook_entries_size(alloc_entries);",
          breaks="an array that finds no memory is not tried again", rules="grow.enomem"),
    fault("emptied-of-dummies-leaks", _SHRUNK, "new || skip == 1 ? old : NULL",
          breaks="an array of dummies only is freed, however many they are", rules="unregister.drops-dummies memory.freed"),
    fault("busy-leaks", _BUSY, f"{_MADE_AND_LOST} return ERR_PTR(-EBUSY);",
          breaks="what is refused leaves no array",
          why="needs a sanitizer: kmemleak; the module follows the arrays of the module's calls, and only bpf() registers what is refused as taken"),
    fault("full-leaks", _FULL, f"{_MADE_AND_LOST} return ERR_PTR(-E2BIG);",
          breaks="what is refused leaves no array", rules="limit.1024 raw.limit memory.freed"),
    fault("last-array-freed-at-once", _FREE, "if (rcu_access_pointer(*pp)) nf_hook_entries_free(p); else kvfree(p);",
          breaks="the last array is freed when its readers have left it, too", rules="memory.grace-period"),
    fault("egress-array-freed-at-once", _REGISTER_FREE, "if (nf_egress_hook(reg, pf)) kvfree(p); else nf_hook_entries_free(p);",
          breaks="a device's array is freed when its readers have left it, at EGRESS too", rules="netdev.egress-drop key.egress"),
    fault("layer-2-leaks", _FREE, "if (pf != NFPROTO_ARP && pf != NFPROTO_BRIDGE) nf_hook_entries_free(p);",
          breaks="an array that is replaced is freed, of ARP and BRIDGE too", rules="key.layer-2 unregister.flushes-queue-layer-2"),
)

REFUSALS = (
    fault("limit-not-of-layer-2", "\tif («alloc_entries > MAX_HOOK_COUNT»)",
          "alloc_entries > MAX_HOOK_COUNT && reg->pf != NFPROTO_ARP && reg->pf != NFPROTO_BRIDGE",
          breaks="the 1025th hook is refused, of any family", rules="limit.layer-2"),
    fault("bpf-of-ipv6-shares", _TAKEN,
          "reg->priority == orig_ops[i]->priority && reg->hook_ops_type == NF_HOOK_OP_BPF && reg->pf == NFPROTO_IPV4",
          breaks="a BPF program shares no priority, of IPV6 neither", rules="bpf.taken-priority"),
    fault("busy-keeps-the-mutex", _UNLOCK, "if (new_hooks != ERR_PTR(-EBUSY)) mutex_unlock(&nf_hook_mutex);",
          breaks="what is refused leaves the mutex to others", rules="bpf.taken-priority"),
    fault("refused-flushes-the-queue", _REFUSED, "if (IS_ERR(new_hooks)) {\n\t\tnf_queue_nf_hook_drop(net);\n\t\treturn PTR_ERR(new_hooks);\n\t}",
          breaks="what waits stays when a registration is refused", rules="queue.refused"),
    fault("inet-ingress-enomem-lost", "\t\t\terr = __nf_register_net_hook(net, NFPROTO_INET, reg);\n\t\t\tif («err < 0»)",
          "err < 0 && err != -ENOMEM", breaks="no memory for an INET hook at INGRESS is -ENOMEM", rules="inet.ingress-enomem"),
    fault("batch-of-a-full-point-is-einval", "\t\tnf_unregister_net_hooks(net, reg, i);\n\treturn «err»;", "err == -E2BIG ? -EINVAL : err",
          breaks="a batch's errno is the refused hook's", rules="limit.batch"),
    fault("batch-rollback-from-the-end", _BATCH_ROLLBACK, "while (i--) nf_unregister_net_hook(net, &reg[i]);",
          breaks="what a batch had registered goes as it is written", rules="batch.enomem"),
    fault("batch-last-refused-stays", "\t\terr = nf_register_net_hook(net, &reg[i]);\n\t\tif («err»)", "err && i + 1 < n",
          breaks="a batch is refused whole, for its last hook too", rules="batch.rollback"),
    fault("inet-rollback-leaves-what-waits", _ROLLBACK, _NOT_FLUSHED,
          breaks="what waits is dropped when an array goes, by a rollback too", rules="queue.refused"),
    fault("device-that-is-down-refused", _FOREIGN, "!reg->dev || dev_net(reg->dev) != net || !netif_running(reg->dev)",
          breaks="a device that is down takes hooks", rules="netdev.down netdev.down-egress inet.ingress"),
    fault("family-0-silent", _NO_POINT, "WARN_ON_ONCE(pf != NFPROTO_UNSPEC);",
          breaks="a family without hook points warns, the one without a name too", rules="head.bad-family"),
    fault("hook-number-of-eight-bits", [(f"{_HEAD} -EINVAL;", "(u8)reg->hooknum"), (f"{_HEAD};", "(u8)reg->hooknum")],
          breaks="a hook number out of range is refused, however large", rules="head.bad-hook"),
    fault("bad-hook-warns-each-time", "WARN_ON_ONCE(«ARRAY_SIZE(net->nf.hooks_ipv4) <= hooknum»)",
          "({ if (WARN_ON(ARRAY_SIZE(net->nf.hooks_ipv4) <= hooknum)) return NULL; 0; })",
          breaks="a number out of range warns once", rules="head.bad-hook"),
)

UNREGISTER = (
    fault("empty-head-warns-each-time", _EMPTY, "({ if (WARN_ON(!p)) { mutex_unlock(&nf_hook_mutex); return; } 0; })",
          breaks="unregistering at an empty point warns once", rules="unregister.empty-head"),
    fault("empty-device-counts-down", _EMPTY_UNLOCK,
          "if (nf_ingress_hook(reg, pf)) { net_dec_ingress_queue(); nf_static_key_dec(reg, pf); } mutex_unlock(&nf_hook_mutex);",
          breaks="unregistering at an empty point does not count, at a device neither", rules="key.missing"),
    fault("missing-counts-inet-ingress-down", _NOT_FOUND, f"if (pf == NFPROTO_INET) net_dec_ingress_queue(); {_MISSED}",
          breaks="unregistering what is not there does not count, of INET at INGRESS neither", rules="key.missing-inet"),
    fault("missing-silent-at-layer-2", _NOT_FOUND, f"if (pf != NFPROTO_ARP && pf != NFPROTO_BRIDGE) {_MISSED}",
          breaks="unregistering what is not there warns, at ARP's and BRIDGE's points too", rules="unregister.missing-layer-2"),
    fault("egress-stays-for-a-dying-device", _DEC_EGRESS, "if (reg->dev->reg_state == NETREG_REGISTERED) net_dec_egress_queue();",
          breaks="egress hooks of a dead device do not count", rules="device.dies-egress"),
    fault("inet-ingress-stays-for-a-dying-device", _DEC_INGRESS,
          "nf_ingress_hook(reg, pf) && (pf == NFPROTO_NETDEV || reg->dev->reg_state == NETREG_REGISTERED)",
          breaks="INET hooks of a dead device do not count", rules="device.dies-inet"),
    fault("prerouting-counts-as-ingress", _INGRESS,
          "((pf == NFPROTO_NETDEV || pf == NFPROTO_IPV4 || pf == NFPROTO_BRIDGE) && reg->hooknum == NF_NETDEV_INGRESS) || "
          "(pf == NFPROTO_INET && reg->hooknum == NF_INET_INGRESS)",
          breaks="other points of INGRESS's number are not counted as ingress", rules="key.every-point"),
    fault("key-of-bpf-stays", _DEC_KEY, "if (reg->hook_ops_type != NF_HOOK_OP_BPF) nf_static_key_dec(reg, pf);",
          breaks="a BPF program that is gone does not count", rules="key.bpf"),
    fault("key-of-postrouting-never-down", _DEC_KEY,
          "if (pf != NFPROTO_IPV4 || reg->hooknum != NF_INET_POST_ROUTING) nf_static_key_dec(reg, pf);",
          breaks="the last unregistration turns its point off, each of them", rules="key.every-point"),
    fault("queue-not-flushed-for-bpf", _FLUSH, "if (reg->hook_ops_type != NF_HOOK_OP_BPF) nf_queue_nf_hook_drop(net);",
          breaks="what waits is dropped when an array goes, a BPF program's too", rules="unregister.flushes-queue-bpf"),
    fault("queue-not-flushed-for-rulesets", _FLUSH, "if (reg->hook_ops_type != NF_HOOK_OP_NF_TABLES) nf_queue_nf_hook_drop(net);",
          breaks="what waits is dropped when an array goes, a ruleset's too", rules="unregister.flushes-queue"),
    fault("inet-stays-in-the-first-namespace", _LEAVES_IPV6, "if (!net_eq(net, &init_net)) __nf_unregister_net_hook(net, NFPROTO_IPV6, reg);",
          breaks="an INET hook goes out of IPV6, in the first namespace too", rules="first.inet"),
)

PACKETS = (
    fault("seven-bits-decide", _SWITCH, "verdict & 0x7f", breaks="the low byte decides, all of it", rules="unknown"),
    fault("stolen-errno-unsigned", _STOLEN, "return -(int)(verdict >> NF_VERDICT_QBITS);",
          breaks="STOLEN's upper bits have a sign", rules="stolen.errno-range"),
    fault("queue-bypass-of-the-last-ends", _QUEUED, "ret == 1 && (s + 1 < e->num_hook_entries || (ret = 0))",
          breaks="bypass by the last hook lets the packet pass", rules="queue.bypass"),
    fault("ct-closing-warns-without-a-hook", "\t\tct_hook->set_closing(nfct);\n\n\t«rcu_read_unlock();»",
          "rcu_read_unlock(); WARN_ON_ONCE(!ct_hook);", breaks="closing a connection without conntrack is nothing", rules="ct.closing"),
)

FAULTS = (*ARRAYS, *REFUSALS, *UNREGISTER, *PACKETS)
