"""Wrong where a doubter looked: over dummies, at one size, for copies, groups and clones, in two steps that are right apart."""

from __future__ import annotations

from tests.mutants.kernel.fault import fault

__all__ = ("COPY", "DROPPED", "FAULTS", "LOOP", "MISSED", "NOT_FOUND", "NO_MEMORY", "ORDER", "PUBLISHED", "REFUSED", "SWITCH", "consumed_if")

ORDER = "if (inserted || «reg->priority > orig_ops[i]->priority»)"
COPY = "new->hooks[nhooks] = «old->hooks[i]»;"
_DUMMY = "\t\tif («orig_ops[i] == &dummy_ops») {\n\t\t\t++i;"
_LIMIT = "\tif («alloc_entries > MAX_HOOK_COUNT»)"
NO_MEMORY = "\tif (!new)\n\t\treturn ERR_PTR(«-ENOMEM»);"
_FOREIGN = "\t\t    «!reg->dev || dev_net(reg->dev) != net»)\n\t\t\treturn -EINVAL;"
_LOCK = "\t«mutex_lock(&nf_hook_mutex);»\n\n\tp = nf_entry_dereference(*pp);\n\tnew_hooks"
_UNLOCK = "\t«mutex_unlock(&nf_hook_mutex);»\n\tif (IS_ERR(new_hooks))"
_READ = "\t«p = nf_entry_dereference(*pp);»\n\tnew_hooks"
_GOING_LOCK = "\t«mutex_lock(&nf_hook_mutex);»\n\n\tp = nf_entry_dereference(*pp);\n\tif (WARN"
_GOING_UNLOCK = "\tp = __nf_hook_entries_try_shrink(p, pp);\n\t«mutex_unlock(&nf_hook_mutex);»"
_GOING_READ = "\t«p = nf_entry_dereference(*pp);»\n\tif (WARN"
PUBLISHED = "\t\t«rcu_assign_pointer(*pp, new_hooks);»\n\t}\n\n\tmutex_unlock"
_SHRUNK = "out_assign:\n\t«rcu_assign_pointer(*pp, new);»"
REFUSED = "\t«if (IS_ERR(new_hooks))\n\t\treturn PTR_ERR(new_hooks);»\n\n#ifdef CONFIG_NETFILTER_INGRESS"
_INC_INGRESS, _DEC_INGRESS = "\t\t«net_inc_ingress_queue();»", "\t\t\t«net_dec_ingress_queue();»"
_INC_KEY, _DEC_KEY = "\t«nf_static_key_inc(reg, pf);»\n", "\t\t«nf_static_key_dec(reg, pf);»\n"
_REGISTER_FREE = "\t«nf_hook_entries_free(p);»\n\treturn 0;\n}\n\n/*\n * nf_remove"
_KEPT = "\tmutex_unlock(&nf_hook_mutex);\n\t«if (!p)\n\t\treturn;»\n\n\tnf_queue"
_FLUSH = "\t«nf_queue_nf_hook_drop(net);»\n"
_GOING_FREE = "\tnf_queue_nf_hook_drop(net);\n\t«nf_hook_entries_free(p);»"
NOT_FOUND = "\t\t«WARN_ONCE(1, \"hook not found, pf %d num %d\", pf, reg->hooknum);»"
MISSED = 'WARN_ONCE(1, "hook not found, pf %d num %d", pf, reg->hooknum);'
_REMOVED = "\t\t«WRITE_ONCE(old->hooks[i].hook, accept_all);»"
_RAW_REFUSED = "\tif (IS_ERR(new_hooks))\n\t\t«return PTR_ERR(new_hooks);»\n\n\thooks"
_RAW_FREE = "\t«nf_hook_entries_free(p);»\n\treturn 0;\n}\nEXPORT_SYMBOL_GPL(nf_hook_entries_insert_raw);"
_RAW_DELETED = "\t\tp = __nf_hook_entries_try_shrink(p, pp);\n\t\t«nf_hook_entries_free(p);»"
_EACH_OF_BATCH = "\t\terr = nf_register_net_hook(net, &reg[i]);\n\t\tif («err»)"
_BATCH_ROLLBACK = "\t\tnf_unregister_net_hooks(net, reg, i);"
LOOP = "\tfor (; «s < e->num_hook_entries»; s++) {\n\t\tverdict"
SWITCH = "\t\tswitch («verdict & NF_VERDICT_MASK») {"
DROPPED = "\t\t\t«kfree_skb_reason(skb,\n\t\t\t\t\t SKB_DROP_REASON_NETFILTER_DROP);»"
_ERRNO = "\t\t\tret = «NF_DROP_GETERR(verdict)»;\n\t\t\tif (ret == 0)"
_QUEUED = "\t\t\tif («ret == 1»)\n\t\t\t\tcontinue;"
_EACH = "\t\tret = nf_hook_slow(skb, state, e, «0»);"
_PASSED = "\t\t«if (ret == 1)\n\t\t\tlist_add_tail(&skb->list, &sublist);»"
_ATTACH = "\t\t\t«ct_hook->attach(new, skb);»"


