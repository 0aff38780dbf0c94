"""Wrong in the first network namespace only, or wrong to it when another namespace comes or goes."""

from __future__ import annotations

from tests.mutants.kernel.fault import fault

__all__ = ("FAULTS",)

_HERE, _THERE = "net_eq(net, &init_net)", "net_eq(state->net, &init_net)"

_INC_KEY = "\t«nf_static_key_inc(reg, pf);»\n"
_DEC_KEY = "\t\t«nf_static_key_dec(reg, pf);»\n"
_INC_INGRESS = "\t\t«net_inc_ingress_queue();»"
_REGISTER_FREE = "\t«nf_hook_entries_free(p);»\n\treturn 0;\n}\n\n/*\n * nf_remove"
_REFUSED = "\t«if (IS_ERR(new_hooks))\n\t\treturn PTR_ERR(new_hooks);»\n\n#ifdef CONFIG_NETFILTER_INGRESS"
_FREE = "\tnf_queue_nf_hook_drop(net);\n\t«nf_hook_entries_free(p);»"
_FLUSH = "\t«nf_queue_nf_hook_drop(net);»\n"
_NOT_FOUND = "\t\t«WARN_ONCE(1, \"hook not found, pf %d num %d\", pf, reg->hooknum);»"
_MISSED = 'WARN_ONCE(1, "hook not found, pf %d num %d", pf, reg->hooknum);'
_EMPTY = "\tif (WARN_ON_ONCE(«!p»)) {"
_FOREIGN = "\t\t    «!reg->dev || dev_net(reg->dev) != net»)\n\t\t\treturn -EINVAL;"
_INGRESS_HEAD = "\t\tif («dev && dev_net(dev) == net»)\n\t\t\treturn &dev->nf_hooks_ingress"
_INET_IPV6 = "\t\t\terr = «__nf_register_net_hook(net, NFPROTO_IPV6, reg)»;"
_ROLLBACK = "\t\t\tif (err < 0) {\n\t\t\t\t«__nf_unregister_net_hook(net, NFPROTO_IPV4, reg);»"
_BATCH_ROLLBACK = "\t\tnf_unregister_net_hooks(net, reg, i);"
_LOOP = "\tfor (; «s < e->num_hook_entries»; s++) {\n\t\tverdict"
_DROPPED = "\t\t\t«kfree_skb_reason(skb,\n\t\t\t\t\t SKB_DROP_REASON_NETFILTER_DROP);»"
_ERRNO = "\t\t\tret = «NF_DROP_GETERR(verdict)»;\n\t\t\tif (ret == 0)"
_STOLEN = "\t\tcase NF_STOLEN:\n\t\t\t«return NF_DROP_GETERR(verdict);»"
_QUEUED = "\t\t\tif («ret == 1»)\n\t\t\t\tcontinue;"
_UNKNOWN = "\t\tdefault:\n\t\t\t«WARN_ON_ONCE(1);\n\t\t\treturn 0;»"
_PASSED = "\t\t«if (ret == 1)\n\t\t\tlist_add_tail(&skb->list, &sublist);»"
_EXIT = "\t«remove_proc_entry(\"netfilter\", net->proc_net);»"
_EMPTIED = "\t«__netfilter_net_init(net->nf.hooks_{0}, ARRAY_SIZE(net->nf.hooks_{0}));»"
_MKDIR = "\tnet->nf.proc_netfilter = «proc_net_mkdir(net, \"netfilter\",\n\t\t\t\t\t\tnet->proc_net)»;"

ARRAYS = (
    fault("first-key-not-up", _INC_KEY, f"if (!{_HERE}) nf_static_key_inc(reg, pf);",
          breaks="a registration turns its point on, in the first namespace too", rules="first.order"),
    fault("first-key-never-down", _DEC_KEY, f"if (!{_HERE}) nf_static_key_dec(reg, pf);",
          breaks="an unregistration turns its point off, in the first namespace too", rules="first.order"),
    fault("first-ingress-counted-twice", _INC_INGRESS, f"{{ net_inc_ingress_queue(); if ({_HERE}) net_inc_ingress_queue(); }}",
          breaks="each registration at ingress counts once, in the first namespace too", rules="first.devices"),
    fault("first-leaks-when-it-grows", _REGISTER_FREE, f"if (!{_HERE}) nf_hook_entries_free(p);",
          breaks="an array that is replaced is freed, in the first namespace too", rules="first.order"),
    fault("first-leaks-when-it-shrinks", _FREE, f"if (!{_HERE}) nf_hook_entries_free(p);",
          breaks="an array that is replaced is freed, in the first namespace too", rules="first.order"),
    fault("first-refusal-is-einval", _REFUSED, f"if (IS_ERR(new_hooks))\n\t\treturn {_HERE} ? -EINVAL : PTR_ERR(new_hooks);",
          breaks="an array that could not grow says why, in the first namespace too", rules="first.refused"),
    fault("first-ipv6-is-ipv4", "\t\treturn «net->nf.hooks_ipv6 + hooknum»;",
          f"({_HERE} ? net->nf.hooks_ipv4 : net->nf.hooks_ipv6) + hooknum",
          breaks="each family has its own arrays, in the first namespace too", rules="first.inet"),
    fault("first-takes-foreign-devices", [
        (_FOREIGN, f"!reg->dev || (dev_net(reg->dev) != net && !{_HERE})"), (_INGRESS_HEAD, f"dev && (dev_net(dev) == net || {_HERE})")],
          breaks="another namespace's device is refused, in the first namespace too", rules="first.refused"),
    fault("device-of-the-first-for-all", [
        (_FOREIGN, "!reg->dev || (dev_net(reg->dev) != net && dev_net(reg->dev) != &init_net)"),
        (_INGRESS_HEAD, "dev && (dev_net(dev) == net || dev_net(dev) == &init_net)")],
          breaks="another namespace's device is refused, the first's too", rules="first.refused"),
    fault("first-missing-silent", _NOT_FOUND, f"if (!{_HERE}) {_MISSED}",
          breaks="unregistering what is not there warns, in the first namespace too", rules="first.refused"),
    fault("first-empty-head-silent", _EMPTY, f"({{ if (!p && {_HERE}) {{ mutex_unlock(&nf_hook_mutex); return; }} !p; }})",
          breaks="unregistering at an empty point warns, in the first namespace too", rules="first.refused"),
    fault("first-inet-ipv4-only", _INET_IPV6, f"{_HERE} ? 0 : __nf_register_net_hook(net, NFPROTO_IPV6, reg)",
          breaks="an INET hook is in IPV6, in the first namespace too", rules="first.inet"),
    fault("first-inet-no-rollback", _ROLLBACK, f"if (!{_HERE}) __nf_unregister_net_hook(net, NFPROTO_IPV4, reg);",
          breaks="IPV6 refuses: the IPV4 half goes again, in the first namespace too", rules="first.refused"),
    fault("first-batch-no-rollback", _BATCH_ROLLBACK, f"if (!{_HERE}) nf_unregister_net_hooks(net, reg, i);",
          breaks="a batch is refused whole, in the first namespace too", rules="first.refused"),
    fault("first-queue-not-flushed", _FLUSH, f"if (!{_HERE}) nf_queue_nf_hook_drop(net);",
          breaks="what waits is dropped when its array goes, in the first namespace too", rules="first.queue"),
    fault("first-queue-flushed-by-others", _FLUSH, "{ nf_queue_nf_hook_drop(net); nf_queue_nf_hook_drop(&init_net); }",
          breaks="what waits in the first namespace stays when another one's array goes", rules="first.neighbours first.queue"),
)

