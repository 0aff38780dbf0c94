"""Hooks that were registered and unregistered while packets were watched, in words."""

from __future__ import annotations

from collections.abc import Sequence

from harness.netfilter import Family, errno_name, hook_name
from harness.outcome.describe import name, priority
from harness.outcome.types import Missed, Registration, Slot

__all__ = ("array", "became", "headline", "missed", "point", "who")

#: What the kernel's own functions are called that stand between a registration and who wanted it.
_CORE = frozenset(("__nf_register_net_hook", "nf_register_net_hook", "nf_register_net_hooks", "nf_hook_entries_insert_raw",
                   "__nf_unregister_net_hook", "nf_unregister_net_hook", "nf_unregister_net_hooks", "nf_hook_entries_delete_raw",
                   "__nf_hook_entries_try_shrink"))
_CALLERS = 2
#: Takes a transaction's messages, and commits it.
_BATCH = "nfnetlink_rcv_batch"


def point(registration: Registration) -> str:
    """``router FORWARD``, ``router NETDEV INGRESS of eth0``, ``an array of no hook point (IPV4 PREROUTING)``."""
    hook = hook_name(registration.pf, registration.point)
    at = hook if registration.pf is Family.IPV4 else f"{registration.pf.name} {hook}"
    if not registration.netns:
        return f"an array of no hook point ({at})"
    return f"{registration.netns} {at}{f' of {registration.device}' if registration.device else ''}"


def headline(registration: Registration) -> str:
    """``registered inet fw out at init OUTPUT, priority 0``."""
    refused = f": refused ({errno_name(registration.errno)})" if registration.errno else ""
    hook = registration.hook
    return f"{registration.what} {_called(hook)} at {point(registration)}, priority {priority(hook.priority)}{refused}"


def who(registration: Registration) -> str:
    """``by nft, process 412, in nf_tables_addchain [nf_tables] for nf_tables_newchain [nf_tables], a transaction of nftables'``."""
    batch = ", a transaction of nftables'" if any(caller.startswith(_BATCH) for caller in registration.by) else ""
    callers = [caller for caller in registration.by if caller.partition(" ")[0] not in _CORE and not caller.startswith(_BATCH)][:_CALLERS]
    link = f", BPF link {registration.link}" if registration.link is not None else ""
    where = f", in {' for '.join(callers)}" if callers else ""
    return f"by {registration.process}, process {registration.pid}{where}{batch}{link}"


def became(registration: Registration) -> str:
    """``generation 0 → 1, slots 1 → 2, nf_hooks_needed 2``."""
    number = registration.generation
    parts = [f"generation {number - 1} → {number}"] if number is not None else []
    parts += [] if registration.errno else [f"slots {registration.slots_before} → {registration.slots_after}"]
    parts += [] if registration.key is None else [f"nf_hooks_needed {registration.key}"]
    return ", ".join(parts)


def array(slots: Sequence[Slot], count: int, gone: Slot | None = None) -> str:
    """``apparmor_ip_postroute (-225), inet fw out (0)``; with dummies, and how many slots are not told.

    :param count: how many slots the array has
    :param gone: what has just become a dummy in it
    """
    said = [(f"dummy, until now {_called(gone)}" if gone and gone.index == slot.index else "dummy") if slot.dummy
            else f"{_called(slot)} ({priority(slot.priority)})" for slot in slots]
    if count > len(slots):
        said.append(f"… and {count - len(slots)} more")
    return ", ".join(said) or "empty"


def missed(changes: Sequence[Missed]) -> str:
    """``inet fw out, registered (1) while it ran, came too late for it``."""
    return "; ".join(_too_late(change) for change in changes)


def _too_late(change: Missed) -> str:
    when = "before it began" if change.before else "while it ran"
    end = "came too late for it" if change.what == "registered" else "was in its array still, or a dummy there"
    return f"{change.hook}, {change.what} {when} (registration {change.registration}), {end}"


def _called(hook: Slot) -> str:
    return hook.chain or name(hook)