def consumed_if(where: str) -> str:
    """A dropped packet is consumed, there."""
    return f"if ({where}) consume_skb(skb); else kfree_skb_reason(skb, SKB_DROP_REASON_NETFILTER_DROP);"


ARRAYS = (
    fault("last-of-sixteen-copied-from-its-neighbour", COPY, "old->hooks[i - (old_entries == 16 && i == 15)]",
          breaks="a larger array has the hooks of the smaller one, the last too", rules="order.many"),
    fault("grow-keeps-a-last-dummy", _DUMMY, "i + 1 < old_entries && orig_ops[i] == &dummy_ops",
          breaks="a registration leaves dummies behind, the last too", rules="grow.drops-dummies"),
    fault("grow-loses-what-is-behind-two-dummies", "\t\tif (orig_ops[i] == &dummy_ops) {\n\t\t\t«++i;»",
          "i += i + 1 < old_entries && orig_ops[i + 1] == &dummy_ops ? 3 : 1;",
          breaks="a registration leaves dummies behind, and nothing else", rules="queue.dummies-go"),
    fault("equal-oldest-of-the-priorities-of-nat", ORDER,
          "reg->priority > orig_ops[i]->priority || "
          "((reg->priority == 100 || reg->priority == -100) && reg->priority == orig_ops[i]->priority)",
          breaks="of equal priorities the newest runs first, whichever they are", rules="order.named-priorities-every-point"),
    fault("limit-counts-a-second-dummy", _LIMIT,
          "alloc_entries > MAX_HOOK_COUNT || (old_entries == MAX_HOOK_COUNT && alloc_entries + 1 < old_entries)",
          breaks="dummies do not count, however many they are", rules="limit.dummies"),
    fault("dummies-freed-at-once", _REGISTER_FREE, "if (p && new_hooks->num_hook_entries == 1) kvfree(p); else nf_hook_entries_free(p);",
          breaks="nothing", why="a shrink that finds dummies only empties the head, without an allocation: a first hook never takes the place of an array"),
    fault("raw-insert-frees-at-once", _RAW_FREE, "kvfree(p);",
          breaks="a private array is freed when its readers have left it, too", rules="memory.grace-period"),
    fault("raw-delete-frees-at-once", _RAW_DELETED, "kvfree(p);",
          breaks="a private array is freed when its readers have left it, too", rules="memory.grace-period"),
    fault("raw-delete-leaks-the-last", _RAW_DELETED, "if (rcu_access_pointer(*pp)) nf_hook_entries_free(p);",
          breaks="a private array that is emptied is freed", rules="raw.delete memory.freed"),
    fault("raw-refused-frees-the-old", _RAW_REFUSED, "{ nf_hook_entries_free(p); return PTR_ERR(new_hooks); }",
          breaks="a private array that refuses a hook stays", rules="raw.limit raw.enomem"),
    fault("refused-frees-the-old", REFUSED, "if (IS_ERR(new_hooks)) { nf_hook_entries_free(p); return PTR_ERR(new_hooks); }",
          breaks="the array of a point that refuses a hook stays", rules="grow.enomem limit.1024"),
    fault("validate-dummies-too", "\t\tif («orig_ops[i] == &dummy_ops»)\n\t\t\tcontinue;\n\n\t\tWARN_ON", "0", breaks="nothing",
          why="it looks at arrays just made, by nf_hook_entries_grow() and __nf_hook_entries_try_shrink(), which copy no dummy: nobody can tell"),
)

