"""What happened, or what the model says would happen: the common answer of both executors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.netfilter import Family, Verdict

__all__ = ("Fate", "FateKind", "HookCall", "Outcome", "PacketOutcome", "Slot", "StepOutcome", "Traversal")

FateKind = Literal["delivered", "dropped", "stolen", "queued", "consumed", "unknown"]


@dataclass(frozen=True, slots=True)
class HookCall:
    """One call of one hook function by the verdict loop.

    :param index: slot in the array that was walked
    :param function: symbol of the hook function, as kallsyms has it
    :param module: owner; ``None`` for vmlinux
    :param priority: of the slot's ``nf_hook_ops``; ``None`` where it could not be read
    :param verdict: what the function returned
    :param ns: nanoseconds the call took, the probe's own cost included; ``None`` in a prediction
    :param label: the scenario's name for the hook, if it is one of ours
    """

    index: int
    function: str
    module: str | None
    priority: int | None
    verdict: Verdict
    ns: int | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Traversal:
    """One run of the verdict loop (``nf_hook_slow``) over one hook point's array.

    :param hook: ``hooknum``
    :param netns: the namespace's name in the scenario
    :param indev: ``state->in``, empty for none; :param outdev: likewise
    :param returned: the loop's return value; 1 means that okfn runs; ``None`` if it was not seen
    """

    pf: Family
    hook: int
    netns: str
    indev: str
    outdev: str
    calls: tuple[HookCall, ...]
    returned: int | None


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of the skb.

    :param errno: positive; what the sender or the loop saw
    :param reason: for a reader only, never compared: the kernel's drop reason, or the function that freed the skb
    """

    kind: FateKind
    errno: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PacketOutcome:
    """One packet's walk.

    :param packet: one-line summary of its headers
    :param cookie: the number it carries in its last 8 bytes; ``None`` for a stranger's packet
    :param sent_errno: positive errno that ``sendto()`` failed with, 0 if it did not
    """

    packet: str
    cookie: int | None
    fate: Fate
    traversals: tuple[Traversal, ...]
    sent_errno: int = 0


@dataclass(frozen=True, slots=True)
class Slot:
    """One element of a hook point's array.

    :param dummy: left behind by a shrink that found no memory (``accept_all``)
    :param label: the scenario's name for the hook, if it is one of ours
    """

    index: int
    function: str
    module: str | None
    priority: int
    dummy: bool = False
    label: str | None = None


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What one step of a scenario answered.

    :param step: its position, from 0
    :param errno: positive; 0 for success
    :param slots: the array of the hook point(s) that the step touched, after it; keyed ``netns/FAMILY/HOOK[/device]``
    """

    step: int
    errno: int = 0
    slots: tuple[tuple[str, tuple[Slot, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that one executor says of one scenario.

    :param lost_events: events that the tracer knows it did not see
    :param doubts: reasons why the observation cannot be trusted; any makes the run inconclusive
    """

    steps: tuple[StepOutcome, ...] = ()
    packets: tuple[PacketOutcome, ...] = ()
    lost_events: int = 0
    doubts: tuple[str, ...] = ()
