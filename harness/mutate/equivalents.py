"""Mutants that nothing can tell from what is right, or only a sanitizer, each with the reason: the only survivors that a run lets pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.mutate.mutant import Mutant

__all__ = ("PROOFS", "Proof", "proofs")


@dataclass(frozen=True, slots=True)
class Proof:
    """One mutant, and why nothing can tell it.

    :param function: of core.c
    :param original: as :class:`Mutant` has it
    :param mutated: the same
    :param why: no caller, and nothing that a program or the kernel's log could show, is different
    :param sanitizer: the one that can tell it nevertheless; empty: none can
    :param nth: which one, from 1, where a function has the text several times; 0: it is there once
    """

    function: str
    original: str
    mutated: str
    why: str
    sanitizer: str = ""
    nth: int = 0


_FIRST = "for (h = 0; h < max; h++)"
_ZEROED = "struct net is allocated zeroed (net_alloc), NULL is zero, and nothing registers hooks in a namespace before netfilter_net_init"
_DUMMIES = "hooks_validate() is given what grow or shrink has made, and they leave no dummy in it"
_FANNED = "nf_register_net_hook() and nf_unregister_net_hook() hand INET on for INGRESS alone: elsewhere it is IPV4 and IPV6"
_POINT_5 = "NF_INET_INGRESS is 5, and nf_hook_entry_head() has refused 5 of other families: their arrays end at 4, a device's points at 1"
_RETURNS_0 = "err is never above 0: where it is 0, it is returned here rather than at the end of the function"
_LOCKDEP = "without rcu_read_lock() the hook is there as long as nothing unloads it"
_KCSAN = "an aligned pointer is read and written by one instruction on amd64, and the processor keeps the order of stores"
_INET = "pf == NFPROTO_INET && reg->hooknum == NF_INET_INGRESS"
_NETDEV = "pf == NFPROTO_NETDEV && reg->hooknum == NF_NETDEV_INGRESS"
_REFUSED = "if (err < 0)"
_NONE = "none are unregistered then: nf_unregister_net_hooks() of no hooks does nothing"
_CT = "ct_hook = rcu_dereference(nf_ct_hook);"


def _loops() -> tuple[Proof, ...]:
    others = ("for (h = 0 + 1; h < max; h++)", "for (h = 0; 0; h++)", "for (h = 0; h + 1 < max; h++)", "for (h = 0; h <= max; h++)")
    arrays = ("hooks_ipv4", "hooks_ipv6", "hooks_arp", "hooks_bridge")
    calls = (f"__netfilter_net_init(net->nf.{name}, ARRAY_SIZE(net->nf.{name}));" for name in arrays)
    return (*(Proof("__netfilter_net_init", _FIRST, other, _ZEROED) for other in others),
            Proof("__netfilter_net_init", "RCU_INIT_POINTER(e[h], NULL);", ";", _ZEROED),
            *(Proof("netfilter_net_init", call, ";", _ZEROED) for call in calls),
            *(Proof("netfilter_net_init", f"__netfilter_net_init(net->nf.{one}, ARRAY_SIZE(net->nf.{one}));",
                    f"__netfilter_net_init(net->nf.{other}, ARRAY_SIZE(net->nf.{one}));", _ZEROED)
              for one, other in (("hooks_ipv4", "hooks_ipv6"), ("hooks_ipv6", "hooks_ipv4"), ("hooks_arp", "hooks_ipv4"),
                                 ("hooks_bridge", "hooks_ipv4"))))


def _static_keys() -> tuple[Proof, ...]:
    return tuple(Proof(function, f"if ({_INET})", f"if ({kept})", why) for function in ("nf_static_key_inc", "nf_static_key_dec")
                 for kept, why in (("pf == NFPROTO_INET", _FANNED), ("reg->hooknum == NF_INET_INGRESS", _POINT_5)))


def _results() -> tuple[Proof, ...]:
    """Proofs about the errnos of INGRESS, and of what is no INET, at which ``nf_register_net_hook()`` looks."""
    return tuple(Proof("nf_register_net_hook", _REFUSED, other, _RETURNS_0, nth=nth)
                 for nth in (1, 4) for other in ("if (err <= 0)", "if (err < 1)", "if (1)"))


def _connections() -> tuple[Proof, ...]:
    functions = ("nf_ct_attach", "nf_conntrack_destroy", "nf_ct_set_closing", "nf_ct_get_tuple_skb")
    return (*(Proof(one, "rcu_read_lock(); … rcu_read_unlock();", "; … ;", _LOCKDEP, "lockdep with PROVE_RCU") for one in functions),
            *(Proof(one, _CT, "ct_hook = (nf_ct_hook);", _KCSAN, "KCSAN") for one in functions))


def _barriers() -> tuple[Proof, ...]:
    raw = ("nf_hook_entries_insert_raw", "nf_hook_entries_delete_raw")
    published = (("nf_hook_entries_insert_raw", "new_hooks"), ("__nf_register_net_hook", "new_hooks"),
                 ("__nf_hook_entries_try_shrink", "new"))
    removed = (("WRITE_ONCE(old->hooks[i].hook, accept_all);", "(old->hooks[i].hook) = (accept_all);"),
               ("WRITE_ONCE(orig_ops[i], (void *)&dummy_ops);", "(orig_ops[i]) = ((void *)&dummy_ops);"))
    return (*(Proof(one, "p = rcu_dereference_raw(*pp);", "p = (*pp);", _KCSAN, "KCSAN") for one in raw),
            *(Proof(one, f"rcu_assign_pointer(*pp, {new});", f"RCU_INIT_POINTER(*pp, {new});", _KCSAN, "KCSAN") for one, new in published),
            *(Proof("nf_remove_net_hook", right, wrong, _KCSAN, "KCSAN") for right, wrong in removed))


PROOFS: tuple[Proof, ...] = (
    Proof("allocate_hook_entries_size", "if (num == 0)", "if (0)",
          "grow asks for one at least, shrink for what is left when not all are dummies"),
    Proof("allocate_hook_entries_size", "return NULL;", ";", "no caller asks for none, so it is not reached"),
    Proof("hooks_validate", "size_t i = 0;", "size_t i = 1;", "the loop sets it"),
    Proof("hooks_validate", "if (orig_ops[i] == &dummy_ops)", "if (0)", _DUMMIES),
    Proof("hooks_validate", "continue;", ";", _DUMMIES),
    Proof("hooks_validate", "continue;", "break;", _DUMMIES),
    Proof("hooks_validate", "if (orig_ops[i]->priority > prio)", "if (orig_ops[i]->priority >= prio)",
          "an equal priority is put in its place"),
    Proof("nf_hook_entries_insert_raw", "BUG_ON(p == new_hooks);", ";", "grow makes another array, or has answered with an errno"),
    Proof("__nf_register_net_hook", "BUG_ON(p == new_hooks);", ";", "grow makes another array, or has answered with an errno"),
    Proof("__nf_hook_entries_try_shrink", "if (WARN_ON_ONCE(!old))", "if ((void)(WARN_ON_ONCE(!old)), 0)", "both callers have looked"),
    Proof("nf_hook_entry_head", "if (WARN_ON_ONCE(hooknum != NF_INET_INGRESS))", "if ((void)(WARN_ON_ONCE(hooknum != NF_INET_INGRESS)), 0)",
          _FANNED),
    Proof("nf_ingress_check", "if (reg->hooknum != hooknum || !reg->dev || dev_net(reg->dev) != net)",
          "if (!reg->dev || dev_net(reg->dev) != net)", "its caller has looked at the number"),
    Proof("nf_ingress_check", "return 0;", "return 1;", "its caller asks whether it is below 0"),
    Proof("nf_ingress_hook", f"if (({_NETDEV}) || ({_INET}))", f"if (({_NETDEV}) || (pf == NFPROTO_INET))", _FANNED),
    Proof("nf_ingress_hook", f"if (({_NETDEV}) || ({_INET}))", f"if (({_NETDEV}) || (reg->hooknum == NF_INET_INGRESS))", _POINT_5),
    Proof("__nf_register_net_hook", "break;", ";", "what follows is INET's, and ends at once for a device's numbers", nth=1),
    Proof("__nf_register_net_hook", "break;", ";", _FANNED, nth=2),
    Proof("__nf_register_net_hook", "break;", ";", "it is the last statement of its switch", nth=3),
    Proof("__nf_register_net_hook", "if (reg->hooknum != NF_INET_INGRESS)", "if (0)", _FANNED),
    Proof("nf_register_net_hooks", "if (i > 0)", "if (1)", _NONE),
    Proof("nf_register_net_hooks", "if (i > 0)", "if (i >= 0)", _NONE),
    Proof("nf_hook_slow", "return ret;", "return 0;", "nf_queue() answers with 1, which has been looked at, or with 0", nth=2),
    Proof("nf_hook_slow", "continue;", "break;", "break leaves the switch, and the loop goes on behind it as with continue"),
    Proof("netfilter_net_init", "if (!net_eq(net, &init_net))", "if (!net_eq(&init_net, net))", "net_eq() compares two pointers"),
    Proof("netfilter_net_init", "if (!net_eq(net, &init_net))", "if ((void)(!net_eq(net, &init_net)), 1)",
          "the first namespace is made at boot, before a mutant can be chosen"),
    *_loops(), *_static_keys(), *_results(), *_connections(), *_barriers(),
)


def proofs(mutants: Sequence[Mutant]) -> dict[str, Proof]:
    """The mutants that have a proof, by name.

    :param mutants: all of a core.c, in the order of their lines
    """
    known = {(one.function, one.original, one.mutated, one.nth): one for one in PROOFS}
    many = Counter((one.function, one.original, one.mutated) for one in mutants)
    found: dict[str, Proof] = {}
    seen: Counter[tuple[str, str, str]] = Counter()
    for one in mutants:
        text = (one.function, one.original, one.mutated)
        seen[text] += 1
        if proof := known.get((*text, 0 if many[text] == 1 else seen[text])):
            found[one.name] = proof
    return found
