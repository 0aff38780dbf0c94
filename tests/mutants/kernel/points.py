"""Wrong hook points: where their arrays are, what is refused, what is counted, the halves of INET, batches."""

from __future__ import annotations

from tests.mutants.kernel.fault import fault

__all__ = ("FAULTS",)

_FOREIGN = "\t\t    «!reg->dev || dev_net(reg->dev) != net»)\n\t\t\treturn -EINVAL;"
_INET_CHECK = "\tif («reg->hooknum != hooknum ||\n\t    !reg->dev || dev_net(reg->dev) != net»)\n\t\treturn -EINVAL;"
_INGRESS = """\tif («(pf == NFPROTO_NETDEV && reg->hooknum == NF_NETDEV_INGRESS) ||
\t    (pf == NFPROTO_INET && reg->hooknum == NF_INET_INGRESS)»)
\t\treturn true;"""
_LOCK = "\t«mutex_lock(&nf_hook_mutex);»\n\n\tp = nf_entry_dereference(*pp);\n\tnew_hooks"
_UNLOCK = "\t«mutex_unlock(&nf_hook_mutex);»\n\tif (IS_ERR(new_hooks))"
_NOT_FOUND = "\t\t«WARN_ONCE(1, \"hook not found, pf %d num %d\", pf, reg->hooknum);»"
_INC_INGRESS, _DEC_INGRESS = "\t\t«net_inc_ingress_queue();»", "\t\t\t«net_dec_ingress_queue();»"
_INC_EGRESS, _DEC_EGRESS = "\t\t«net_inc_egress_queue();»", "\t\t\t«net_dec_egress_queue();»"
_INC_KEY = "\t«nf_static_key_inc(reg, pf);»\n"
_DEC_KEY = "\t\t«nf_static_key_dec(reg, pf);»\n"
_REFUSED = "\t«if (IS_ERR(new_hooks))\n\t\treturn PTR_ERR(new_hooks);»\n\n#ifdef CONFIG_NETFILTER_INGRESS"
_FLUSH = "\t«nf_queue_nf_hook_drop(net);»\n"
_MATCH = "\t\tif («orig_ops[i] != unreg»)\n\t\t\tcontinue;"
_INC_SLOT = "\tstatic_key_slow_inc(«&nf_hooks_needed[pf][hooknum]»);"

