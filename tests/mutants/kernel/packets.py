"""Wrong loops over an array, and over a list of packets."""

from __future__ import annotations

from tests.mutants.kernel.fault import fault

__all__ = ("FAULTS",)

_LOOP = "\tfor (; «s < e->num_hook_entries»; s++) {\n\t\tverdict"
_SWITCH = "\t\tswitch («verdict & NF_VERDICT_MASK») {"
_FREE = "\t\t\t«kfree_skb_reason(skb,\n\t\t\t\t\t SKB_DROP_REASON_NETFILTER_DROP);»"
_ERRNO = "\t\t\tret = «NF_DROP_GETERR(verdict)»;\n\t\t\tif (ret == 0)"
_QUEUE = "\t\t\tret = «nf_queue(skb, state, s, verdict)»;"
_QUEUED = "\t\t\tif («ret == 1»)\n\t\t\t\tcontinue;"
_STOLEN = "\t\tcase NF_STOLEN:\n\t\t\t«return NF_DROP_GETERR(verdict);»"
_UNKNOWN = "\t\tdefault:\n\t\t\t«WARN_ON_ONCE(1);\n\t\t\treturn 0;»"
_EACH = "\t\tret = nf_hook_slow(skb, state, e, «0»);"
_PASSED = "\t\t«if (ret == 1)\n\t\t\tlist_add_tail(&skb->list, &sublist);»"

SLOW = (
    fault("slow-not-the-last", _LOOP, "s + 1 < e->num_hook_entries", breaks="every hook runs", rules="accept.all"),
    fault("slow-not-behind-the-second", _LOOP, "s < min_t(unsigned int, e->num_hook_entries, 2)",
          breaks="every hook runs", rules="accept.all"),
    fault("slow-not-behind-255", _LOOP, "s < min_t(unsigned int, e->num_hook_entries, 255)",
          breaks="every hook runs", rules="raw.limit order.many"),
    fault("high-bits-count", _SWITCH, "verdict", breaks="the low byte decides", rules="accept.high-bits drop.errno"),
    fault("four-bits-decide", _SWITCH, "verdict & 0xf", breaks="the low byte decides", rules="unknown"),
    fault("drop-consumes", _FREE, "consume_skb(skb);", breaks="a drop is told as a drop", rules="drop.reason"),
    fault("drop-without-reason", _FREE, "kfree_skb(skb);", breaks="a drop's reason is NETFILTER_DROP", rules="drop.reason"),
    fault("drop-frees-nothing", _FREE, ";", breaks="a drop frees the packet", rules="drop.frees drop.eperm"),
    fault("drop-frees-twice", _FREE, "{ kfree_skb_reason(skb, SKB_DROP_REASON_NETFILTER_DROP); kfree_skb(skb); }",
          breaks="a drop frees the packet once", rules="drop.frees"),
    fault("drop-is-eacces", "\t\t\t\tret = «-EPERM»;", "-EACCES", breaks="a drop without an errno is -EPERM", rules="drop.eperm"),
    fault("drop-is-one", "\t\t\t\tret = «-EPERM»;", "1", breaks="a drop ends the walk", rules="drop.frees drop.eperm"),
    fault("drop-errno-lost", _ERRNO, "0", breaks="a drop's errno is returned", rules="drop.errno"),
    fault("drop-errno-turned", _ERRNO, "-NF_DROP_GETERR(verdict)", breaks="a drop's errno is negative", rules="drop.errno drop.positive"),
    fault("drop-errno-of-eight-bits", _ERRNO, "-(int)((verdict >> NF_VERDICT_QBITS) & 0xff)",
          breaks="a drop's errno has 16 bits", rules="drop.frees drop.positive"),
    fault("queue-of-number-0", _QUEUE, "nf_queue(skb, state, s, verdict & 0xffff)",
          breaks="the verdict's queue gets the packet", rules="queue.number"),
    fault("queue-from-the-next", _QUEUE, "nf_queue(skb, state, s + 1, verdict)",
          breaks="a packet goes on behind the hook that queued it", rules="queue.reinject-accept"),
    fault("queue-from-the-first", _QUEUE, "nf_queue(skb, state, 0, verdict)",
          breaks="a packet goes on behind the hook that queued it", rules="queue.reinject-accept"),
    fault("queue-goes-on", _QUEUED, "1", breaks="a packet that waits does not go on", rules="queue.no-handler queue.waits"),
    fault("queue-bypass-ends", _QUEUED, "0", breaks="bypass goes on at the next hook", rules="queue.bypass"),
    fault("queue-bypass-calls-again", _QUEUED, "ret == 1 && s-- + 1",
          breaks="bypass goes on at the next hook", rules="queue.bypass"),
    fault("stolen-errno-lost", _STOLEN, "return 0;", breaks="STOLEN's errno is returned", rules="stolen.errno"),
    fault("stolen-is-freed", _STOLEN, "kfree_skb(skb);\n\t\t\treturn NF_DROP_GETERR(verdict);",
          breaks="core does not free what is stolen", rules="stolen.keeps"),
    fault("stolen-goes-on", _STOLEN, "break;", breaks="STOLEN ends the loop", rules="stolen"),
    fault("stolen-is-one", _STOLEN, "return NF_DROP_GETERR(verdict) ?: 1;", breaks="okfn does not run for STOLEN", rules="stolen.keeps stolen"),
    fault("unknown-silent", _UNKNOWN, "return 0;", breaks="a verdict that nobody knows warns", rules="unknown repeat stop"),
    fault("unknown-goes-on", _UNKNOWN, "WARN_ON_ONCE(1);\n\t\t\tbreak;", breaks="a verdict that nobody knows ends the loop",
          rules="unknown repeat stop"),
    fault("unknown-is-freed", _UNKNOWN, "WARN_ON_ONCE(1);\n\t\t\tkfree_skb(skb);\n\t\t\treturn 0;",
          breaks="core does not free what it does not know", rules="unknown repeat stop"),
    fault("unknown-is-eperm", _UNKNOWN, "WARN_ON_ONCE(1);\n\t\t\treturn -EPERM;", breaks="a verdict that nobody knows returns 0",
          rules="unknown repeat stop"),
    fault("stop-accepts", _UNKNOWN, "if ((verdict & NF_VERDICT_MASK) == NF_STOP)\n\t\t\t\treturn 1;\n\t\t\tWARN_ON_ONCE(1);\n\t\t\treturn 0;",
          breaks="STOP has no case", rules="stop"),
    fault("accepted-is-zero", "\treturn «1»;\n}\nEXPORT_SYMBOL(nf_hook_slow);", "0", breaks="okfn runs", rules="accept.all"),
)

