"""Wrong by one slip of an editor: a type, a neighbour's name, a line that moved, a lock that an early return keeps."""

from __future__ import annotations

from tests.mutants.kernel.doubted import DROPPED
from tests.mutants.kernel.fault import fault

__all__ = ("FAULTS",)

_TAKEN = "\t\t\tif («reg->priority == orig_ops[i]->priority &&\n\t\t\t    reg->hook_ops_type == NF_HOOK_OP_BPF»)"
_BPF_EQUAL = "reg->priority == orig_ops[i]->priority && reg->hook_ops_type == NF_HOOK_OP_BPF"
_FREE = "kfree_skb_reason(skb, SKB_DROP_REASON_NETFILTER_DROP);"

ARRAYS = (
    fault("room-for-pointers-to-hooks", "«sizeof(struct nf_hook_entry)» * num +", "sizeof(struct nf_hook_entry *)",
          breaks="an array has room for its hooks", rules="memory.freed order.ascending"),
    fault("allocation-not-noted", "\thead->allocation = e;\n", "\t;\n",
          breaks="an array that is replaced is freed", rules="memory.freed"),
    fault("array-never-fails", "\te = kvzalloc(alloc, GFP_KERNEL_ACCOUNT);", "\te = kvzalloc(alloc, GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);",
          breaks="without memory a registration is refused",
          why="needs failslab, which spares __GFP_NOFAIL: the module's probe takes the result of kvmalloc away whatever the flags are, and no "
              "rule reads them; without it only a control group at its limit, or a task that the OOM killer chose, could tell"),
    fault("slots-of-eight-bits", "e->num_hook_entries = «num»;", "(u8)num",
          breaks="an array says how many hooks it has, 1024 at most", rules="limit.1024"),
    fault("bpf-not-beside-dummies", _TAKEN, f"orig_ops[i] != &dummy_ops && {_BPF_EQUAL}",
          breaks="nothing", why="of the type are only the ops of nf_bpf_link.c, which refuses INT_MIN, a dummy's priority, with -ERANGE: nobody can tell"),
    fault("bpf-asks-the-other", _TAKEN, "reg->priority == orig_ops[i]->priority && orig_ops[i]->hook_ops_type == NF_HOOK_OP_BPF",
          breaks="a BPF program is refused, not the hook that comes to it", rules="bpf.taken-priority bpf.shared-priority"),
    fault("limit-counts-slots", "\tif («alloc_entries > MAX_HOOK_COUNT»)", "old_entries >= MAX_HOOK_COUNT",
          breaks="dummies do not count", rules="limit.dummies"),
    fault("grow-ops-from-the-new-slot", "\t\t\tnew_ops[nhooks] = (void *)«orig_ops[i]»;", "orig_ops[nhooks]",
          breaks="a larger array knows the ops of its hooks", rules="order.ascending"),
    fault("shrink-without-memory-frees", "\tif (!new)\n\t\t«return NULL;»", "return old;",
          breaks="without memory an array stays", rules="unregister.failed-shrink"),
    fault("shrink-copies-one-more", "\tfor (i = 0, j = 0; «i < old->num_hook_entries»; i++) {", "i <= old->num_hook_entries",
          breaks="a smaller array has the ops of the hooks that stay", rules="unregister.shrinks"),
)

POINTS = (
    fault("head-arp-is-bridge", "\t\treturn «net->nf.hooks_arp + hooknum»;", "net->nf.hooks_bridge + hooknum",
          breaks="each family has its own arrays", rules="head.arp"),
    fault("inet-ingress-asked-as-a-device", "nf_ingress_check(net, reg, «NF_INET_INGRESS»)", "NF_NETDEV_INGRESS",
          breaks="INET takes hooks at INGRESS", rules="inet.ingress-alone"),
    fault("no-point-is-success", "\tif (!pp)\n\t\treturn «-EINVAL»;", "0",
          breaks="a hook without a point is refused", rules="head.bad-hook"),
    fault("refusal-keeps-the-mutex", "\t«mutex_unlock(&nf_hook_mutex);»\n\tif (IS_ERR(new_hooks))",
          "if (!IS_ERR(new_hooks)) mutex_unlock(&nf_hook_mutex);",
          breaks="a point that refuses a hook takes the next one", rules="grow.enomem limit.1024"),
    fault("key-down-of-the-family-of-the-ops", "static_key_slow_dec(«&nf_hooks_needed[pf][hooknum]»);", "&nf_hooks_needed[reg->pf][reg->hooknum]",
          breaks="what was counted up is counted down", rules="key.counts"),
    fault("key-is-a-switch", [("\tstatic_key_slow_inc(&nf_hooks_needed[pf][hooknum]);", "static_key_enable(&nf_hooks_needed[pf][hooknum]);"),
                              ("\tstatic_key_slow_dec(&nf_hooks_needed[pf][hooknum]);", "static_key_disable(&nf_hooks_needed[pf][hooknum]);")],
          breaks="a key counts the hooks of its point", rules="key.counts"),
    fault("queue-flushed-where-it-is-found", [
        ("\t\t«nf_static_key_dec(reg, pf);»\n", "nf_static_key_dec(reg, pf); nf_queue_nf_hook_drop(net);"), ("\t«nf_queue_nf_hook_drop(net);»\n", ";")],
          breaks="what waits is dropped when an array goes, and not when a dummy stays", rules="queue.failed-shrink"),
    fault("inet-rollback-of-the-other-half", "\t\t\tif (err < 0) {\n\t\t\t\t«__nf_unregister_net_hook(net, NFPROTO_IPV4, reg);»",
          "__nf_unregister_net_hook(net, NFPROTO_IPV6, reg);",
          breaks="IPV6 refuses: the IPV4 half goes", rules="inet.enomem"),
    fault("batch-rollback-of-all", "\t\tnf_unregister_net_hooks(net, reg, «i»);", "n",
          breaks="only what a batch has registered is taken back", rules="batch.rollback"),
)

PACKETS = (
    fault("accept-ends-the-loop", "\t\tcase NF_ACCEPT:\n\t\t\t«break;»", "return 1;",
          breaks="ACCEPT goes on at the next hook", rules="accept.all"),
    fault("drop-with-errno-frees-nothing", [(DROPPED, ";"), ("\t\t\tif (ret == 0)\n\t\t\t\t«ret = -EPERM;»", f"{{ {_FREE} ret = -EPERM; }}")],
          breaks="a drop frees the packet, whatever its errno", rules="drop.errno drop.frees"),
    fault("list-keeps-what-ends", [
        ("\t\t«skb_list_del_init(skb);»\n\t\tret = nf_hook_slow", ";"),
        ("\t\t\t«list_add_tail(&skb->list, &sublist);»", "{ skb_list_del_init(skb); list_add_tail(&skb->list, &sublist); }")],
          breaks="what ends goes off its list", rules="list.verdicts"),
    fault("ct-attach-asks-the-new", "\tif («skb->_nfct») {\n\t\trcu_read_lock();", "new->_nfct",
          breaks="what a packet triggers gets its connection", rules="ct.hooks ct.present"),
    fault("ct-closing-without-a-hook", "\tif («ct_hook»)\n\t\tct_hook->set_closing(nfct);", "1",
          breaks="without conntrack nobody is called", rules="ct.closing"),
)

FAULTS = (*ARRAYS, *POINTS, *PACKETS)
