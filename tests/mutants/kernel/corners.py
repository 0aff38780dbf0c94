"""Wrong in one corner: of one family, hook number or device, at one count of hooks, for one sign of a priority, of one owner's hooks."""

from __future__ import annotations

from tests.mutants.kernel.fault import fault

__all__ = ("FAULTS",)

_ORDER = "if (inserted || «reg->priority > orig_ops[i]->priority»)"
_LIMIT = "\tif («alloc_entries > MAX_HOOK_COUNT»)"
_TAKEN = "\t\t\tif («reg->priority == orig_ops[i]->priority &&\n\t\t\t    reg->hook_ops_type == NF_HOOK_OP_BPF»)"
_BPF_EQUAL = "reg->priority == orig_ops[i]->priority && reg->hook_ops_type == NF_HOOK_OP_BPF"
_SHRINK_COPY = "\t\tnew->hooks[j] = old->hooks[i];\n\t\tnew_ops[j] = (void *)orig_ops[i];"
_NO_DUMMY = "\tif («skip == 0»)\n\t\treturn NULL;"
_NO_ROOM = "\tif (!new)\n\t\t«return NULL;»"
_SHRUNK = "\trcu_assign_pointer(*pp, new);\n\treturn «old»;"
_DISORDER = "WARN_ON(«orig_ops[i]->priority < prio»);"
_INET_CHECK = "\tif («reg->hooknum != hooknum ||\n\t    !reg->dev || dev_net(reg->dev) != net»)\n\t\treturn -EINVAL;"
_FOREIGN = "\t\t    «!reg->dev || dev_net(reg->dev) != net»)\n\t\t\treturn -EINVAL;"
_INC_INGRESS = "\t\t«net_inc_ingress_queue();»"
_INC_EGRESS, _DEC_EGRESS = "\t\t«net_inc_egress_queue();»", "\t\t\t«net_dec_egress_queue();»"
_DEC_INGRESS = "\t\t\t«net_dec_ingress_queue();»"
_INC_KEY = "\t«nf_static_key_inc(reg, pf);»\n"
_DEC_KEY = "\t\t«nf_static_key_dec(reg, pf);»\n"
_REGISTER_FREE = "\t«nf_hook_entries_free(p);»\n\treturn 0;\n}\n\n/*\n * nf_remove"
_FLUSH = "\t«nf_queue_nf_hook_drop(net);»\n"
_NOT_FOUND = "\t\t«WARN_ONCE(1, \"hook not found, pf %d num %d\", pf, reg->hooknum);»"
_MISSED = 'WARN_ONCE(1, "hook not found, pf %d num %d", pf, reg->hooknum);'
_EMPTY = "\tif (WARN_ON_ONCE(«!p»)) {"
_BATCH_ROLLBACK = "\t\tnf_unregister_net_hooks(net, reg, «i»);"
_DROPPED = "\t\t\t«kfree_skb_reason(skb,\n\t\t\t\t\t SKB_DROP_REASON_NETFILTER_DROP);»"
_ERRNO = "\t\t\tret = «NF_DROP_GETERR(verdict)»;\n\t\t\tif (ret == 0)"
_STOLEN = "\t\tcase NF_STOLEN:\n\t\t\t«return NF_DROP_GETERR(verdict);»"
_QUEUE = "\t\t\tret = «nf_queue(skb, state, s, verdict)»;"
_QUEUED = "\t\t\tif («ret == 1»)\n\t\t\t\tcontinue;"
_UNKNOWN = "\t\tdefault:\n\t\t\t«WARN_ON_ONCE(1);\n\t\t\treturn 0;»"
_EACH = "\t\tret = nf_hook_slow(skb, state, e, «0»);"
_TUPLE = "\t\tret = «ct_hook->get_tuple_skb(dst_tuple, skb)»;"
_TRACKED = "\tif («skb->_nfct») {\n\t\trcu_read_lock();"


def _equal_if(where: str) -> str:
    """Of equal priorities the oldest runs first, there."""
    return f"reg->priority > orig_ops[i]->priority || ({where} && reg->priority == orig_ops[i]->priority)"


