"""The model's verdict loops, fed with what the hooks of a real kernel answered: whether the kernel's loop went on as core.c has it.

No scenario is needed: any session on any kernel and ruleset can be held against core.c in this way.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from itertools import pairwise

from harness.model.queue import nf_reinject
from harness.model.slow import nf_hook_slow
from harness.model.structures import Context, HookFunction, HookOps, HookState, Net, QueueEntry, Skb
from harness.netfilter import Verdict
from harness.outcome import describe
from harness.outcome.profile import KernelProfile
from harness.outcome.types import NF_HOOK_SLOW, NF_HOOK_SLOW_LIST, NF_REINJECT, HookCall, Outcome, Traversal

__all__ = ("Departure", "departure", "departures")

_SLOW = (NF_HOOK_SLOW, NF_HOOK_SLOW_LIST)
_BRIDGE_PRE = "nf_hook_bridge_pre"


@dataclass(frozen=True, slots=True)
class Departure:
    """A traversal that did not obey core.c.

    :param packet: its number
    :param what: in words
    """

    packet: int
    traversal: Traversal
    what: str

    def __str__(self) -> str:
        return f"packet {self.packet} at {self.traversal.netns} {describe.point(self.traversal)}: {self.what}"


def departures(outcome: Outcome, profile: KernelProfile) -> tuple[int, tuple[Departure, ...]]:
    """How many traversals of an outcome that lost nothing could be compared, and those that departed.

    :param profile: of the kernel that was seen
    """
    seen = [(packet.number, traversal) for packet in outcome.packets for traversal in packet.traversals if _is_whole(traversal)]
    found = [(number, traversal, departure(traversal, profile)) for number, traversal in seen]
    return len(seen), tuple(Departure(number, traversal, what) for number, traversal, what in found if what)


def _is_whole(traversal: Traversal) -> bool:
    """Whether all is known that the model's loop begins and ends with: after a queue that is the listener's answer, too."""
    answered = traversal.loop != NF_REINJECT or traversal.answer is not None
    return answered and traversal.returned is not None and traversal.loop in (*_SLOW, _BRIDGE_PRE, NF_REINJECT)


class _Departs(Exception):
    pass


class _Listener:
    """``nf_queue_handler``, of which it is known by what followed whether it took a packet.

    :param seen: the calls that are left
    """

    def __init__(self, seen: list[HookCall], returned: int | None) -> None:
        self._seen, self._returned = seen, returned

    def outfn(self, _entry: QueueEntry, _queuenum: int) -> int:
        return -errno.ESRCH if self._seen or self._returned == 1 else 0

    def nf_hook_drop(self, _net: Net) -> None:
        """Nothing waits here."""


def departure(traversal: Traversal, profile: KernelProfile) -> str | None:
    """What a traversal did that core.c does not; ``None`` if it obeyed.

    :param traversal: seen to its end
    """
    left = list(traversal.calls)
    context = Context(Skb(), HookState(traversal.pf, traversal.hook, traversal.netns, traversal.indev, traversal.outdev, traversal.okfn))
    entries = [HookOps(_answer(index, left), "", None, traversal.pf, traversal.hook, 0) for index in range(traversal.slots)]
    listener = _Listener(left, traversal.returned)
    try:
        if traversal.loop == NF_REINJECT:
            assert traversal.answer is not None  # noqa: S101 - a listener's answer is what the loop begins with
            returned = nf_reinject(context, entries or None, traversal.start, traversal.answer, listener, profile=profile)
        else:
            returned = nf_hook_slow(context, entries, traversal.start, profile=profile, handler=listener)
    except _Departs as found:
        return str(found)
    if left:
        return f"slot {left[0].index} was called although the loop had come to its end"
    if traversal.loop == _BRIDGE_PRE:  # what it returns is its caller's
        returned = int(returned == 1)
    if returned != traversal.returned:
        return f"returned {describe.returned(traversal.returned)} where {describe.returned(returned)} follows from the verdicts"
    return _disorder(traversal)


def _answer(index: int, left: list[HookCall]) -> HookFunction:
    """A hook function that answers as the one at that slot did.

    :param left: calls that were seen, in order; it takes its own
    """
    def hook(_ops: HookOps, _context: Context) -> Verdict:
        if not left:
            raise _Departs(f"slot {index} was not called")
        if left[0].index != index:
            raise _Departs(f"slot {left[0].index} was called where slot {index} was next")
        return left.pop(0).verdict

    return hook


def _disorder(traversal: Traversal) -> str | None:
    for before, after in pairwise(traversal.calls):
        if before.priority is not None and after.priority is not None and before.priority > after.priority:
            return f"slot {after.index} has priority {after.priority}, behind slot {before.index} with {before.priority}"
    return None
