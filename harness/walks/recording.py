"""A recording: what the tracer saw, and the names to tell it by; all that assembling packets needs, of a kernel that may have died."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.outcome.types import NF_HOOK_SLOW
from harness.walks.events import Came, Event
from harness.walks.lives import Numbers
from harness.walks.symbol import Symbol

__all__ = ("Recording",)


@dataclass(frozen=True, slots=True)
class Recording:
    """Events and their names.

    :param events: in the order of time
    :param function: code address, numbered as by :func:`harness.walks.sightings.numbered` → symbol that covers it
    :param loops: names of the loops by their number
    :param reasons: ``enum skb_drop_reason``
    :param frees: when modules went, ascending (``CLOCK_MONOTONIC``, ns)
    :param namespaces: time (``CLOCK_MONOTONIC``, ns), inode number and name of each name of a namespace, in the order of time;
        a namespace without a name becomes ``net:[number]``
    :param labels: number of a hook of ours → its name
    :param blind: loop that was not seen → why
    :param lost_events: records that did not fit, and probes that could not be matched
    :param doubts: why the events may not be all there was
    :param rules: namespace (numbered as by :func:`harness.walks.sightings.told_apart`), handle of the table and of the rule → its chain and
        its text, of nftables' rules that were listed
    :param rulesets: namespace (by the same number), end of the first and begin of the last listing that showed it (``CLOCK_MONOTONIC``, ns)
        and what was listed, as of :class:`harness.outcome.types.Ruleset`
    :param tells: what would have been told of packets between hook points if it had happened
    :param sees_registrations: whether hooks that were registered and unregistered are among the events
    :param numbers: of its packets
    :param begin: when the session began, where that is not its first event (``CLOCK_MONOTONIC``, ns)
    :param clock: ``CLOCK_REALTIME`` less ``CLOCK_MONOTONIC``, ns; ``None`` where nobody asks for the time of day
    """

    events: Sequence[Event]
    function: Callable[[int], Symbol | None]
    loops: Sequence[str] = (NF_HOOK_SLOW,)
    reasons: Mapping[int, str] = field(default_factory=dict)
    frees: Sequence[int] = ()
    namespaces: Sequence[tuple[int, int, str]] = ()
    labels: Mapping[int, str] = field(default_factory=dict)
    blind: Mapping[str, str] = field(default_factory=dict)
    lost_events: int = 0
    doubts: tuple[str, ...] = ()
    rules: Mapping[tuple[int, int, int], tuple[str, str]] = field(default_factory=dict)
    rulesets: Sequence[tuple[int, int, int, Sequence[dict[str, Any]]]] = ()
    tells: Collection[Came] = frozenset(Came)
    sees_registrations: bool = False
    numbers: Numbers = field(default_factory=Numbers)
    begin: int | None = None
    clock: int | None = None
