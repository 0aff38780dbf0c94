"""Faults that only a sanitizer can tell: nothing that a program could see is different until it is too late."""

from __future__ import annotations

from tests.mutants.kernel.fault import fault

__all__ = ("FAULTS",)

_LOCKDEP = "needs a sanitizer, lockdep with PROVE_RCU: the pointer is read without rcu_read_lock(), and is there as long as nothing unloads"
_KCSAN = "needs a sanitizer, KCSAN: on x86 a pointer is written in one piece however it is written"

FAULTS = (
    fault("ct-attach-without-rcu", "\tif (skb->_nfct) {\n\t\t«rcu_read_lock();»\n\t\tct_hook = rcu_dereference(nf_ct_hook);\n\t\tif (ct_hook)\n"
          "\t\t\tct_hook->attach(new, skb);", "ct_hook = rcu_dereference_raw(nf_ct_hook); if (ct_hook) ct_hook->attach(new, skb); return;",
          breaks="a pointer is read by readers only", why=_LOCKDEP),
    fault("ct-tuple-without-rcu", "\tbool ret = false;\n\n\t«rcu_read_lock();»",
          "ct_hook = rcu_dereference_raw(nf_ct_hook); return ct_hook && ct_hook->get_tuple_skb(dst_tuple, skb);",
          breaks="a pointer is read by readers only", why=_LOCKDEP),
    fault("dummy-written-in-pieces", "\t\t«WRITE_ONCE(old->hooks[i].hook, accept_all);»", "old->hooks[i].hook = accept_all;",
          breaks="readers see a hook or the dummy", why=_KCSAN),
    fault("array-published-before-it-is-full", "\t\t«rcu_assign_pointer(*pp, new_hooks);»\n\t}\n\n\tmutex_unlock", "RCU_INIT_POINTER(*pp, new_hooks);",
          breaks="readers see a whole array", why="needs a sanitizer, KCSAN: x86 does not reorder stores"),
)
