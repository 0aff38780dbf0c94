"""Knowing when a packet has come to its end, without sleeping."""

from __future__ import annotations

from harness.netfilter import VerdictKind
from harness.trace.capture import Capture
from harness.trace.events import Call, End, Entry, Exit
from harness.trace.summary import cookie_of

__all__ = ("settled",)

_QUIET_SECONDS = 0.02


def settled(capture: Capture, cookie: int, taken: bool) -> bool:
    """Take what the tracer has; whether nothing of the packet with *cookie* is under way any more.

    :param taken: a sink has it, or ``sendto()`` said that it went nowhere
    """
    fresh = capture.drain(_QUIET_SECONDS)
    skbs: dict[int, bool] = {}
    runs: dict[int, int] = {}
    for event in capture.events():
        if isinstance(event, Entry) and cookie_of(event.tail) == cookie:
            skbs[event.skb] = True
            runs[event.traversal] = event.skb
        elif isinstance(event, Exit):
            runs.pop(event.traversal, None)
        elif isinstance(event, End) and event.skb in skbs:
            skbs[event.skb] = False
        elif isinstance(event, Call) and event.traversal in runs and event.verdict & 0xFF == VerdictKind.STOLEN:
            skbs[runs[event.traversal]] = False
    known = taken or bool(skbs)
    return known and not fresh and not runs and not any(skbs.values())