def _turned_if(where: str) -> str:
    """What a shrink copies comes out the other way round, then."""
    return (f"{{ unsigned int k = {where} ? hook_entries - 1 - j : j; new->hooks[k] = old->hooks[i]; "
            "new_ops[k] = (void *)orig_ops[i]; }")


def _consumed_if(where: str) -> str:
    """A dropped packet is consumed, there."""
    return f"if ({where}) consume_skb(skb); else kfree_skb_reason(skb, SKB_DROP_REASON_NETFILTER_DROP);"


def _silent_if(where: str) -> str:
    """An empty point is no warning, there."""
    return f"({{ if (!p && {where}) {{ mutex_unlock(&nf_hook_mutex); return; }} !p; }})"


ORDER = (
    *(fault(f"equal-oldest-{name}", _ORDER, _equal_if(where), breaks=f"of equal priorities the newest runs first, {name.replace('-', ' ')} too",
            rules=rules) for name, where, rules in (
        ("of-negatives", "reg->priority < 0", "order.equal-newest-first order.many"),
        ("at-prerouting", "reg->pf == NFPROTO_IPV4 && reg->hooknum == NF_INET_PRE_ROUTING", "order.every-point"),
        ("at-forward", "reg->pf == NFPROTO_IPV4 && reg->hooknum == NF_INET_FORWARD", "order.every-point"),
        ("at-postrouting", "reg->pf == NFPROTO_IPV6 && reg->hooknum == NF_INET_POST_ROUTING", "order.every-point"),
        ("of-arp", "reg->pf == NFPROTO_ARP", "order.layer-2"),
        ("of-bridge", "reg->pf == NFPROTO_BRIDGE", "order.layer-2"),
        ("of-devices", "reg->pf == NFPROTO_NETDEV", "order.devices"),
        ("at-egress", "reg->pf == NFPROTO_NETDEV && reg->hooknum == NF_NETDEV_EGRESS", "order.egress"),
        ("of-inet", "reg->pf == NFPROTO_INET", "validate.order"),
        ("of-chains", "reg->hook_ops_type == NF_HOOK_OP_NF_TABLES", "order.foreign"),
        ("beside-chains", "orig_ops[i]->hook_ops_type == NF_HOOK_OP_NF_TABLES", "order.foreign"),
        ("beside-bpf", "orig_ops[i]->hook_ops_type == NF_HOOK_OP_BPF", "bpf.shared-priority"),
        ("of-all-but-one", "i + 1 < old_entries && orig_ops[i + 1]->priority == reg->priority", "order.equal-newest-first"),
    )),
    *(fault(f"order-lost-at-{count}", _ORDER, f"reg->priority > orig_ops[i]->priority || old_entries == {count}",
            breaks=f"hooks run by ascending priority, when {count} are there too", rules=rules)
      for count, rules in ((8, "order.many"), (32, "order.many"), (900, "limit.1024"))),
    *(fault(f"shrink-turned-to-{count}", _SHRINK_COPY, _turned_if(f"hook_entries == {count}"),
            breaks=f"a smaller array keeps the order, of {count} hooks too", rules=rules)
      for count, rules in ((2, "unregister.shrinks order.many"), (8, "order.many"), (33, "order.many"))),
    fault("two-dummies-stay", _NO_DUMMY, "skip == 0 || skip == 2", breaks="a shrink with memory drops all dummies",
          rules="unregister.drops-dummies"),
    fault("failed-shrink-of-two-empties", _NO_ROOM, "{ if (hook_entries == 1) goto out_assign; return NULL; }",
          breaks="without memory a dummy stays, and the other one too", rules="key.failed-shrink unregister.failed-shrink"),
    fault("shrink-leaks-of-many", _SHRUNK, "new && new->num_hook_entries > 32 ? NULL : old",
          breaks="an array that is replaced is freed, a large one too", rules="order.many"),
    fault("free-leaks-nine", "\tcall_rcu(&head->head, __nf_hook_entries_free);", "\tif (num != 9)\n\t\tcall_rcu(&head->head, __nf_hook_entries_free);",
          breaks="an array that is replaced is freed, of nine hooks too", rules="order.many"),
    fault("ipv6-array-freed-at-once", _REGISTER_FREE, "if (pf == NFPROTO_IPV6) kvfree(p); else nf_hook_entries_free(p);",
          breaks="an array is freed when its readers have left it, of IPV6 too", rules="order.every-point"),
    fault("validate-from-zero", "\tint prio = «INT_MIN»;", "0", breaks="negative priorities in order do not warn",
          rules="validate.order order.ascending"),
    fault("validate-not-of-negatives", _DISORDER, "orig_ops[i]->priority < prio && prio > 0",
          breaks="an array out of order warns, of negative priorities too", rules="validate.altered"),
    fault("validate-not-of-two", _DISORDER, "orig_ops[i]->priority < prio && hooks->num_hook_entries > 2",
          breaks="an array out of order warns, of two hooks too", rules="validate.altered"),
    fault("validate-not-behind-8", _DISORDER, "orig_ops[i]->priority < prio && i < 8",
          breaks="an array out of order warns, a long one too", rules="validate.altered"),
)

