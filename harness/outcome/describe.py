"""Outcomes in words: short forms for differences, trees and errors."""

from __future__ import annotations

from collections.abc import Sequence

from harness.netfilter import PRIORITY_MAX, PRIORITY_MIN, VerdictKind, errno_name, hook_name
from harness.outcome.types import Fate, HookCall, QueueState, RawRun, Slot, Traversal

__all__ = ("calls", "devices", "errno", "facts", "fate", "name", "point", "priority", "queue", "raw", "returned", "slots")


def name(hook: HookCall | Slot) -> str:
    """Ours by the scenario's name, others by symbol and module."""
    if hook.label is not None:
        return hook.label
    return f"{hook.function} [{hook.module}]" if hook.module else hook.function


def point(traversal: Traversal) -> str:
    """``FORWARD`` for IPv4, the family before it otherwise: ``IPV6 FORWARD``, ``NETDEV INGRESS``."""
    hook = hook_name(traversal.pf, traversal.hook)
    return hook if traversal.pf.name == "IPV4" else f"{traversal.pf.name} {hook}"


def devices(traversal: Traversal) -> str:
    """``in eth0``, ``out eth1``, ``in eth0, out eth1``."""
    parts = [f"{side} {device}" for side, device in (("in", traversal.indev), ("out", traversal.outdev)) if device]
    return ", ".join(parts)


def priority(number: int | None) -> str:
    """The two ends of the range by their names; ``?`` for one that could not be read."""
    names = {PRIORITY_MIN: "INT_MIN", PRIORITY_MAX: "INT_MAX", None: "?"}
    return names.get(number, str(number))


def errno(number: int) -> str:
    return errno_name(number) if number else "success"


def returned(value: int | None) -> str:
    """What nf_hook_slow returned: ``1``, ``0``, ``-EPERM``."""
    if value is None:
        return "not seen"
    return f"-{errno_name(value)}" if value < 0 else str(value)


def fate(fate: Fate) -> str:
    if fate.kind in ("leaked", "doubled") and fate.reason:
        return f"{fate.kind} ({fate.reason})"
    return f"{fate.kind} ({errno_name(fate.errno)})" if fate.errno else fate.kind


def calls(calls: Sequence[HookCall]) -> str:
    """The hooks that ran, in order; one that did not accept with its verdict."""
    accept = VerdictKind.ACCEPT
    return ", ".join(name(call) if call.verdict.kind is accept else f"{name(call)} {call.verdict}" for call in calls) or "none"


def slots(slots: Sequence[Slot]) -> str:
    return ", ".join("dummy" if slot.dummy else f"{name(slot)} ({priority(slot.priority)})" for slot in slots) or "empty"


def facts(facts: Sequence[tuple[str, str | int]]) -> str:
    """``arrived 100, torn 0``."""
    return ", ".join(f"{name} {value}" for name, value in facts) or "nothing"


def raw(run: RawRun | None) -> str:
    """``a, b called, returned -EPERM, skb freed``."""
    if run is None:
        return "not run"
    called = ", ".join(run.called[:8]) + (f" … {run.called[-1]}: {len(run.called)} hooks" if len(run.called) > 8 else "")
    return f"{called or 'none'} called, returned {returned(run.returned)}, skb {'freed' if run.users == 1 else 'not freed'}"


def queue(state: QueueState | None) -> str:
    """``2 wait, 5 came, 1 dropped``."""
    if state is None:
        return "nobody listens"
    wait = f"{state.total} wait{'s' * (state.total == 1)}, {state.sequence} came"
    counts = (("dropped", state.dropped), ("refused by the listener's socket", state.user_dropped))
    return ", ".join([wait, *(f"{number} {what}" for what, number in counts if number)])