HEADS = (
    fault("head-ipv4-one-more", "WARN_ON_ONCE(«ARRAY_SIZE(net->nf.hooks_ipv4) <= hooknum»)", "ARRAY_SIZE(net->nf.hooks_ipv4) < hooknum",
          breaks="IPV4 has five points", rules="head.bad-hook"),
    fault("head-ipv6-one-more", "WARN_ON_ONCE(«ARRAY_SIZE(net->nf.hooks_ipv6) <= hooknum»)", "ARRAY_SIZE(net->nf.hooks_ipv6) < hooknum",
          breaks="IPV6 has five points", rules="head.bad-hook"),
    fault("head-arp-one-more", "WARN_ON_ONCE(«ARRAY_SIZE(net->nf.hooks_arp) <= hooknum»)", "ARRAY_SIZE(net->nf.hooks_arp) < hooknum",
          breaks="ARP has three points", rules="head.bad-hook-arp"),
    fault("head-bridge-one-more", "WARN_ON_ONCE(«ARRAY_SIZE(net->nf.hooks_bridge) <= hooknum»)",
          "ARRAY_SIZE(net->nf.hooks_bridge) < hooknum", breaks="BRIDGE has five points", rules="head.bad-hook-bridge"),
    fault("head-ipv4-silent", "if (WARN_ON_ONCE(«ARRAY_SIZE(net->nf.hooks_ipv4) <= hooknum»))\n\t\t\treturn NULL;\n\t\treturn net->nf.hooks_ipv4",
          "({ if (ARRAY_SIZE(net->nf.hooks_ipv4) <= hooknum) return NULL; 0; })",
          breaks="a number out of range warns", rules="head.bad-hook unregister.no-point"),
    fault("head-ipv6-is-ipv4", "\t\treturn «net->nf.hooks_ipv6 + hooknum»;", "net->nf.hooks_ipv4 + hooknum",
          breaks="each family has its own arrays", rules="head.by-hook inet.fanout"),
    fault("head-ipv6-next", "\t\treturn «net->nf.hooks_ipv6 + hooknum»;", "net->nf.hooks_ipv6 + (hooknum + 1) % 5",
          breaks="each hook number has its own array", rules="inet.fanout"),
    fault("head-arp-one", "\t\treturn «net->nf.hooks_arp + hooknum»;", "net->nf.hooks_arp",
          breaks="each hook number has its own array", rules="head.arp"),
    fault("head-bridge-one", "\t\treturn «net->nf.hooks_bridge + hooknum»;", "net->nf.hooks_bridge",
          breaks="each hook number has its own array", rules="head.bridge"),
    fault("head-ipv4-of-the-first-namespace", "\t\treturn «net->nf.hooks_ipv4 + hooknum»;", "init_net.nf.hooks_ipv4 + hooknum",
          breaks="each namespace has its own arrays", rules="netns.isolated"),
    fault("head-unknown-family-silent", "\tdefault:\n\t\t«WARN_ON_ONCE(1);»\n\t\treturn NULL;\n\t}\n\n#ifdef", ";",
          breaks="an unknown family warns", rules="head.bad-family"),
    fault("head-inet-ingress-is-egress", "\t\treturn «&dev->nf_hooks_ingress»;\n#endif\n\tcase NFPROTO_IPV4", "&dev->nf_hooks_egress",
          breaks="an INET hook at INGRESS is in the device's ingress array", rules="inet.ingress inet.ingress-alone"),
    fault("head-ingress-is-egress", "\t\t\treturn «&dev->nf_hooks_ingress»;\n\t}\n#endif", "&dev->nf_hooks_egress",
          breaks="a device's ingress hooks run for what it receives", rules="netdev.ingress"),
    fault("head-egress-is-ingress", "\t\t\treturn «&dev->nf_hooks_egress»;\n", "&dev->nf_hooks_ingress",
          breaks="a device's egress hooks run for what it sends", rules="netdev.egress"),
    fault("head-no-device-silent", "\t«WARN_ON_ONCE(1);»\n\treturn NULL;\n}\n\nstatic int nf_ingress_check", ";",
          breaks="a device's point without a device warns", rules="unregister.no-device"),
    fault("head-inet-no-device-silent", "\t\t\t«WARN_ON_ONCE(1);»\n\t\t\treturn NULL;\n\t\t}\n\t\treturn &dev->nf_hooks_ingress", ";",
          breaks="INET's point of a device without a device warns", rules="unregister.no-device"),
    fault("head-ingress-of-any-namespace", "\t\tif (dev && «dev_net(dev) == net»)\n\t\t\treturn &dev->nf_hooks_ingress", "1",
          breaks="another namespace's device has no INGRESS here", rules="unregister.no-device"),
    fault("head-egress-of-any-namespace", "\t\tif (dev && «dev_net(dev) == net»)\n\t\t\treturn &dev->nf_hooks_egress", "1",
          breaks="another namespace's device has no EGRESS here", rules="unregister.no-device-egress"),
    fault("head-inet-ingress-of-any-namespace", "\t\tif (!dev || «dev_net(dev) != net») {", "0",
          breaks="another namespace's device has no INGRESS of INET here", rules="unregister.no-device"),
    fault("head-egress-without-device", "\t\tif («dev && dev_net(dev) == net»)\n\t\t\treturn &dev->nf_hooks_egress", "!dev || dev_net(dev) == net",
          breaks="EGRESS without a device warns", rules="unregister.no-device-egress"),
)