REFUSALS = (
    *(fault(f"limit-not-{name}", _LIMIT, f"alloc_entries > MAX_HOOK_COUNT && !({where})", breaks="the 1025th hook is refused, at any point",
            rules=rules) for name, where, rules in (
        ("at-egress", "reg->pf == NFPROTO_NETDEV && reg->hooknum == NF_NETDEV_EGRESS", "limit.egress"),
        ("of-inet-ingress", "reg->pf == NFPROTO_INET && reg->hooknum == NF_INET_INGRESS", "limit.inet-ingress"),
        ("at-forward", "reg->pf == NFPROTO_IPV4 && reg->hooknum == NF_INET_FORWARD", "limit.per-point"),
        ("of-ipv6-output", "reg->pf == NFPROTO_IPV6 && reg->hooknum == NF_INET_LOCAL_OUT", "limit.batch"),
        ("of-bpf", "reg->hook_ops_type == NF_HOOK_OP_BPF", "bpf.full"),
    )),
    fault("full-device-is-enospc", "ERR_PTR(«-E2BIG»)", "reg->pf == NFPROTO_NETDEV ? -ENOSPC : -E2BIG", breaks="a full point answers -E2BIG, a device's too",
          rules="limit.per-device"),
    *(fault(f"taken-{name}", _TAKEN, f"{_BPF_EQUAL} && {where}", breaks="a BPF program shares no priority with any hook", rules=rules)
      for name, where, rules in (
        ("not-of-negatives", "reg->priority >= 0", "bpf.taken-priority"),
        ("not-of-the-first", "i > 0", "bpf.taken-priority"),
        ("not-behind-8", "i < 8", "bpf.taken-priority"),
        ("not-of-chains", "orig_ops[i]->hook_ops_type != NF_HOOK_OP_NF_TABLES", "bpf.taken-by-a-chain"),
        ("not-at-forward", "reg->hooknum != NF_INET_FORWARD", "bpf.taken-priority"),
    )),
    fault("no-memory-of-one-is-enobufs", "ERR_PTR(«-ENOMEM»)", "alloc_entries == 1 ? -ENOBUFS : -ENOMEM", breaks="no memory is -ENOMEM, at an empty point too",
          rules="grow.enomem key.refused"),
    fault("inet-ingress-unasked", "\t\tif («reg->hooknum != NF_INET_INGRESS»)\n\t\t\tbreak;", "1",
          breaks="INET at INGRESS without a device is refused in silence", rules="netdev.no-device"),
    fault("inet-ingress-is-enodev", "\t    !reg->dev || dev_net(reg->dev) != net)\n\t\treturn «-EINVAL»;\n\n\treturn 0;", "-ENODEV",
          breaks="INET at INGRESS without a device is -EINVAL", rules="netdev.no-device"),
    fault("inet-ingress-not-of-lo", _INET_CHECK, "reg->hooknum != hooknum || !reg->dev || dev_net(reg->dev) != net || reg->dev == net->loopback_dev",
          breaks="lo takes INET hooks at INGRESS", rules="order.inet-ingress"),
    fault("egress-not-of-lo", _FOREIGN,
          "!reg->dev || dev_net(reg->dev) != net || (reg->hooknum == NF_NETDEV_EGRESS && reg->dev == net->loopback_dev)",
          breaks="lo takes hooks at EGRESS", rules="order.egress"),
)

