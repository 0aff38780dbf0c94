"""Wrong verdict loops on the packet path."""

from __future__ import annotations

import errno
from typing import Any

from harness.model import slow, structures
from harness.model.path import packet, stack
from harness.model.structures import Entries
from harness.netfilter import Verdict, VerdictKind
from tests.mutants.mutant import ACCEPT, Mutant, collected, named, without

__all__ = ("MUTANTS",)


def start_at_one(context: structures.Context, e: Entries, _s: int = 0, **keywords: Any) -> int:
    return slow.nf_hook_slow(context, e, 1, **keywords)


def forgets_the_errno_of_stolen(context: structures.Context, e: Entries, s: int = 0, **keywords: Any) -> int:
    ret = slow.nf_hook_slow(context, e, s, **keywords)
    return 0 if context.skb.state == "stolen" else ret


def drop_that_goes_on(context: structures.Context, e: Entries, s: int = 0, **keywords: Any) -> int:
    """Frees the packet, and lets the caller go on with it all the same."""
    ret = slow.nf_hook_slow(context, e, s, **keywords)
    return 1 if context.skb.state == "freed" else ret


def loop(name: str, replacement: Any, *rules: str) -> tuple[str, Mutant]:
    return named(name, stack, "nf_hook_slow", replacement, *rules)


MUTANTS = collected([
    loop("DROP accepts", without(VerdictKind.DROP, lambda _verdict: ACCEPT), "drop.only-its-packet", "drop.first-decides",
         "netdev.ingress-drop", "netdev.egress-drop"),
    loop("DROP goes on", drop_that_goes_on, "drop.only-its-packet"),
    loop("DROP loses its errno", without(VerdictKind.DROP, lambda _verdict: Verdict(VerdictKind.DROP)), "drop.errno",
         "drop.errno-arp", "first.verdicts"),
    loop("DROP without an errno is no EPERM",
         without(VerdictKind.DROP, lambda verdict: Verdict(VerdictKind.DROP, verdict.errno or errno.EIO)), "drop.eperm"),
    named("a drop has another reason", packet, "_drop_reason", lambda _last: "NOT_SPECIFIED", "drop.reason", "drop.reason-arp",
          "drop.reason-whole", "drop.reason-cloned"),
    loop("STOLEN accepts", without(VerdictKind.STOLEN, lambda _verdict: ACCEPT), "stolen"),
    loop("STOLEN forgets its errno", forgets_the_errno_of_stolen, "stolen.errno", "first.stolen"),
    loop("QUEUE ignores bypass",
         without(VerdictKind.QUEUE, lambda verdict: Verdict(VerdictKind.QUEUE, queue=verdict.queue)), "queue.bypass"),
    loop("QUEUE accepts", without(VerdictKind.QUEUE, lambda _verdict: ACCEPT), "queue.no-handler"),
    loop("the first hook is skipped", start_at_one, "accept.all", "order.ascending"),
])
