"""The verdict loop: ``nf_hook_slow``, lines 503 to 536 of ``net/netfilter/core.c``."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from harness.model.queue import nf_queue
from harness.model.structures import Context, Entries, QueueHandler
from harness.netfilter import Verdict, VerdictKind
from harness.outcome.profile import KernelProfile

__all__ = ("nf_drop_geterr", "nf_hook_slow", "nf_hook_slow_list")

def nf_drop_geterr(verdict: Verdict) -> int:
    """``NF_DROP_GETERR``: ``-(verdict >> NF_VERDICT_QBITS)`` of a signed int: with the top bit set, a positive number comes out."""
    return -(verdict.errno - 0x10000 if verdict.errno & 0x8000 else verdict.errno)


def nf_hook_slow(context: Context, e: Entries, s: int = 0, *, profile: KernelProfile, handler: QueueHandler | None = None) -> int:
    """``nf_hook_slow``, l.505-536.

    :param s: the entry to start with
    :param handler: ``nf_queue_handler``; ``None``: nobody listens
    :returns: 1 if the caller is to run okfn, a negative errno if the packet was dropped, else 0
    """
    skb = context.skb
    for index in range(s, len(e)):
        verdict = context.call(e, index)
        match verdict.kind:
            case VerdictKind.ACCEPT:
                continue
            case VerdictKind.DROP:
                skb.state = "freed"
                return nf_drop_geterr(verdict) or -errno.EPERM
            case VerdictKind.QUEUE:
                ret = nf_queue(context, index, verdict, handler)
                if ret == 1:
                    continue
                return ret
            case VerdictKind.STOLEN:
                skb.state = "stolen"
                return nf_drop_geterr(verdict) if profile.stolen_errno else 0
            case _:  # the default case: nobody frees the skb; newer kernels warn
                skb.state = "leaked"
                if profile.unknown_verdict_warns:
                    context.warnings.append("nf_hook_slow")
                return 0
    return 1


def nf_hook_slow_list(contexts: Sequence[Context], e: Entries, *, profile: KernelProfile) -> list[Context]:
    """``nf_hook_slow_list``, newer than the file quoted: each packet of a list crosses all hooks, alone, before the next one does.

    :returns: those that pass, in their order
    """
    passed = []
    for context in contexts:
        context.skb.linked = False  # skb_list_del_init()
        if nf_hook_slow(context, e, profile=profile) == 1:
            context.skb.linked = True
            passed.append(context)
    return passed