REFUSALS = (
    fault("egress-refused", "\t\tif ((reg->hooknum != NF_NETDEV_INGRESS &&\n\t\t     «reg->hooknum != NF_NETDEV_EGRESS») ||", "1",
          breaks="devices have egress", rules="netdev.egress"),
    fault("ingress-refused", "\t\tif ((«reg->hooknum != NF_NETDEV_INGRESS» &&\n\t\t     reg->hooknum != NF_NETDEV_EGRESS) ||", "1",
          breaks="devices have ingress", rules="netdev.ingress"),
    fault("device-hooks-of-any-number", "\t\tif ((«reg->hooknum != NF_NETDEV_INGRESS &&\n\t\t     reg->hooknum != NF_NETDEV_EGRESS») ||", "0",
          breaks="a number that devices have not is refused in silence", rules="netdev.bad-hook"),
    fault("device-not-looked-for", _FOREIGN, "0", breaks="a device's point without a device is refused", rules="netdev.no-device"),
    fault("device-of-any-namespace", [(_FOREIGN, "!reg->dev"), ("\t\tif («dev && dev_net(dev) == net»)\n\t\t\treturn &dev->nf_hooks_ingress", "dev != NULL")],
          breaks="another namespace's device is refused", rules="netdev.foreign-device"),
    fault("device-refused-otherwise", "\t\t    !reg->dev || dev_net(reg->dev) != net)\n\t\t\treturn «-EINVAL»;", "-ENODEV",
          breaks="a device's point without a device is -EINVAL", rules="netdev.no-device"),
    fault("inet-ingress-refused", _INET_CHECK, "reg->hooknum != hooknum || reg->dev || dev_net(reg->dev) != net",
          breaks="INET hooks may be at INGRESS", rules="inet.ingress"),
    fault("inet-ingress-unchecked", _INET_CHECK, "0",
          breaks="INET's point of a device without a device is refused in silence", rules="netdev.no-device"),
    fault("inet-ingress-foreign", [(_INET_CHECK, "!reg->dev"), ("\t\tif («!dev || dev_net(dev) != net») {", "!dev")],
          breaks="another namespace's device is refused", rules="netdev.foreign-device"),
    fault("no-point-is-enoent", "\tif (!pp)\n\t\treturn «-EINVAL»;\n\n\tmutex_lock", "-ENOENT",
          breaks="a point that there is not is -EINVAL", rules="head.bad-hook head.bad-family"),
    fault("refusal-lost", "\tif (IS_ERR(new_hooks))\n\t\treturn «PTR_ERR(new_hooks)»;\n\n#ifdef CONFIG_NETFILTER_INGRESS", "0",
          breaks="an array that could not grow says so", rules="limit.1024 grow.enomem"),
)

