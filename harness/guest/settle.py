"""Knowing when a packet has come to its end, without sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from harness.guest.traffic import Sinks
from harness.netfilter import VerdictKind
from harness.trace.capture import Capture
from harness.walks.events import Call, Came, End, Entry, Exit, Turn

__all__ = ("PacketWatch",)

_SECONDS = 3.0
_UNSEEN_SECONDS, _POLL_SECONDS = 0.005, 0.005


class PacketWatch:
    """What the tracer has seen so far of a scenario's packets that are under way.

    :param capture: of which nobody else takes the events
    """

    def __init__(self, capture: Capture, sinks: Sinks) -> None:
        self._capture, self._sinks = capture, sinks
        self._seen: set[int] = set()
        self._alive: dict[int, int] = {}
        self._runs: dict[int, tuple[int, int]] = {}
        self._queueing: set[int] = set()
        self._waiting: dict[int, int] = {}

    @property
    def waiting(self) -> Collection[int]:
        """Cookies of packets that wait for a listener."""
        return self._waiting.values()

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

    def settle_all(self) -> None:
        """Go on when nothing of any packet is under way; one that waits for a listener is not."""
        self._until(lambda: not self._alive and not self._runs)

    def settle_waiting(self, number: int) -> None:
        """Return when no more packets than that wait for a listener: those of one that died are freed after a grace period."""
        self._until(lambda: len(self._waiting) <= number and not self._alive and not self._runs)

    def _until(self, settled: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _SECONDS
        self._look(0)
        while not settled() and time.monotonic() < deadline:
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
                    self._waiting.pop(event.skb, None)
                    # A queue that fails open reinjects before the loop that queued has returned.
                    self._queueing -= {run for run, (skb, _) in self._runs.items() if skb == event.skb}
                    self._note_verdict(event.traversal, event.answer)
            elif isinstance(event, Exit):
                skb, cookie = self._runs.pop(event.traversal, (0, 0))
                if event.traversal in self._queueing and self._alive.pop(skb, None) is not None:
                    self._waiting[skb] = cookie
                self._queueing.discard(event.traversal)
            elif isinstance(event, End):
                self._alive.pop(event.skb, None)
                self._waiting.pop(event.skb, None)
            elif isinstance(event, Turn):
                if event.what is Came.LOCAL:  # what a socket has then may lie there for long
                    self._alive.pop(event.skb, None)
            elif isinstance(event, Call) and event.traversal in self._runs:
                self._note_verdict(event.traversal, event.verdict)
                if event.verdict & 0xFF == VerdictKind.STOLEN:
                    self._alive.pop(self._runs[event.traversal][0], None)

    def _note_verdict(self, traversal: int, verdict: int) -> None:
        """Whether a loop that ends with this verdict has queued its packet."""
        if verdict & 0xFF == VerdictKind.QUEUE:
            self._queueing.add(traversal)
        else:
            self._queueing.discard(traversal)