PACKETS = (
    fault("first-not-the-last", _LOOP, f"s + ({_THERE} && e->num_hook_entries > 2) < e->num_hook_entries",
          breaks="every hook runs, in the first namespace too", rules="first.order"),
    fault("first-drop-consumes", _DROPPED, f"if ({_THERE}) consume_skb(skb); else kfree_skb_reason(skb, SKB_DROP_REASON_NETFILTER_DROP);",
          breaks="a drop is told as a drop, in the first namespace too", rules="first.verdicts"),
    fault("first-drop-errno-lost", _ERRNO, f"{_THERE} ? 0 : NF_DROP_GETERR(verdict)",
          breaks="a drop's errno is returned, in the first namespace too", rules="first.verdicts"),
    fault("first-stolen-errno-lost", _STOLEN, f"return {_THERE} ? 0 : NF_DROP_GETERR(verdict);",
          breaks="STOLEN's errno is returned, in the first namespace too", rules="first.stolen"),
    fault("first-bypass-ends", _QUEUED, f"ret == 1 && (!{_THERE} || (ret = 0))",
          breaks="bypass goes on at the next hook, in the first namespace too", rules="first.verdicts"),
    fault("first-unknown-silent", _UNKNOWN, f"WARN_ON_ONCE(!{_THERE});\n\t\t\treturn 0;",
          breaks="a verdict that nobody knows warns, in the first namespace too", rules="first.private"),
    fault("first-list-reversed", _PASSED,
          f"if (ret == 1 && {_THERE})\n\t\t\tlist_add(&skb->list, &sublist);\n\t\telse if (ret == 1)\n\t\t\tlist_add_tail(&skb->list, &sublist);",
          breaks="a list keeps its order, in the first namespace too", rules="first.private"),
)

NEIGHBOURS = (
    fault("death-empties-the-first", _EXIT,
          "{ remove_proc_entry(\"netfilter\", net->proc_net); RCU_INIT_POINTER(init_net.nf.hooks_ipv4[NF_INET_LOCAL_IN], NULL); }",
          breaks="the first namespace's hooks stay when another one dies", rules="first.neighbours"),
    fault("death-flushes-the-first", _EXIT, "{ remove_proc_entry(\"netfilter\", net->proc_net); nf_queue_nf_hook_drop(&init_net); }",
          breaks="what waits in the first namespace stays when another one dies", rules="first.neighbours"),
    fault("birth-flushes-the-first", _MKDIR,
          "({ nf_queue_nf_hook_drop(&init_net); proc_net_mkdir(net, \"netfilter\", net->proc_net); })",
          breaks="what waits in the first namespace stays when another one comes", rules="first.neighbours"),
    fault("birth-empties-the-first", _EMPTIED.format("ipv4"), "__netfilter_net_init(init_net.nf.hooks_ipv4, 2);",
          breaks="the first namespace's hooks stay when another one comes", rules="first.neighbours"),
    fault("heads-arp-of-the-first-namespace", _EMPTIED.format("arp"),
          "memcpy(net->nf.hooks_arp, init_net.nf.hooks_arp, sizeof(net->nf.hooks_arp));",
          breaks="ARP's points start empty", rules="first.neighbours"),
    fault("heads-bridge-of-the-first-namespace", _EMPTIED.format("bridge"),
          "memcpy(net->nf.hooks_bridge, init_net.nf.hooks_bridge, sizeof(net->nf.hooks_bridge));",
          breaks="BRIDGE's points start empty", rules="first.neighbours"),
)

FAULTS = (*ARRAYS, *PACKETS, *NEIGHBOURS)
