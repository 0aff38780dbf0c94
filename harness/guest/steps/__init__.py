"""What each step does on a real kernel; a module for each of :mod:`harness.scenario.steps`."""

from __future__ import annotations

from collections.abc import Mapping

from harness.guest.run import Run
from harness.guest.steps import batches, bpf, churn, conntrack, ground, hooks, link, nat, packets, private, queue
from harness.guest.steps.handler import Handler
from harness.scenario.steps import (
    Answer,
    Arp,
    BpfLink,
    BpfUnlink,
    Dump,
    Frame,
    HangUp,
    Listen,
    RawDelete,
    RawInsert,
    RawRun,
    Register,
    RegisterAgain,
    RegisterBatch,
    RegisterMany,
    Send,
    Step,
    Unregister,
    UnregisterAbsent,
    UnregisterBatch,
    is_point,
)

__all__ = ("HANDLERS", "touched", "undone")

#: By the step's class.
HANDLERS: Mapping[type, Handler] = {
    **hooks.HANDLERS, **batches.HANDLERS, **bpf.HANDLERS, **private.HANDLERS, **conntrack.HANDLERS, **nat.HANDLERS,
    **packets.HANDLERS, **link.HANDLERS, **ground.HANDLERS, **churn.HANDLERS, **queue.HANDLERS,
}

_UNDONE = frozenset({
    Register, RegisterMany, Unregister, Dump, RegisterBatch, UnregisterBatch, RegisterAgain, UnregisterAbsent, RawInsert, RawDelete, RawRun,
    Send, Frame, Arp, Listen, Answer, HangUp, BpfLink, BpfUnlink,
})


def undone(step: Step) -> bool:
    """Whether ``HOOK_FLUSH`` leaves a namespace as it was after a step; a scenario with any other one has namespaces of its own. BPF links
    are closed before.

    A shrink that fails leaves a dummy, which stays as long as nobody else's hook at the point comes or goes.
    """
    return type(step) in _UNDONE and not getattr(step, "fail", ())


def touched(run: Run, step: Step) -> tuple[Register, ...]:
    """Hooks at whose points a step is about to work."""
    match step:
        case Register():
            return (step,)
        case RegisterMany() | Dump() | UnregisterAbsent():
            hooks: tuple[Register, ...] = (Register("", step.netns, step.pf, step.hook, device=step.device),)
        case BpfLink():
            hooks = (Register("", step.netns, step.pf, step.hook),)
        case BpfUnlink() if step.id in run.links:
            link, _ = run.links[step.id]
            hooks = (Register("", link.netns, link.pf, link.hook),)
        case Unregister() | RegisterAgain():
            hooks = (run.registers[step.id],)
        case RegisterBatch():
            hooks = step.hooks
        case UnregisterBatch():
            hooks = run.batches[step.id]
        case _:
            hooks = ()
    return tuple(hook for hook in hooks if is_point(hook.pf, hook.hook, hook.device) and hook.device_netns is None)
