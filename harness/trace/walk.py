"""From what the probes saw to the walks of packets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from harness.netfilter import HOOK_POINTS, Family, Verdict, VerdictKind
from harness.outcome.types import (
    NF_HOOK_SLOW,
    NF_HOOK_SLOW_LIST,
    NF_REINJECT,
    Fate,
    HookCall,
    PacketOutcome,
    Traversal,
    by_namespace,
    carries_on,
)
from harness.trace.events import Call, End, Entry, Event, Exit, How
from harness.trace.summary import error_checksum, is_fragment, kind_of, summary
from harness.trace.symbols import Symbol

__all__ = ("Count", "Walk", "calls_by_hook", "compare_calls", "walk")


class Walk(NamedTuple):
    """The packets of a capture, in the order in which they were first seen. :param doubts: what could not be made out"""

    packets: tuple[PacketOutcome, ...]
    doubts: tuple[str, ...]


@dataclass(slots=True)
class _Run:
    """One run of a verdict loop. :param ended: its skb was freed before the loop returned"""

    entry: Entry
    calls: list[Call] = field(default_factory=list)
    exit: Exit | None = None
    ended: bool = False


@dataclass(slots=True)
class _Packet:
    """One skb from its first hook point to its end, and its clones if it carries a cookie. :param alive: skbs that have not ended"""

    runs: list[_Run] = field(default_factory=list)
    alive: set[int] = field(default_factory=set)
    ends: dict[int, End] = field(default_factory=dict)


def walk(events: Iterable[Event], function: Callable[[int], Symbol | None], *, netns: Mapping[int, str] | None = None,
         labels: Mapping[int, str] | None = None, reasons: Mapping[int, str] | None = None,
         loops: Sequence[str] = (NF_HOOK_SLOW,)) -> Walk:
    """Put a capture's events together.

    :param function: address → symbol that covers it
    :param netns: inode number of a namespace → its name in the scenario; others become ``net:[number]``
    :param labels: id of a hook of ours → its name in the scenario
    :param reasons: ``enum skb_drop_reason``
    :param loops: names of the loops by their number
    """
    teller = _Teller(function, netns or {}, labels or {}, reasons or {}, loops)
    packets = tuple(teller.packet(packet) for packet in _group(events))
    return Walk(packets, tuple(teller.doubts))


def _group(events: Iterable[Event]) -> list[_Packet]:
    """Events by packet: by the life of the skb, and by cookie where the stack cloned or copied it."""
    packets: list[_Packet] = []
    by_skb: dict[int, _Packet] = {}
    by_cookie: dict[tuple[int, str, int], _Packet] = {}
    runs: dict[int, _Run] = {}
    for event in events:
        if isinstance(event, Entry):
            key = _key(event)
            packet = by_skb.get(event.skb) or (by_cookie.get(key) if key else None)
            if packet is None:
                packet = _Packet()
                packets.append(packet)
            by_skb[event.skb] = packet
            packet.alive.add(event.skb)
            if key:
                by_cookie.setdefault(key, packet)
            runs[event.traversal] = run = _Run(event)
            packet.runs.append(run)
        elif isinstance(event, Call):
            if event.traversal in runs:
                runs[event.traversal].calls.append(event)
        elif isinstance(event, Exit):
            if event.traversal in runs:
                runs[event.traversal].exit = event
        elif packet := by_skb.pop(event.skb, None):
            packet.ends[event.skb] = event
            packet.alive.discard(event.skb)
            for run in packet.runs:
                run.ended |= run.entry.skb == event.skb and run.exit is None
    return packets


def _key(entry: Entry) -> tuple[int, str, int] | None:
    cookie, header = entry.cookie, (entry.protocol, entry.head)
    return None if cookie is None else (cookie, kind_of(*header), error_checksum(*header))


_decode = lru_cache(Verdict.decode)


class _Teller:
    """Turns numbers into names."""

    def __init__(self, function: Callable[[int], Symbol | None], netns: Mapping[int, str], labels: Mapping[int, str],
                 reasons: Mapping[int, str], loops: Sequence[str]) -> None:
        self._function, self._netns, self._labels, self._reasons, self._loops = function, netns, labels, reasons, loops
        self.doubts: list[str] = []

    def packet(self, packet: _Packet) -> PacketOutcome:
        first = packet.runs[0].entry
        cookies = (run.entry.cookie for run in packet.runs)
        in_pieces = any(is_fragment(run.entry.protocol, run.entry.head) for run in packet.runs)
        runs = by_namespace(packet.runs, lambda run: run.entry.netns) if in_pieces else packet.runs
        return PacketOutcome(
            packet=summary(first.protocol, first.head, first.length),
            cookie=next((cookie for cookie in cookies if cookie is not None), None),
            fate=self._fate(runs[-1], packet.ends.get(runs[-1].entry.skb)),
            traversals=tuple(traversal for run in runs if (traversal := self._traversal(run))),
            alive=len(packet.alive),
            kind=kind_of(first.protocol, first.head),
        )

    def _traversal(self, run: _Run) -> Traversal | None:
        entry = run.entry
        if entry.pf not in HOOK_POINTS:
            self.doubts.append(f"a hook point of unknown family {entry.pf}")
            return None
        return Traversal(Family(entry.pf), entry.hook, self._netns.get(entry.netns, f"net:[{entry.netns}]"), entry.indev, entry.outdev,
                         tuple(map(self._call, run.calls)),
                         run.exit.returned if run.exit else None, self._name(entry.okfn), entry.start, self._loop(entry),
                         _decode(entry.answer) if self._reinjected(run) else None)

    def _name(self, address: int) -> str | None:
        """A function's name as the source has it: compilers add ``.isra.0`` and the like."""
        symbol = self._function(address) if address else None
        return symbol.name.partition(".")[0] if symbol else f"{address:#x}" if address else None

    def _reinjected(self, run: _Run) -> bool:
        return self._loops[run.entry.loop] == NF_REINJECT

    def _loop(self, entry: Entry) -> str:
        loop = self._loops[entry.loop]
        return NF_HOOK_SLOW_LIST if loop == NF_HOOK_SLOW and self._name(entry.caller) == NF_HOOK_SLOW_LIST else loop

    def _call(self, call: Call) -> HookCall:
        symbol = self._function(call.function)
        name = symbol.name if symbol else f"{call.function:#x}"
        return HookCall(call.slot, name, symbol.module if symbol else None, call.priority, _decode(call.verdict), call.ns,
                        None if call.hook_id is None else self._labels.get(call.hook_id))

    def _fate(self, run: _Run, end: End | None) -> Fate:
        """The fate as the last verdict loop and the end of the skb tell it; delivery is for the caller to know."""
        if run.exit is None:
            return Fate("unknown", reason="the verdict loop was not seen to return")
        reason = self._reason(end) if end else None
        last = run.calls[-1].verdict & 0xFF if run.calls else run.entry.answer & 0xFF if self._reinjected(run) else None
        hook = self._function(run.calls[-1].function) if run.calls and last == VerdictKind.STOLEN else None
        if run.exit.returned == 1 or (hook and carries_on(hook.name)):
            return Fate("consumed", reason=reason) if end else Fate("unknown")
        errno = max(0, -run.exit.returned)
        if last == VerdictKind.STOLEN:
            return Fate("stolen", errno, reason)
        if last == VerdictKind.QUEUE and not run.ended:
            return Fate("queued", errno, reason)
        if last in (VerdictKind.DROP, VerdictKind.QUEUE) or (self._reinjected(run) and run.ended):
            return Fate("dropped", errno, reason)
        return Fate("unknown", errno, reason)

    def _reason(self, end: End) -> str | None:
        symbol = self._function(end.location) if end.location else None
        where = symbol.name if symbol else None
        if end.how is How.FREED and end.reason:
            name = self._reasons.get(end.reason, f"reason {end.reason:#x}")
            return f"{name} in {where}" if where else name
        return where


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
