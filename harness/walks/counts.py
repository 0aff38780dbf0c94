"""Calls as the hooks themselves counted them, beside those that the probes saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from harness.walks.events import Call, Event

__all__ = ("Count", "calls_by_hook", "compare_calls")


def calls_by_hook(events: Iterable[Event]) -> Counter[int]:
    """Hook id → how often the hook of ours with that id was seen to be called."""
    return Counter(event.hook_id for event in events if isinstance(event, Call) and event.hook_id is not None)


class Count(NamedTuple):
    """A hook's own count of its calls since the capture began, read some time between *since* and *until* (``CLOCK_MONOTONIC``, ns)."""

    calls: int
    since: int
    until: int


def compare_calls(events: Iterable[Event], counted: Mapping[int, Count]) -> tuple[str, ...]:
    """Doubts where the probes saw another number of calls than the hooks themselves counted.

    :param counted: by the hook's id, from nfharness.ko's counters; hooks that are not in it are not compared
    """
    times: dict[int, list[int]] = {hook: [] for hook in counted}
    for event in events:
        if isinstance(event, Call) and event.hook_id in times:
            times[event.hook_id].append(event.time)
    doubts = []
    for hook, (calls, since, until) in sorted(counted.items()):
        least, most = (sum(time <= limit for time in times[hook]) for limit in (since, until))
        if not least <= calls <= most:
            doubts.append(f"hook {hook} counted {calls} calls, the probes saw {least if least == most else f'{least} to {most}'}")
    return tuple(doubts)
