"""Wrong arrays: how they are allocated, freed, grown, looked over and shrunk."""

from __future__ import annotations

from tests.mutants.kernel.fault import fault

__all__ = ("FAULTS",)

_FREE = "\tcall_rcu(&head->head, __nf_hook_entries_free);"
_COPY = "new->hooks[nhooks] = «old->hooks[i]»;"
_TAIL = """\tif (!inserted) {
\t\tnew_ops[nhooks] = (void *)reg;
\t\tnew->hooks[nhooks].hook = reg->hook;
\t\tnew->hooks[nhooks].priv = reg->priv;
\t}
"""
_COUNTED = "\t\t\tif («orig_ops[i] != &dummy_ops»)\n\t\t\t\talloc_entries++;"
_DUMMY = "\t\tif («orig_ops[i] == &dummy_ops») {\n\t\t\t++i;"
_ORDER = "if (inserted || «reg->priority > orig_ops[i]->priority»)"
_TAKEN = """\t\t\tif («reg->priority == orig_ops[i]->priority &&
\t\t\t    reg->hook_ops_type == NF_HOOK_OP_BPF»)"""
_RAW_FREE = "\t«nf_hook_entries_free(p);»\n\treturn 0;\n}\nEXPORT_SYMBOL_GPL(nf_hook_entries_insert_raw);"

MEMORY = (
    fault("slots-one-less", "e->num_hook_entries = «num»;", "num - 1",
          breaks="an array says how many hooks it has", rules="accept.all order.ascending"),
    fault("room-for-no-rcu-head", "\t\t       «sizeof(struct nf_hook_entries_rcu_head)»;", "0",
          breaks="an array has room for what frees it", rules="memory.freed",
          why="needs KASAN where the allocator's size classes have room behind it"),
    fault("no-memory-not-looked-at", "\tif («e»)\n\t\te->num_hook_entries", "1",
          breaks="without memory there is no array", rules="grow.enomem unregister.failed-shrink"),
    fault("memory-not-zeroed", "\te = kvzalloc(alloc, GFP_KERNEL_ACCOUNT);", "\te = kvmalloc(alloc, GFP_KERNEL_ACCOUNT);",
          breaks="nothing", why="every slot of an array is written before the array is published, and so is what frees it: nobody can tell"),
    fault("free-at-once", _FREE, "\t__nf_hook_entries_free(&head->head);",
          breaks="an array is freed when its readers have left it", rules="memory.grace-period"),
    fault("free-never", _FREE, "\t;", breaks="an array that is replaced is freed", rules="memory.freed"),
    fault("free-leaks-pairs", _FREE, "\tif (num != 2)\n\t\tcall_rcu(&head->head, __nf_hook_entries_free);",
          breaks="an array that is replaced is freed", rules="memory.freed order.ascending"),
    fault("free-leaks-singles", _FREE, "\tif (num != 1)\n\t\tcall_rcu(&head->head, __nf_hook_entries_free);",
          breaks="an array that is replaced is freed", rules="memory.freed"),
    fault("free-leaks-large", _FREE, "\tif (num < 1024)\n\t\tcall_rcu(&head->head, __nf_hook_entries_free);",
          breaks="an array that is replaced is freed", rules="limit.1024"),
    fault("free-loses-the-callback", "\tkvfree(head->allocation);", "\t;",
          breaks="an array is freed after its grace period", rules="memory.freed"),
    fault("free-takes-null", "\tif («!e»)\n\t\treturn;\n\n\tnum = e->num_hook_entries;", "0",
          breaks="an empty point has no array to free", rules="key.off"),
    fault("raw-insert-leaks", _RAW_FREE, ";",
          breaks="a private array that is replaced is freed", rules="raw.insert"),
    fault("dummy-drops", "\treturn «NF_ACCEPT»; /* ACCEPT makes", "NF_DROP",
          breaks="a dummy accepts", rules="unregister.failed-shrink dummy.accepts"),
    fault("dummy-steals", "\treturn «NF_ACCEPT»; /* ACCEPT makes", "NF_STOLEN",
          breaks="a dummy accepts", rules="unregister.failed-shrink dummy.accepts"),
)