REGISTER = (
    fault("register-no-mutex", [(_LOCK, ";"), (_UNLOCK, ";")],
          breaks="two that register at one point at once are both there", rules="register.at-once"),
    fault("register-leaks", "\t«nf_hook_entries_free(p);»\n\treturn 0;\n}\n\n/*\n * nf_remove", ";",
          breaks="an array that is replaced is freed", rules="order.ascending memory.freed"),
    fault("register-frees-the-new", "\tnf_hook_entries_free(«p»);\n\treturn 0;\n}\n\n/*\n * nf_remove", "p ? new_hooks : p",
          breaks="the array that is in use is not freed", rules="memory.freed order.ascending"),
    fault("ingress-not-counted", _INC_INGRESS, ";", breaks="ingress is counted, so that devices look for it", rules="netdev.ingress"),
    fault("inet-ingress-not-counted", _INGRESS, "pf == NFPROTO_NETDEV && reg->hooknum == NF_NETDEV_INGRESS",
          breaks="an INET hook at INGRESS counts as ingress", rules="inet.ingress-alone key.ingress"),
    fault("ingress-counted-twice", _INC_INGRESS, "{ net_inc_ingress_queue(); net_inc_ingress_queue(); }",
          breaks="each registration at ingress counts once", rules="key.counts"),
    fault("egress-counts-as-ingress", "\treturn «pf == NFPROTO_NETDEV && reg->hooknum == NF_NETDEV_EGRESS»;",
          "pf == NFPROTO_NETDEV", breaks="ingress does not count as egress", rules="key.counts"),
    fault("egress-not-counted", _INC_EGRESS, ";", breaks="egress is counted, so that devices look for it", rules="netdev.egress"),
    fault("key-not-up", _INC_KEY, ";", breaks="a registration turns its point on", rules="key.off"),
    fault("key-up-twice", _INC_KEY, "{ nf_static_key_inc(reg, pf); nf_static_key_inc(reg, pf); }",
          breaks="each registration counts once", rules="key.counts"),
    fault("key-of-inet", [("\tif («pf == NFPROTO_INET && reg->hooknum == NF_INET_INGRESS») {\n\t\tpf = NFPROTO_NETDEV;\n\t\thooknum = "
                           "NF_NETDEV_INGRESS;\n\t} else {\n\t\thooknum = reg->hooknum;\n\t}\n\tstatic_key_slow_inc", "0"),
                          ("\tif («pf == NFPROTO_INET && reg->hooknum == NF_INET_INGRESS») {\n\t\tpf = NFPROTO_NETDEV;\n\t\thooknum = "
                           "NF_NETDEV_INGRESS;\n\t} else {\n\t\thooknum = reg->hooknum;\n\t}\n\tstatic_key_slow_dec", "0")],
          breaks="an INET hook at INGRESS counts as its device's", rules="key.ingress inet.ingress-alone"),
    fault("key-of-the-next-point", _INC_SLOT, "&nf_hooks_needed[pf][(hooknum + 1) % NF_MAX_HOOKS]",
          breaks="a registration turns its own point on", rules="key.off"),
    fault("key-up-for-refused", _REFUSED, "if (IS_ERR(new_hooks)) {\n\t\tnf_static_key_inc(reg, pf);\n\t\treturn PTR_ERR(new_hooks);\n\t}",
          breaks="what is refused does not count", rules="key.refused"),
    fault("ingress-up-for-refused", _REFUSED,
          "if (IS_ERR(new_hooks)) {\n\t\tif (nf_ingress_hook(reg, pf))\n\t\t\tnet_inc_ingress_queue();\n\t\treturn PTR_ERR(new_hooks);\n\t}",
          breaks="what is refused does not count", rules="key.refused"),
)

