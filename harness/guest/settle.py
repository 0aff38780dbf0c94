"""Knowing when a packet has come to its end, without sleeping."""

from __future__ import annotations

import time

from harness.guest.traffic import Sinks
from harness.netfilter import VerdictKind
from harness.trace.capture import Capture
from harness.trace.events import Call, End, Entry, Exit

__all__ = ("Watch",)

_SECONDS = 3.0
_UNSEEN_SECONDS, _POLL_SECONDS = 0.02, 0.005


class Watch:
    """What the tracer has seen so far of a scenario's packets that are under way.

    :param capture: of which nobody else takes the events
    """

    def __init__(self, capture: Capture, sinks: Sinks) -> None:
        self._capture, self._sinks = capture, sinks
        self._seen: set[int] = set()
        self._alive: dict[int, int] = {}
        self._runs: dict[int, tuple[int, int]] = {}

    def settle(self, cookie: int) -> None:
        """Return when nothing of the packets with a cookie is under way any more; at the latest when it takes so long that it matters.

        ``sendto()`` has returned, so nothing is left to do for the kernel (:func:`harness.guest.softirq.softirqs_first`), but what it
        has written down of it is not taken yet.
        """
        start = time.monotonic()
        self._look(0)
        while time.monotonic() < start + _SECONDS:
            known = cookie in self._seen or cookie in self._sinks.cookies
            if known and cookie not in self._alive.values() and all(of != cookie for _, of in self._runs.values()):
                return
            if not known and time.monotonic() > start + _UNSEEN_SECONDS:
                return
            self._look(_POLL_SECONDS)

    def _look(self, seconds: float) -> None:
        self._sinks.take()
        for event in self._capture.fresh(seconds):
            if isinstance(event, Entry):
                cookie = event.cookie
                if cookie is not None:
                    self._seen.add(cookie)
                    self._alive[event.skb] = cookie
                    self._runs[event.traversal] = event.skb, cookie
            elif isinstance(event, Exit):
                self._runs.pop(event.traversal, None)
            elif isinstance(event, End):
                self._alive.pop(event.skb, None)
            elif isinstance(event, Call) and event.traversal in self._runs and event.verdict & 0xFF == VerdictKind.STOLEN:
                self._alive.pop(self._runs[event.traversal][0], None)