GROW = (
    fault("grow-by-two", "\talloc_entries = «1»;", "2", breaks="an array has a slot for each hook", rules="head.by-hook key.off"),
    fault("grow-empty-is-one", "old_entries = old ? old->num_hook_entries : «0»;", "1",
          breaks="an empty point has no hook yet", why="what old has is looked at only if it is there: nobody can tell"),
    fault("grow-counts-dummies", _COUNTED, "1", breaks="dummies do not count", rules="limit.dummies grow.drops-dummies"),
    fault("grow-keeps-dummies", [(_COUNTED, "1"), (_DUMMY, "0")],
          breaks="a registration leaves dummies behind", rules="grow.drops-dummies"),
    fault("limit-1023", "\tif («alloc_entries > MAX_HOOK_COUNT»)", "alloc_entries >= MAX_HOOK_COUNT",
          breaks="1024 hooks fit", rules="limit.1024"),
    fault("limit-1025", "\tif («alloc_entries > MAX_HOOK_COUNT»)", "alloc_entries > MAX_HOOK_COUNT + 1",
          breaks="the 1025th hook is refused", rules="limit.1024"),
    fault("limit-none", "\tif («alloc_entries > MAX_HOOK_COUNT»)", "0", breaks="the 1025th hook is refused", rules="limit.1024"),
    fault("e2big-is-enospc", "ERR_PTR(«-E2BIG»)", "-ENOSPC", breaks="a full point answers -E2BIG", rules="limit.1024"),
    fault("enomem-is-enobufs", "ERR_PTR(«-ENOMEM»)", "-ENOBUFS", breaks="no memory is -ENOMEM", rules="grow.enomem"),
    fault("equal-oldest-first", _ORDER, "reg->priority >= orig_ops[i]->priority",
          breaks="of equal priorities the newest runs first", rules="order.equal-newest-first"),
    fault("order-descending", _ORDER, "reg->priority < orig_ops[i]->priority",
          breaks="hooks run by ascending priority", rules="order.ascending"),
    fault("order-of-registration", _ORDER, "1", breaks="hooks run by ascending priority", rules="order.ascending"),
    fault("order-newest-first", _ORDER, "0", breaks="hooks run by ascending priority", rules="order.ascending"),
    fault("order-unsigned", _ORDER, "(u32)reg->priority > (u32)orig_ops[i]->priority",
          breaks="priorities are signed", rules="order.ascending"),
    fault("order-sixteen-bits", _ORDER, "(s16)reg->priority > (s16)orig_ops[i]->priority",
          breaks="priorities have 32 bits", rules="order.ascending"),
    fault("order-by-difference", _ORDER, "(int)((u32)reg->priority - (u32)orig_ops[i]->priority) > 0",
          breaks="the smallest and the largest priority work", rules="order.ascending"),
    fault("grow-copies-the-first", _COPY, "old->hooks[0]",
          breaks="a larger array has the hooks of the smaller one", rules="order.ascending order.stable"),
    fault("grow-forgets-priv", "\t\tnew->hooks[nhooks].priv = «reg->priv»;\n\t}\n\n\treturn new;", "NULL",
          breaks="a hook is called with its priv", rules="order.ascending"),
    fault("grow-forgets-ops", _TAIL, _TAIL.replace("(void *)reg", "(void *)&dummy_ops"),
          breaks="an array knows the ops of its hooks", rules="order.ascending"),
    fault("bpf-shares", _TAKEN, "0", breaks="a BPF program shares no priority", rules="bpf.taken-priority"),
    fault("bpf-takes-all", _TAKEN, "reg->priority == orig_ops[i]->priority && (reg->hook_ops_type == NF_HOOK_OP_BPF || "
          "orig_ops[i]->hook_ops_type == NF_HOOK_OP_BPF)",
          breaks="an ordinary hook shares a BPF program's priority", rules="bpf.shared-priority"),
    fault("bpf-alone", _TAKEN, "reg->hook_ops_type == NF_HOOK_OP_BPF",
          breaks="a BPF program may stand beside others", rules="bpf.shared-priority bpf.taken-priority"),
    fault("bpf-ebusy-is-eexist", "ERR_PTR(«-EBUSY»)", "-EEXIST", breaks="a taken priority is -EBUSY", rules="bpf.taken-priority"),
)