STEPS = (
    fault("shrink-passes-through-nothing", _SHRUNK, "{ rcu_assign_pointer(*pp, NULL); synchronize_rcu(); rcu_assign_pointer(*pp, new); }",
          breaks="a packet meets the old array or the new one", rules="unregister.in-flight"),
    fault("device-passes-through-nothing", PUBLISHED,
          "{ if (pf == NFPROTO_NETDEV && p) { rcu_assign_pointer(*pp, NULL); synchronize_rcu(); } rcu_assign_pointer(*pp, new_hooks); }",
          breaks="a packet meets the old array or the new one, at a device too", rules="unregister.in-flight-devices"),
    fault("register-reads-before-the-mutex", [(_LOCK, "p = rcu_dereference_raw(*pp); mutex_lock(&nf_hook_mutex);"), (_READ, ";")],
          breaks="two that register at one point at once are both there", rules="register.at-once"),
    fault("unregister-reads-before-the-mutex", [(_GOING_LOCK, "p = rcu_dereference_raw(*pp); mutex_lock(&nf_hook_mutex);"), (_GOING_READ, ";")],
          breaks="two that unregister at one point at once are both gone", rules="unregister.at-once"),
    fault("register-no-mutex-at-devices", [(_LOCK, "if (pf != NFPROTO_NETDEV) mutex_lock(&nf_hook_mutex);"),
                                           (_UNLOCK, "if (pf != NFPROTO_NETDEV) mutex_unlock(&nf_hook_mutex);")],
          breaks="two that register at one point at once are both there, a device's too", rules="register.at-once"),
    fault("unregister-no-mutex-of-ipv6", [(_GOING_LOCK, "if (pf != NFPROTO_IPV6) mutex_lock(&nf_hook_mutex);"),
                                          (_GOING_UNLOCK, "if (pf != NFPROTO_IPV6) mutex_unlock(&nf_hook_mutex);")],
          breaks="two that unregister at one point at once are both gone, of IPV6 too", rules="unregister.at-once"),
    fault("flushed-when-it-is-freed", [(_FLUSH, ";"), (_GOING_FREE, "nf_hook_entries_free(p); nf_queue_nf_hook_drop(net);")], breaks="nothing",
          why="nf_hook_entries_free() only hands the array to call_rcu(), and nf_reinject() never looks at an old array: nobody can tell"),
)