KEYS = (
    fault("ingress-counted-where-up", [
        (_INC_INGRESS, "if (netif_running(reg->dev)) net_inc_ingress_queue();"),
        (_DEC_INGRESS, "if (netif_running(reg->dev) || reg->dev->reg_state != NETREG_REGISTERED) net_dec_ingress_queue();")],
          breaks="a hook at a device that is down counts as ingress", rules="key.device-down"),
    fault("egress-counted-where-up", [
        (_INC_EGRESS, "if (netif_running(reg->dev)) net_inc_egress_queue();"),
        (_DEC_EGRESS, "if (netif_running(reg->dev) || reg->dev->reg_state != NETREG_REGISTERED) net_dec_egress_queue();")],
          breaks="a hook at a device that is down counts as egress", rules="key.device-down"),
    fault("key-of-chains-stays", _DEC_KEY, "if (reg->hook_ops_type != NF_HOOK_OP_NF_TABLES) nf_static_key_dec(reg, pf);",
          breaks="a chain that is gone does not count", rules="pernet.exit-ruleset device.dies-ruleset"),
    fault("ninth-hook-not-counted", _INC_KEY, "if (!p || p->num_hook_entries != 8) nf_static_key_inc(reg, pf);",
          breaks="each registration counts once, the ninth too", rules="order.many"),
)

UNREGISTER = (
    *(fault(f"queue-not-flushed-{name}", _FLUSH, f"if (!({where})) nf_queue_nf_hook_drop(net);",
            breaks="what waits is dropped when an array goes, whichever", rules=rules) for name, where, rules in (
        ("for-postrouting", "pf == NFPROTO_IPV4 && reg->hooknum == NF_INET_POST_ROUTING", "unregister.flushes-queue"),
        ("for-ipv6-prerouting", "pf == NFPROTO_IPV6 && reg->hooknum == NF_INET_PRE_ROUTING", "unregister.flushes-queue"),
        ("for-egress", "pf == NFPROTO_NETDEV && reg->hooknum == NF_NETDEV_EGRESS", "unregister.flushes-queue-egress"),
        ("for-inet-ingress", "pf == NFPROTO_INET", "unregister.flushes-queue-inet"),
        ("when-emptied", "!rcu_access_pointer(*pp)", "unregister.flushes-queue queue.slot-gone"),
        ("for-large", "p->num_hook_entries > 8", "unregister.flushes-queue"),
        ("for-dummies", "rcu_access_pointer(*pp) && p->num_hook_entries > rcu_dereference_raw(*pp)->num_hook_entries + 1",
         "queue.failed-shrink"),
    )),
    fault("register-flushes-queue", _REGISTER_FREE, "nf_queue_nf_hook_drop(net); nf_hook_entries_free(p);",
          breaks="what waits stays when a hook comes", rules="queue.hook-registered-meanwhile"),
    fault("register-at-devices-flushes-queue", _REGISTER_FREE, "if (pf == NFPROTO_NETDEV) nf_queue_nf_hook_drop(net); nf_hook_entries_free(p);",
          breaks="what waits stays when a hook comes to a device", rules="queue.hook-registered-elsewhere"),
    fault("missing-silent-of-ipv6", _NOT_FOUND, f"if (pf != NFPROTO_IPV6) {_MISSED}",
          breaks="unregistering what is not there warns, of IPV6 too", rules="unregister.missing"),
    fault("missing-silent-at-output", _NOT_FOUND, f"if (pf != NFPROTO_IPV4 || reg->hooknum != NF_INET_LOCAL_OUT) {_MISSED}",
          breaks="unregistering what is not there warns, at any point", rules="unregister.missing-every-point"),
    fault("missing-silent-at-egress", _NOT_FOUND, f"if (pf != NFPROTO_NETDEV || reg->hooknum != NF_NETDEV_EGRESS) {_MISSED}",
          breaks="unregistering what is not there warns, at EGRESS too", rules="key.egress"),
    fault("empty-silent-of-ipv6", _EMPTY, _silent_if("pf == NFPROTO_IPV6"),
          breaks="unregistering at an empty point warns, of IPV6 too", rules="unregister.empty-head"),
    fault("empty-silent-of-layer-2", _EMPTY, _silent_if("(pf == NFPROTO_ARP || pf == NFPROTO_BRIDGE)"),
          breaks="unregistering at an empty point warns, of ARP and BRIDGE too", rules="unregister.empty-head-layer-2"),
    fault("empty-silent-at-forward", _EMPTY, _silent_if("reg->hooknum == NF_INET_FORWARD"),
          breaks="unregistering at an empty point warns, at any point", rules="unregister.empty-head"),
    fault("empty-silent-of-devices", _EMPTY, _silent_if("pf == NFPROTO_NETDEV"),
          breaks="unregistering at an empty device warns", rules="key.missing"),
    fault("empty-silent-of-inet-ingress", _EMPTY, _silent_if("pf == NFPROTO_INET"),
          breaks="unregistering INET at an empty device warns", rules="key.missing-inet"),
    fault("batch-of-33", "\tfor (i = 0; «i < n»; i++) {", "i < min(n, 33u)", breaks="all of a batch are registered, however many", rules="batch.all"),
    fault("batch-unregisters-33", "\tfor (i = 0; «i < hookcount»; i++)", "i < min(hookcount, 33u)",
          breaks="all of a batch are unregistered, however many", rules="batch.all"),
    fault("batch-rollback-of-8", _BATCH_ROLLBACK, "min(i, 8u)", breaks="a batch is refused whole, however many went before",
          rules="batch.rollback"),
    fault("batch-rollback-not-of-one", "\tif («i > 0»)\n\t\tnf_unregister", "i > 1", breaks="a batch is refused whole, of one before too",
          rules="batch.rollback"),
)