UNREGISTER = (
    fault("no-point-is-ipv4", "\tpp = nf_hook_entry_head(net, pf, reg->hooknum, reg->dev);\n\tif («!pp»)\n\t\treturn;",
          "({ if (!pp) pp = net->nf.hooks_ipv4; 0; })", breaks="what was at no point is not looked for", rules="unregister.no-point"),
    fault("unregister-others-stay", "\t} else {\n\t\t«__nf_unregister_net_hook(net, reg->pf, reg);»\n\t}\n}", ";",
          breaks="a hook that is unregistered goes", rules="unregister.shrinks unregister.last"),
    fault("remove-the-last-match", "\t\t«if (orig_ops[i] != unreg)\n\t\t\tcontinue;»",
          "{ unsigned int j, more = 0; if (orig_ops[i] != unreg) continue; "
          "for (j = i + 1; j < old->num_hook_entries; j++) more |= orig_ops[j] == unreg; if (more) continue; }",
          breaks="one unregistration takes the first of two", rules="duplicate.same-ops"),
    fault("remove-by-priority", _MATCH, "orig_ops[i]->priority != unreg->priority",
          breaks="the hook that was meant goes", rules="duplicate.same-ops unregister.missing"),
    fault("remove-by-function", _MATCH, "orig_ops[i]->hook != unreg->hook",
          breaks="the hook that was meant goes", rules="unregister.shrinks"),
    fault("removed-hook-runs-on", "\t\t«WRITE_ONCE(old->hooks[i].hook, accept_all);»", ";",
          breaks="a hook that is gone is not called", rules="unregister.failed-shrink"),
    fault("removed-ops-stay", "\t\t«WRITE_ONCE(orig_ops[i], (void *)&dummy_ops);»", ";",
          breaks="a hook that is gone is not in the array", rules="unregister.shrinks"),
    fault("unregister-no-mutex", [("\t«mutex_lock(&nf_hook_mutex);»\n\n\tp = nf_entry_dereference(*pp);\n\tif (WARN", ";"),
                                  ("\tp = __nf_hook_entries_try_shrink(p, pp);\n\t«mutex_unlock(&nf_hook_mutex);»", ";")],
          breaks="two that unregister at one point at once are both gone, and nothing else is", rules="unregister.at-once"),
    fault("missing-silent", _NOT_FOUND, ";", breaks="unregistering what is not there warns", rules="unregister.missing"),
    fault("missing-counts-down", _NOT_FOUND, 'nf_static_key_dec(reg, pf);\n\t\tWARN_ONCE(1, "hook not found, pf %d num %d", pf, reg->hooknum);',
          breaks="unregistering what is not there does not count", rules="key.missing"),
    fault("missing-says-the-other-number", _NOT_FOUND, 'WARN_ONCE(1, "hook not found, pf %d num %d", reg->hooknum, pf);',
          breaks="the warning says what is missed", rules="unregister.missing"),
    fault("empty-head-silent", "\tif (WARN_ON_ONCE(«!p»)) {", "({ if (!p) { mutex_unlock(&nf_hook_mutex); return; } 0; })",
          breaks="unregistering at an empty point warns", rules="unregister.empty-head"),
    fault("empty-head-keeps-the-mutex", "\tif (WARN_ON_ONCE(!p)) {\n\t\t«mutex_unlock(&nf_hook_mutex);»", ";",
          breaks="unregistering at an empty point does nothing else", rules="unregister.empty-head"),
    fault("ingress-never-down", _DEC_INGRESS, ";", breaks="ingress is counted down", rules="key.counts"),
    fault("egress-never-down", _DEC_EGRESS, ";", breaks="egress is counted down", rules="key.egress"),
    fault("key-never-down", _DEC_KEY, ";", breaks="the last unregistration turns its point off", rules="key.off"),
    fault("queue-not-flushed", _FLUSH, ";", breaks="what waits is dropped when its array goes", rules="unregister.flushes-queue"),
    fault("queue-of-the-first-namespace-flushed", _FLUSH, "nf_queue_nf_hook_drop(&init_net);",
          breaks="what waits in the namespace is dropped", rules="unregister.flushes-queue"),
    fault("queue-flushed-though-it-stays", "\tmutex_unlock(&nf_hook_mutex);\n\t«if (!p)\n\t\treturn;»\n\n\tnf_queue",
          "if (!p) {\n\t\tnf_queue_nf_hook_drop(net);\n\t\treturn;\n\t}",
          breaks="what waits stays where the array does", rules="queue.failed-shrink queue.not-found"),
    fault("unregister-leaks", "\tnf_queue_nf_hook_drop(net);\n\t«nf_hook_entries_free(p);»", ";",
          breaks="an array that is replaced is freed", rules="unregister.shrinks memory.freed"),
    fault("inet-leaves-ipv6", "\t\t\t«__nf_unregister_net_hook(net, NFPROTO_IPV6, reg);»", ";",
          breaks="an INET hook goes out of IPV6", rules="inet.unregister"),
    fault("inet-leaves-ipv4", "\t\t\t«__nf_unregister_net_hook(net, NFPROTO_IPV4, reg);»\n\t\t\t__nf_unregister_net_hook(net, NFPROTO_IPV6", ";",
          breaks="an INET hook goes out of IPV4", rules="inet.unregister"),
    fault("inet-ingress-stays", "\t\t\t«__nf_unregister_net_hook(net, NFPROTO_INET, reg);»", ";",
          breaks="an INET hook at INGRESS goes", rules="inet.ingress inet.ingress-alone"),
)