VALIDATE = (
    fault("validate-blind", "\t\tWARN_ON(orig_ops[i]->priority < prio);\n", "\t\t;\n",
          breaks="an array out of order warns", rules="validate.altered"),
    fault("validate-equal", "WARN_ON(«orig_ops[i]->priority < prio»);", "orig_ops[i]->priority <= prio",
          breaks="equal priorities do not warn", rules="validate.order"),
    fault("validate-forgets", "\t\tif («orig_ops[i]->priority > prio»)\n\t\t\tprio", "0",
          breaks="an array out of order warns", rules="validate.altered"),
    fault("validate-first-only", "\t\tif («orig_ops[i]->priority > prio»)\n\t\t\tprio", "i == 0",
          breaks="each that is out of order warns", rules="validate.altered"),
    fault("validate-not-when-registered", "\tif (!IS_ERR(new_hooks)) {\n\t\t«hooks_validate(new_hooks);»", ";",
          breaks="an array that is made is looked over", rules="validate.altered-live"),
    fault("raw-insert-unvalidated", "\t\treturn PTR_ERR(new_hooks);\n\n\t«hooks_validate(new_hooks);»", ";", breaks="a private array that is made is looked over", rules="validate.altered"),
    fault("shrink-unvalidated", "\thooks_validate(new);\n", "\t;\n",
          breaks="a smaller array is looked over", rules="validate.altered"),
)

RAW = (
    fault("raw-insert-error-lost", "\tif (IS_ERR(new_hooks))\n\t\treturn «PTR_ERR(new_hooks)»;\n\n\thooks", "0",
          breaks="a private array that is full says so", rules="raw.limit raw.enomem"),
    fault("raw-delete-keeps", "\tif («nf_remove_net_hook(p, reg)») {\n\t\tp = __nf", "0",
          breaks="a hook is deleted from a private array", rules="raw.delete"),
    fault("raw-delete-misses", "\tif («nf_remove_net_hook(p, reg)») {\n\t\tp = __nf", "!WARN_ON_ONCE(!nf_remove_net_hook(p, reg))",
          breaks="what is not there is not missed", rules="raw.missing"),
    fault("raw-delete-leaks", "\t\tp = __nf_hook_entries_try_shrink(p, pp);\n\t\tnf_hook_entries_free(p);",
          "\t\t__nf_hook_entries_try_shrink(p, pp);",
          breaks="a private array that is replaced is freed", rules="raw.delete"),
    fault("raw-delete-frees-what-stays", "\tif («nf_remove_net_hook(p, reg)») {\n\t\tp = __nf", "(nf_remove_net_hook(p, reg), 1)",
          breaks="what is not there is not missed", why="a shrink without a dummy returns NULL, and there is nothing to free: nobody can tell"),
)

SHRINK = (
    fault("shrink-without-dummies", "\tif (skip == 0)\n\t\t«return NULL;»", ";",
          breaks="an array without a dummy stays", rules="queue.not-found unregister.missing"),
    fault("shrink-never", "\tif («skip == 0»)\n\t\treturn NULL;", "1",
          breaks="an unregistration leaves no dummy", rules="unregister.shrinks"),
    fault("shrink-not-to-nothing", "\tif (skip == hook_entries)\n\t\tgoto out_assign;", "\tif (skip == hook_entries)\n\t\treturn NULL;",
          breaks="the last hook leaves an empty head", rules="unregister.last"),
    fault("shrink-copies-the-first", "\t\tnew->hooks[j] = «old->hooks[i]»;", "old->hooks[0]",
          breaks="a smaller array has the hooks that stay", rules="unregister.shrinks"),
    fault("shrink-without-memory-clears", "\tif (!new)\n\t\t«return NULL;»", "goto out_assign;",
          breaks="without memory a dummy stays, and the others too", rules="unregister.failed-shrink"),
    fault("shrink-leaks", "\trcu_assign_pointer(*pp, new);\n\treturn «old»;", "NULL",
          breaks="an array that is replaced is freed", rules="unregister.flushes-queue memory.freed"),
    fault("shrink-loses-the-last", "\t\tif («orig_ops[i] == &dummy_ops»)\n\t\t\tcontinue;\n\t\tnew->hooks",
          "orig_ops[i] == &dummy_ops || i == old->num_hook_entries - 1",
          breaks="a smaller array has the hooks that stay", rules="unregister.shrinks"),
)

FAULTS = (*MEMORY, *GROW, *VALIDATE, *RAW, *SHRINK)