LISTS = (
    fault("list-reversed", _PASSED, "if (ret == 1)\n\t\t\tlist_add(&skb->list, &sublist);",
          breaks="a list keeps its order", rules="list.order"),
    fault("list-stops-after-drop", _PASSED,
          "if (ret == 1)\n\t\t\tlist_add_tail(&skb->list, &sublist);\n\t\telse if (ret == -EPERM)\n\t\t\tbreak;",
          breaks="what is behind one that is dropped goes on", rules="list.verdicts"),
    fault("list-stops-after-stolen", _PASSED,
          "if (ret == 1)\n\t\t\tlist_add_tail(&skb->list, &sublist);\n\t\telse if (ret == 0)\n\t\t\tbreak;",
          breaks="what is behind one that is stolen or waits goes on", rules="list.verdicts"),
    fault("list-loses-the-first", _PASSED,
          "if (ret == 1 && !list_empty(head))\n\t\t\tlist_add_tail(&skb->list, &sublist);\n\t\telse if (ret == 1)\n\t\t\tkfree_skb(skb);",
          breaks="what passes goes on", rules="list.order list"),
    fault("list-goes-on-with-stolen", _PASSED, "if (ret >= 0)\n\t\t\tlist_add_tail(&skb->list, &sublist);",
          breaks="what is stolen or waits does not go on", rules="list.verdicts"),
    fault("list-one-passes", _PASSED,
          "if (ret == 1 && list_empty(&sublist))\n\t\t\tlist_add_tail(&skb->list, &sublist);\n\t\telse if (ret == 1)\n\t\t\tkfree_skb(skb);",
          breaks="what passes goes on", rules="list.order list"),
    fault("list-from-the-second", _EACH, "e->num_hook_entries > 1", breaks="each packet of a list crosses all hooks", rules="list"),
    fault("list-lost", "\t«list_splice(&sublist, head);»", "if (!list_empty(&sublist) && list_is_singular(&sublist))\n\t\tlist_splice(&sublist, head);",
          breaks="what passes goes on", rules="list.order list"),
)

FAULTS = (*SLOW, *LISTS)