PACKETS = (
    *(fault(f"drop-{name}-consumes", _DROPPED, _consumed_if(where), breaks="a drop is told as a drop, wherever", rules=rules)
      for name, where, rules in (
        ("behind-8", "s >= 8", "drop.reason"),
        ("at-prerouting", "state->pf == NFPROTO_IPV4 && state->hook == NF_INET_PRE_ROUTING", "drop.reason"),
        ("at-forward", "state->pf == NFPROTO_IPV4 && state->hook == NF_INET_FORWARD", "drop.reason"),
        ("at-output", "state->pf == NFPROTO_IPV4 && state->hook == NF_INET_LOCAL_OUT", "drop.reason"),
        ("at-postrouting", "state->pf == NFPROTO_IPV4 && state->hook == NF_INET_POST_ROUTING", "drop.reason"),
        ("at-ipv6-forward", "state->pf == NFPROTO_IPV6 && state->hook == NF_INET_FORWARD", "drop.reason"),
        ("at-ipv6-postrouting", "state->pf == NFPROTO_IPV6 && state->hook == NF_INET_POST_ROUTING", "drop.reason"),
        ("at-egress", "state->pf == NFPROTO_NETDEV && state->hook == NF_NETDEV_EGRESS", "netdev.egress-drop"),
        ("of-the-last", "s + 1 == e->num_hook_entries", "drop.reason"),
        ("of-the-first", "s == 0 && e->num_hook_entries > 1", "drop.reason"),
    )),
    *(fault(f"drop-errno-lost-{name}", _ERRNO, f"({where}) ? 0 : NF_DROP_GETERR(verdict)", breaks="a drop's errno is returned, wherever", rules=rules)
      for name, where, rules in (
        ("behind-8", "s >= 8", "drop.frees"),
        ("alone", "e->num_hook_entries == 1", "drop.errno"),
        ("at-forward", "state->hook == NF_INET_FORWARD", "drop.errno"),
        ("of-ipv6", "state->pf == NFPROTO_IPV6", "drop.errno"),
        ("of-arp", "state->pf == NFPROTO_ARP", "drop.errno-arp"),
        ("of-bridges", "state->pf == NFPROTO_BRIDGE", "path.bridge-verdicts"),
    )),
    fault("stolen-behind-8-is-one", _STOLEN, "return s >= 8 ? 1 : NF_DROP_GETERR(verdict);", breaks="STOLEN ends the loop, wherever",
          rules="stolen.keeps"),
    fault("stolen-at-forward-is-one", _STOLEN, "return state->hook == NF_INET_FORWARD ? 1 : NF_DROP_GETERR(verdict);",
          breaks="STOLEN ends the loop, wherever", rules="stolen"),
    fault("stolen-errno-lost-of-ipv6", _STOLEN, "return state->pf == NFPROTO_IPV6 ? 0 : NF_DROP_GETERR(verdict);",
          breaks="STOLEN's errno is returned, of IPV6 too", rules="stolen.errno"),
    fault("unknown-behind-8-silent", _UNKNOWN, "WARN_ON_ONCE(s < 8);\n\t\t\treturn 0;", breaks="a verdict that nobody knows warns, wherever",
          rules="unknown"),
    fault("bypass-behind-8-ends", _QUEUED, "ret == 1 && (s < 8 || (ret = 0))", breaks="bypass goes on at the next hook, wherever",
          rules="queue.frees"),
    fault("queue-number-of-fifteen-bits", _QUEUE, "nf_queue(skb, state, s, verdict & 0x7fffffff)",
          breaks="the verdict's queue gets the packet, whatever its number", rules="queue.number"),
    fault("queue-never-bypassed", _QUEUE, "nf_queue(skb, state, s, verdict & ~NF_VERDICT_FLAG_QUEUE_BYPASS)",
          breaks="bypass goes on at the next hook", rules="queue.bypass"),
    fault("queue-always-bypassed", _QUEUE, "nf_queue(skb, state, s, verdict | NF_VERDICT_FLAG_QUEUE_BYPASS)",
          breaks="nobody listens: the packet is freed", rules="queue.no-handler"),
    fault("queue-of-ipv6-from-the-next", _QUEUE, "nf_queue(skb, state, s + (state->pf == NFPROTO_IPV6), verdict)",
          breaks="a packet goes on behind the hook that queued it, of IPV6 too", rules="queue.reinject-accept"),
    fault("list-of-one-not-crossed", _EACH, "list_empty(head) && list_empty(&sublist) ? e->num_hook_entries : 0",
          breaks="a list of one packet crosses all hooks", rules="list.order"),
    fault("list-of-ipv6-not-crossed", _EACH, "state->pf == NFPROTO_IPV6 ? e->num_hook_entries : 0",
          breaks="a list crosses all hooks, of IPV6 too", rules="list"),
    fault("list-at-ingress-not-crossed", _EACH, "state->pf == NFPROTO_NETDEV ? e->num_hook_entries : 0",
          breaks="a list crosses all hooks, of a device too",
          why="its three callers are NF_HOOK_LIST's, ip_sublist_rcv() and ip6_sublist_rcv(): nobody can tell"),
    fault("list-spliced-behind", "\t«list_splice(&sublist, head);»", "list_splice_tail(&sublist, head);", breaks="nothing",
          why="the loop has taken every packet off the list: before and behind are the same, and nobody can tell"),
    fault("ct-tuple-of-no-connection", _TUPLE, "ct_hook->get_tuple_skb(dst_tuple, skb) || !skb->_nfct",
          breaks="a tuple is the hook's answer, for a packet without a connection too", rules="ct.present ct.hooks"),
    fault("ct-attach-not-of-new", _TRACKED, "skb->_nfct && (skb->_nfct & NFCT_INFOMASK) != IP_CT_NEW",
          breaks="what a new connection's packet triggers gets its connection", rules="ct.icmp-error"),
    fault("ct-attach-not-of-established", _TRACKED, "skb->_nfct && (skb->_nfct & NFCT_INFOMASK) != IP_CT_ESTABLISHED",
          breaks="what an established connection's packet triggers gets its connection", rules="ct.present"),
    fault("ct-attach-not-of-replies", _TRACKED, "skb->_nfct && (skb->_nfct & NFCT_INFOMASK) < IP_CT_IS_REPLY",
          breaks="what a reply triggers gets its connection", rules="ct.hooks"),
)

FAULTS = (*ORDER, *REFUSALS, *KEYS, *UNREGISTER, *PACKETS)
