"""The verdict loop: ``nf_hook_slow``, lines 503 to 536 of ``net/netfilter/core.c``."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from harness.model.conntrack import CtSkb
from harness.model.entries import Entries, Warnings
from harness.model.queue import QueueHandler, nf_queue
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.profile import KernelProfile
from harness.outcome.types import HookCall

__all__ = ("Context", "HookState", "Skb", "nf_drop_geterr", "nf_hook_slow")

SkbState = Literal["in flight", "freed", "stolen", "queued", "leaked"]


@dataclass(slots=True)
class Skb:
    """``struct sk_buff``, as far as hooks of ours look at it.

    :param nth: which of the packets with this cookie it is, from 0: answers carry the cookie of what they answer
    :param state: who has it: ``freed`` by core, ``stolen`` by the hook, ``leaked`` by an unconventional verdict
    """

    cookie: int | None = None
    nth: int = 0
    state: SkbState = "in flight"
    ct: CtSkb = field(default_factory=CtSkb)


@dataclass(frozen=True, slots=True)
class HookState:
    """``struct nf_hook_state``. :param indev: empty for none, as is *outdev*; :param okfn: its name, ``None`` for NULL"""

    pf: Family
    hook: int
    net: str
    indev: str = ""
    outdev: str = ""
    okfn: str | None = None


@dataclass(slots=True)
class Context:
    """What a hook function is called with, and the calls of this run of the loop so far.

    :param okfn: ``state->okfn``, bound to what it needs
    :param reinjected: it is ``nf_reinject`` that runs
    """

    skb: Skb
    state: HookState
    okfn: Callable[[], object] = lambda: None
    reinjected: bool = False
    calls: list[HookCall] = field(default_factory=list)
    warnings: Warnings = field(default_factory=list)

    def call(self, hooks: Entries, index: int) -> Verdict:
        """``nf_hook_entry_hookfn``."""
        ops = hooks[index]
        verdict = ops.hook(ops, self)
        self.calls.append(HookCall(index, ops.function, ops.module, ops.priority, verdict, label=ops.label))
        return verdict


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
