"""Faults of the kinds of ``doubted``, elsewhere: a rule that closed a hole there must see these without having been written for them."""

from __future__ import annotations

from tests.mutants.kernel.doubted import (
    COPY,
    DROPPED,
    LOOP,
    MISSED,
    NO_MEMORY,
    NOT_FOUND,
    ORDER,
    PUBLISHED,
    REFUSED,
    SWITCH,
    consumed_if,
)
from tests.mutants.kernel.fault import fault

__all__ = ("FAULTS",)

_INC_EGRESS = "\t\t«net_inc_egress_queue();»"
_EGRESS = "pf == NFPROTO_NETDEV && reg->hooknum == NF_NETDEV_EGRESS"
_IS_FRAGMENT = "state->pf == NFPROTO_IPV4 && (ntohs(*(__be16 *)(skb_network_header(skb) + 6)) & 0x3fff)"

FAULTS = (
    fault("no-memory-of-egress-is-enobufs", NO_MEMORY, f"reg->{_EGRESS} ? -ENOBUFS : -ENOMEM",
          breaks="no memory is -ENOMEM, at EGRESS too", rules="grow.enomem-every-egress"),
    fault("no-memory-of-a-forward-is-eagain", NO_MEMORY, "reg->pf == NFPROTO_IPV6 && reg->hooknum == NF_INET_FORWARD ? -EAGAIN : -ENOMEM",
          breaks="no memory is -ENOMEM, at each point", rules="grow.enomem-every-point"),
    fault("equal-oldest-of-the-last-of-selinux", ORDER,
          "reg->priority > orig_ops[i]->priority || (reg->priority == 225 && reg->priority == orig_ops[i]->priority)",
          breaks="of equal priorities the newest runs first, whichever they are", rules="order.named-priorities-every-point"),
    fault("refused-at-egress-flushes", REFUSED,
          f"if (IS_ERR(new_hooks)) {{ if ({_EGRESS}) nf_queue_nf_hook_drop(net); return PTR_ERR(new_hooks); }}",
          breaks="what waits stays when a registration is refused, at EGRESS too", rules="grow.enomem-every-egress"),
    fault("missing-at-inet-ingress-flushes", NOT_FOUND, f"if (pf == NFPROTO_INET) nf_queue_nf_hook_drop(net); {MISSED}",
          breaks="what waits stays when nothing goes, for INET's INGRESS too", rules="unregister.missing-every-egress"),
    fault("batch-stays-behind-arp", "\tfor (i = 0; «i < hookcount»; i++)\n", "i < hookcount && !(i && reg[i - 1].pf == NFPROTO_ARP)",
          breaks="all of a batch go, wherever they are", rules="batch.unregister-every-point"),
    fault("reuse-of-a-dummy-not-counted-at-egress", _INC_EGRESS,
          "if (!p || new_hooks->num_hook_entries > p->num_hook_entries) net_inc_egress_queue();",
          breaks="a registration at egress counts, also one that leaves a dummy behind", rules="grow.drops-dummies-every-egress"),
    fault("egress-passes-through-nothing", PUBLISHED,
          f"{{ if ({_EGRESS} && p) {{ rcu_assign_pointer(*pp, NULL); synchronize_rcu(); }} rcu_assign_pointer(*pp, new_hooks); }}",
          breaks="a packet meets the old array or the new one, at EGRESS too", rules="unregister.in-flight-egress"),
    fault("broadcasts-cross-nothing", LOOP, "s < (skb->pkt_type == PACKET_BROADCAST && state->pf == NFPROTO_IPV6 ? 0 : e->num_hook_entries)",
          breaks="a packet to all crosses the hooks of its way as any", rules="path.group"),
    fault("nonlinear-drop-consumes", DROPPED, consumed_if("skb_is_nonlinear(skb)"),
          breaks="a drop is told as a drop, of a packet in several pieces of memory too", rules="drop.reason-whole"),
    fault("fragment-drop-consumes", DROPPED, consumed_if(_IS_FRAGMENT),
          breaks="a drop is told as a drop, of a fragment too", rules="drop.reason-whole"),
    fault("unknown-accepts-at-the-first", SWITCH,
          "!s && e->num_hook_entries > 1 && (verdict & NF_VERDICT_MASK) > NF_STOP ? NF_ACCEPT : verdict & NF_VERDICT_MASK",
          breaks="what nobody knows ends the loop, of the first hook too", rules="unknown"),
    fault("state-without-in-behind-the-third", LOOP, "({ if (s == 3) state->in = NULL; s < e->num_hook_entries; })",
          breaks="each hook of a point is given the state that the first one was", rules="raw.every-size"),
    fault("fourth-of-twenty-nine-copied-from-its-neighbour", COPY, "old->hooks[i - (old_entries == 29 && i == 3)]",
          breaks="a larger array has the hooks of the smaller one", rules="raw.every-size order.many"),
)
