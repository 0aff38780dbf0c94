"""What the model is told rather than asked: hooks that are not the scenario's own, and the verdicts they give.

A security module puts hooks into every new namespace, and a ruleset means whatever nft, nf_tables and conntrack make of it: none of
that is core.c. So of a foreign hook the model **adopts**

* that it is there: function, module, priority and point, from the arrays that the executor found before the first step and after
  each ``nft`` step, and the order among those that came together at one priority (nothing else tells their registration order);
* its verdict on a packet, where one was seen; otherwise it is taken to accept. Hooks that decide where a packet goes
  (``br_netfilter``'s, conntrack's defragmentation) are predicted all the same: :func:`harness.model.path.known_hooks`.

Everything else is **predicted**: its place among the hooks of the scenario, then and later, whether and at which index it is
called, what the loop returns, and all that follows from its verdict. A foreign hook that came at any other time is a difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.model.conntrack import Tracking
from harness.model.register import Core
from harness.model.structures import Context, HookFunction, HookOps, Net, NetDevice
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.outcome.types import OURS, HookCall, Outcome, Slot

__all__ = ("Foreign", "Oracle", "adopt", "seen")

Arrays = tuple[tuple[str, tuple[Slot, ...]], ...]
"""Slots by :func:`harness.outcome.types.point_key`."""

CallKey = tuple[int | None, int, str, Family, int, str, str | None, int | None]
"""Cookie and nth packet with it; namespace, family and number of the hook point; function, module, priority."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """What was seen of foreign hooks.

    :param arrays: by the position of the nft step that reported them, or ``BEFORE``
    :param verdicts: those of foreign calls, in the order of the calls with the same key
    """

    arrays: Mapping[int, Arrays] = field(default_factory=dict)
    verdicts: Mapping[CallKey, tuple[Verdict, ...]] = field(default_factory=dict)


def seen(observed: Outcome) -> Foreign:
    """The foreign part of an observation. Arrays of steps that are no nft step are ignored when it is used."""
    verdicts: dict[CallKey, tuple[Verdict, ...]] = {}
    packets: Counter[int | None] = Counter()
    for packet in observed.packets:
        for traversal in packet.traversals:
            for call in traversal.calls:
                if call.function != OURS:
                    key = (packet.cookie, packets[packet.cookie], traversal.netns, traversal.pf, traversal.hook,
                           call.function, call.module, call.priority)
                    verdicts[key] = (*verdicts.get(key, ()), call.verdict)
        packets[packet.cookie] += 1
    return Foreign({step.step: step.slots for step in observed.steps}, verdicts)


@dataclass(slots=True)
class Oracle:
    """Answers for foreign hooks: each seen verdict once, in order, then ACCEPT.

    :param tracking: is told that a hook has run: conntrack's are known by their symbols
    """

    foreign: Foreign
    tracking: Tracking
    asked: Counter[CallKey] = field(default_factory=Counter)

    def __call__(self, ops: HookOps, context: Context) -> Verdict:
        skb, state = context.skb, context.state
        key = (skb.cookie, skb.nth, state.net, state.pf, state.hook, ops.function, ops.module, ops.priority)
        known = self.foreign.verdicts.get(key, ())
        self.asked[key] += 1
        skb.ct.net = state.net
        self.tracking.ran(ops.function, skb.ct)
        return known[self.asked[key] - 1] if self.asked[key] <= len(known) else Verdict(VerdictKind.ACCEPT)


def _identity(found: HookOps | Slot | HookCall) -> tuple[str, str | None, int | None]:
    return found.function, found.module, found.priority


def adopt(core: Core, nets: Mapping[str, Net], arrays: Arrays, oracle: Oracle, known: Mapping[str, HookFunction]) -> None:
    """Make the foreign hooks of the reported arrays those of the model: what is gone is unregistered, what is new registered.

    :param known: functions that the model does itself, by symbol
    """
    for key, slots in arrays:
        found = _locate(nets, key)
        if found is None:
            continue
        net, pf, hook, device = found
        head = core.nf_hook_entry_head(net, pf, hook, device)
        if head is None:
            continue
        reported = [slot for slot in slots if slot.function != OURS and not slot.dummy]
        gone = Counter(map(_identity, reported))
        for ops in [ops for ops in head.entries or () if ops.function != OURS]:
            if gone[_identity(ops)] > 0:
                gone[_identity(ops)] -= 1
            else:
                core.nf_unregister_net_hook(net, ops)
        # what is still counted is new; of equal priority the newest comes first, so the last of the array was registered first
        for slot in reversed(reported):
            if gone[_identity(slot)] > 0:
                gone[_identity(slot)] -= 1
                ops = HookOps(known.get(slot.function, oracle), slot.function, slot.module, pf, hook, slot.priority, device)
                core.nf_register_net_hook(net, ops)


def _locate(nets: Mapping[str, Net], key: str) -> tuple[Net, Family, int, NetDevice | None] | None:
    """The point of a key; ``None`` if the scenario has no such namespace or device, or the family no such point."""
    netns, pf, hook, *device = key.split("/")
    net = nets.get(netns)
    if net is None or pf not in Family.__members__:
        return None
    try:
        return net, Family[pf], hook_number(Family[pf], hook), net.devices[device[0]] if device else None
    except KeyError:
        return None