POINTS = (
    fault("no-memory-of-a-device-is-eagain", NO_MEMORY, "reg->pf == NFPROTO_NETDEV ? -EAGAIN : -ENOMEM",
          breaks="no memory is -ENOMEM, for a device too", rules="key.refused key.refused-egress"),
    fault("no-memory-of-layer-2-is-enobufs", NO_MEMORY, "reg->pf == NFPROTO_ARP || reg->pf == NFPROTO_BRIDGE ? -ENOBUFS : -ENOMEM",
          breaks="no memory is -ENOMEM, of ARP and BRIDGE too", rules="grow.enomem-every-point"),
    fault("ports-of-bridges-refused", _FOREIGN, "!reg->dev || dev_net(reg->dev) != net || netif_is_bridge_port(reg->dev)",
          breaks="a bridge's ports take hooks as any device", rules="netdev.egress-dummy"),
    fault("egress-of-a-port-at-its-bridge", "\t\t\treturn «&dev->nf_hooks_egress»;\n",
          "&(netdev_master_upper_dev_get_rcu(dev) ?: dev)->nf_hooks_egress",
          breaks="an egress hook is in its device's array, a bridge's port too", rules="netdev.egress-dummy"),
    fault("key-once-a-point", [(_INC_KEY, "if (!p) nf_static_key_inc(reg, pf);"), (_DEC_KEY, ";"),
                               (_KEPT, "if (!p) return; if (!rcu_access_pointer(*pp)) nf_static_key_dec(reg, pf);")],
          breaks="a point's key counts its registrations", rules="key.counts"),
    fault("reuse-of-a-dummy-not-counted", _INC_KEY, "if (!p || new_hooks->num_hook_entries > p->num_hook_entries) nf_static_key_inc(reg, pf);",
          breaks="a registration counts, also one that leaves a dummy behind", rules="grow.drops-dummies-every-point"),
    fault("reuse-of-a-dummy-not-counted-at-ingress", _INC_INGRESS,
          "if (!p || new_hooks->num_hook_entries > p->num_hook_entries) net_inc_ingress_queue();",
          breaks="a registration at ingress counts, also one that leaves a dummy behind", rules="grow.drops-dummies-every-point"),
    fault("ingress-once-a-device", [(_INC_INGRESS, "if (!p) net_inc_ingress_queue();"), (_DEC_INGRESS, ";"),
                                    (_KEPT, "if (!p) return; if (nf_ingress_hook(reg, pf) && !rcu_access_pointer(*pp)) net_dec_ingress_queue();")],
          breaks="each registration at ingress counts", rules="pernet.exit-twice"),
    fault("refused-at-a-device-flushes", REFUSED,
          "if (IS_ERR(new_hooks)) { if (pf == NFPROTO_NETDEV) nf_queue_nf_hook_drop(net); return PTR_ERR(new_hooks); }",
          breaks="what waits stays when a registration is refused, a device's too", rules="grow.enomem-every-point"),
    fault("missing-at-layer-2-flushes", NOT_FOUND,
          f"if (pf == NFPROTO_ARP || pf == NFPROTO_BRIDGE) nf_queue_nf_hook_drop(net); {MISSED}",
          breaks="what waits stays when nothing goes, at ARP's and BRIDGE's points too", rules="unregister.missing-every-point"),
    fault("queue-not-flushed-for-a-dying-namespace", _FLUSH, "if (check_net(net)) nf_queue_nf_hook_drop(net);", breaks="nothing",
          why="a queue's listener is a socket, which holds its namespace: one that dies has no queue any more, and nothing waits"),
    fault("removed-last-runs-on", _REMOVED, "if (!i || i + 1 < old->num_hook_entries) WRITE_ONCE(old->hooks[i].hook, accept_all);",
          breaks="a dummy accepts, the last of an array too", rules="order.many"),
    fault("batch-first-refused-goes-on", _EACH_OF_BATCH, "err && (i || n == 1)",
          breaks="a batch is refused whole, for its first hook too", rules="batch.rollback"),
    fault("batch-no-rollback-without-memory", _BATCH_ROLLBACK, "if (err != -ENOMEM) nf_unregister_net_hooks(net, reg, i);",
          breaks="a batch is refused whole, whatever the reason", rules="batch.enomem"),
    fault("batch-stays-behind-a-device", "\tfor (i = 0; «i < hookcount»; i++)\n", "i < hookcount && !(i && reg[i - 1].pf == NFPROTO_NETDEV)",
          breaks="all of a batch go, wherever they are", rules="batch.unregister-every-point batch.unregister-every-egress"),
)