HALVES = (
    fault("register-others-not", "\t} else {\n\t\terr = «__nf_register_net_hook(net, reg->pf, reg)»;", "0",
          breaks="a hook that is registered is at its point", rules="order.ascending head.by-hook"),
    fault("register-others-lost", "\t\terr = __nf_register_net_hook(net, reg->pf, reg);\n\t\tif («err < 0»)\n\t\t\treturn err;\n\t}\n\n\treturn 0;",
          "0", breaks="a point that refuses says so", rules="limit.1024 limit.per-device grow.enomem"),
    fault("inet-no-rollback", "\t\t\tif (err < 0) {\n\t\t\t\t«__nf_unregister_net_hook(net, NFPROTO_IPV4, reg);»", ";",
          breaks="IPV6 refuses: the IPV4 half goes again", rules="inet.rollback"),
    fault("inet-rollback-errno-lost", "\t\t\t\t__nf_unregister_net_hook(net, NFPROTO_IPV4, reg);\n\t\t\t\treturn «err»;", "0",
          breaks="IPV6 refuses: its errno is returned", rules="inet.rollback"),
    fault("inet-goes-on", "\t\t\terr = __nf_register_net_hook(net, NFPROTO_IPV4, reg);\n\t\t\tif («err < 0»)", "0",
          breaks="IPV4 refuses: IPV6 is not tried", rules="inet.first-half"),
    fault("inet-ipv4-only", "\t\t\terr = «__nf_register_net_hook(net, NFPROTO_IPV6, reg)»;", "0",
          breaks="an INET hook is in IPV6", rules="inet.fanout"),
    fault("inet-ipv6-only", "\t\t\terr = «__nf_register_net_hook(net, NFPROTO_IPV4, reg)»;", "0",
          breaks="an INET hook is in IPV4", rules="inet.fanout"),
    fault("inet-ingress-in-both", "\t\t\terr = «__nf_register_net_hook(net, NFPROTO_INET, reg)»;",
          "__nf_register_net_hook(net, NFPROTO_INET, reg) ?: __nf_register_net_hook(net, NFPROTO_INET, reg)",
          breaks="an INET hook at INGRESS takes one slot", rules="inet.ingress inet.ingress-alone"),
)

BATCHES = (
    fault("batch-no-rollback", "\tif («i > 0»)\n\t\tnf_unregister", "0", breaks="a batch is refused whole", rules="batch.rollback"),
    fault("batch-rollback-one-more", "\t\tnf_unregister_net_hooks(net, reg, «i»);", "i + 1",
          breaks="what a batch had not registered is not unregistered", rules="batch.rollback"),
    fault("batch-rollback-one-less", "\t\tnf_unregister_net_hooks(net, reg, «i»);", "i - 1",
          breaks="a batch is refused whole", rules="batch.rollback"),
    fault("batch-errno-lost", "\t\tnf_unregister_net_hooks(net, reg, i);\n\treturn «err»;", "0",
          breaks="a batch's errno is returned", rules="batch.rollback"),
    fault("batch-goes-on", "\t\terr = nf_register_net_hook(net, &reg[i]);\n\t\tif («err»)", "0",
          breaks="a batch ends with the first that is refused", rules="batch.rollback"),
    fault("batch-first-only", "\tfor (i = 0; «i < n»; i++) {", "i < min(n, 1u)", breaks="all of a batch are registered", rules="batch.all"),
    fault("batch-leaves-the-last", "\tfor (i = 0; «i < hookcount»; i++)", "i + 1 < hookcount",
          breaks="all of a batch are unregistered", rules="batch.unregister batch.all"),
    fault("batch-empty-refused", "\tunsigned int i;\n\tint err = «0»;", "n ? 0 : -EINVAL", breaks="a batch of none is registered", rules="batch.empty"),
)

FAULTS = (*HEADS, *REFUSALS, *REGISTER, *UNREGISTER, *HALVES, *BATCHES)
