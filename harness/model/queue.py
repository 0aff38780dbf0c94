"""What follows an ``NF_QUEUE``: ``net/netfilter/nf_queue.c``, of which ``nf_reinject`` and ``nf_iterate`` moved to
``nfnetlink_queue.c`` (3f8019688894 "netfilter: move nf_reinject into nfnetlink_queue modules").
"""

from __future__ import annotations

import errno

from harness.model.structures import Context, Entries, QueueEntry, QueueHandler
from harness.netfilter import Verdict, VerdictKind
from harness.outcome.profile import KernelProfile

__all__ = ("nf_iterate", "nf_queue", "nf_reinject")

_ACCEPT, _REPEAT = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.REPEAT)


def nf_queue(context: Context, index: int, verdict: Verdict, handler: QueueHandler | None) -> int:
    """``nf_queue``: 1 to go on with the next hook (nobody listens, and the verdict has the bypass flag), else 0."""
    ret = handler.outfn(QueueEntry(context, index), verdict.queue) if handler else -errno.ESRCH
    if ret < 0:
        if ret == -errno.ESRCH and verdict.bypass:
            return 1
        context.skb.state = "freed"
    return 0


def nf_iterate(context: Context, hooks: Entries, index: int) -> tuple[Verdict, int]:
    """``nf_iterate``: hooks from *index* on, while they accept, one that says REPEAT again. All of the verdict counts.

    :returns: what ended it, ACCEPT if nothing did, and the slot
    """
    while index < len(hooks):
        verdict = context.call(hooks, index)
        if verdict == _ACCEPT:
            index += 1
        elif verdict != _REPEAT:
            return verdict, index
    return _ACCEPT, index


def nf_reinject(context: Context, hooks: Entries | None, index: int, verdict: Verdict, handler: QueueHandler | None, *,
                profile: KernelProfile) -> int:
    """``nf_reinject``: what is left of a hook point after a listener's answer, over the array that is there by now.

    :param context: of the entry, with no calls yet
    :param index: the entry's
    :returns: 1 if it called okfn, else 0; the C function returns nothing
    """
    skb = context.skb
    skb.state = "in flight"
    if hooks is None or index >= len(hooks):
        if profile.reinject_warns:  # until "netfilter: nfnetlink_queue: drop bogus WARN_ON"
            context.warnings.append("nf_reinject")
        skb.state = "freed"
        return 0
    if verdict == _REPEAT:
        verdict = context.call(hooks, index)
    if verdict == _ACCEPT:
        verdict, index = nf_iterate(context, hooks, index + 1)
    while verdict.kind is VerdictKind.QUEUE:
        if nf_queue(context, index, verdict, handler) != 1:
            return 0
        verdict, index = nf_iterate(context, hooks, index + 1)
    match verdict.kind:
        case VerdictKind.ACCEPT | VerdictKind.STOP:
            context.okfn()
            return 1
        case VerdictKind.STOLEN:
            skb.state = "stolen"
        case _:
            skb.state = "freed"
    return 0