PACKETS = (
    fault("copies-cross-nothing", LOOP, "s < (__this_cpu_read(nf_skb_duplicated) ? 0 : e->num_hook_entries)",
          breaks="a copy crosses the hooks of its way as any packet", rules="tee.duplicated"),
    fault("groups-cross-nothing", LOOP, "s < (skb->pkt_type == PACKET_MULTICAST ? 0 : e->num_hook_entries)",
          breaks="a packet to a group crosses the hooks of its way as any", rules="path.bridge drop.reason-cloned"),
    fault("full-point-without-its-last", LOOP, "s + (e->num_hook_entries == MAX_HOOK_COUNT) < e->num_hook_entries",
          breaks="every hook runs, of a full point too", rules="limit.1024 raw.limit"),
    fault("seventeen-without-the-last", LOOP, "s + (e->num_hook_entries == 17) < e->num_hook_entries",
          breaks="every hook runs, of however many", rules="raw.every-size"),
    fault("state-without-sk-behind-the-first", LOOP, "({ if (s) state->sk = NULL; s < e->num_hook_entries; })",
          breaks="each hook of a point is given the state that the first one was", rules="accept.high-bits"),
    fault("state-without-okfn-behind-the-first", LOOP, "({ if (s) state->okfn = NULL; s < e->num_hook_entries; })",
          breaks="each hook of a point is given the state that the first one was", rules="state.fields queue.reinject-accept"),
    fault("dummy-forgets-out", "\treturn «NF_ACCEPT»; /* ACCEPT makes", "(((struct nf_hook_state *)state)->out = NULL, NF_ACCEPT)",
          breaks="a dummy changes nothing", rules="dummy.accepts"),
    fault("okfn-twice-for-a-list", _PASSED,
          "if (ret == 1) { struct sk_buff *twin = state->okfn ? skb_clone(skb, GFP_ATOMIC) : NULL; "
          "if (twin) state->okfn(state->net, state->sk, twin); list_add_tail(&skb->list, &sublist); }",
          breaks="okfn is the caller's to run", rules="list"),
    fault("accept-with-high-bits-unknown-at-the-last", SWITCH,
          "s && s + 1 == e->num_hook_entries && (verdict & NF_VERDICT_MASK) == NF_ACCEPT && verdict > NF_VERDICT_MASK ? 0xff : "
          "verdict & NF_VERDICT_MASK", breaks="the low byte decides, of the last hook too", rules="accept.high-bits"),
    fault("bypass-behind-the-first-skips-one", _QUEUED, "ret == 1 && (s += s > 0, 1)",
          breaks="bypass goes on at the next hook, whichever asks for it", rules="queue.bypass queue.frees"),
    fault("drop-errno-of-twelve-bits", _ERRNO, "-(int)((verdict >> NF_VERDICT_QBITS) & 0xfff)",
          breaks="a drop's errno has 16 bits", rules="drop.positive drop.frees"),
    fault("cloned-drop-consumes", DROPPED, consumed_if("skb_cloned(skb)"),
          breaks="a drop is told as a drop, of a clone too", rules="drop.reason-cloned"),
    fault("gso-drop-consumes", DROPPED, consumed_if("skb_is_gso(skb)"),
          breaks="a drop is told as a drop, of a packet that will be segmented too", rules="drop.reason-whole"),
    fault("list-turned-behind-a-first-that-ends", _PASSED,
          "{ static bool ended; if (ret == 1 && ended) list_add(&skb->list, &sublist); else if (ret == 1) list_add_tail(&skb->list, &sublist); "
          "else if (list_empty(&sublist)) ended = true; if (list_empty(head)) ended = false; }",
          breaks="a list keeps its order, also when its first is dropped or stolen", rules="list.verdicts"),
    fault("list-second-without-in", _EACH, "({ if (!list_empty(&sublist)) state->in = NULL; 0; })",
          breaks="each of a list comes with the same state", rules="list.order state.fields"),
    fault("list-behind-the-eighth-not-crossed", _EACH,
          "({ static unsigned int nth; unsigned int from = nth < 8 ? 0 : e->num_hook_entries; nth = list_empty(head) ? 0 : nth + 1; from; })",
          breaks="each of a list crosses all hooks, however many they are", rules="list.order"),
    fault("ct-attach-as-it-is", _ATTACH, "{ nf_conntrack_get(skb_nfct(skb)); new->_nfct = skb->_nfct; }",
          breaks="what a packet triggers is related, as conntrack says", rules="ct.present ct.hooks"),
    fault("ct-attach-keeps-a-reference", _ATTACH, "{ ct_hook->attach(new, skb); nf_conntrack_get(skb_nfct(new)); }",
          breaks="what a packet triggers refers to its connection once", rules="ct.present"),
)

FAULTS = (*ARRAYS, *STEPS, *POINTS, *PACKETS)
