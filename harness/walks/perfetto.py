"""Packets' walks as a trace for ui.perfetto.dev and chrome://tracing, in the JSON of the Trace Event Format.

A namespace is a process. Its threads are tracks: a traversal stands on the first one on which no other ran at that time, as slices of
one track must nest. Calls are slices within their traversal's, an end is an instant event behind the last traversal, and a flow joins the
traversals of a packet in whatever namespaces.

When a call began is when the one before it had returned, as the tracer measures it. When NAT's own loop was entered is not
recorded: what it called stands at the beginning of the call that it ran in.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import itemgetter
from typing import Any

from harness.outcome import describe
from harness.outcome import registration as registrations
from harness.outcome.types import HookCall, Outcome, PacketOutcome, Registration, Traversal

__all__ = ("written",)

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Slice:
    """A traversal on its track.

    :param begin: ns since the session's first record
    :param end: when its last hook had returned, ns since then
    :param pid: number of its namespace, from 1
    :param tid: number of its track, among those of all namespaces
    """

    packet: PacketOutcome
    traversal: Traversal
    begin: int
    end: int
    pid: int
    tid: int


def written(outcome: Outcome, about: Mapping[str, Any], doubts: Sequence[str]) -> bytes:
    """The file. Traversals whose time is not known are left out.

    :param about: the session, for ``otherData``
    :param doubts: why calls may be missing; events of the whole trace at its beginning
    """
    slices = _placed(outcome.packets)
    pids = {one.traversal.netns: one.pid for one in slices}
    events = [*_names(slices), *map(_doubt, doubts), *(_registered(one, pids) for one in outcome.registrations)]
    for of_packet in _by_packet(slices):
        for place, one in enumerate(of_packet):
            events.append(_crossed(one))
            if len(of_packet) > 1:  # the slice that was begun last is the flow's; Perfetto takes the first call's, which begins then, too
                events.append(_joined(one, place, len(of_packet) - 1))
            events += _called(one, one.traversal.calls, one.begin, one.end)
            if one.traversal is one.packet.traversals[-1]:
                events.append(_ended(one))
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns", "otherData": dict(about)}).encode()


def _placed(packets: Sequence[PacketOutcome]) -> list[_Slice]:
    """Every traversal, in the order of time, on a track of its namespace that is free then."""
    crossed = sorted(((time, packet, traversal) for packet in packets for traversal in packet.traversals
                      if (time := traversal.time) is not None), key=itemgetter(0))
    pids = {netns: pid for pid, netns in enumerate(dict.fromkeys(traversal.netns for _, _, traversal in crossed), 1)}
    over: dict[str, dict[int, int]] = {netns: {} for netns in pids}  # by track, when its last traversal was
    tids, found = len(pids), list[_Slice]()  # what has its process's number is called its main thread
    for begin, packet, traversal in crossed:
        free = over[traversal.netns]
        tid = next((tid for tid, end in free.items() if end <= begin), None)
        if tid is None:
            tid = tids = tids + 1
        free[tid] = end = begin + sum(call.ns or 0 for call in traversal.calls)
        found.append(_Slice(packet, traversal, begin, end, pids[traversal.netns], tid))
    return found


def _by_packet(slices: Iterable[_Slice]) -> Iterable[Sequence[_Slice]]:
    """The slices of each packet, in the order in which they are given."""
    found: dict[int, list[_Slice]] = {}
    for one in slices:
        found.setdefault(one.packet.number, []).append(one)
    return found.values()


def _names(slices: Sequence[_Slice]) -> Iterator[Event]:
    """Names of namespaces and of their tracks, and their order."""
    netns = {one.pid: one.traversal.netns for one in slices}
    tids = {pid: sorted({one.tid for one in slices if one.pid == pid}) for pid in netns}
    for pid, name in netns.items():
        yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": f"netns {name}"}}
        yield {"ph": "M", "name": "process_sort_index", "pid": pid, "args": {"sort_index": pid}}
        for place, tid in enumerate(tids[pid], 1):
            track = "traversals" if place == 1 else f"at the same time, {place}"
            yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": track}}
            yield {"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": place}}


def _doubt(doubt: str) -> Event:
    return {"ph": "i", "name": f"doubtful: {doubt}", "cat": "doubt", "ts": 0, "pid": 1, "tid": 1, "s": "g"}


def _registered(registration: Registration, pids: Mapping[str, int]) -> Event:
    """An instant event of its namespace, of the whole trace where no packet came by there.

    :param pids: namespace → number of its process
    """
    pid = pids.get(registration.netns)
    gone = registration.hook if registration.what == "unregistered" else None
    said = {"by": registrations.who(registration), "before": registrations.array(registration.before, registration.slots_before, gone),
            "after": registrations.array(registration.after, registration.slots_after), "array": registrations.became(registration)}
    return {"ph": "i", "name": registrations.headline(registration), "cat": "registration", "ts": _us(registration.time), "pid": pid or 1,
            "tid": pid or 1, "s": "g" if pid is None else "p", "args": said}


def _crossed(one: _Slice) -> Event:
    packet, traversal = one.packet, one.traversal
    return _complete(one, "traversal", f"{describe.point(traversal)} packet {packet.number}", (one.begin, one.end), {
        "packet": traversal.packet or packet.packet, "beside": ", ".join(describe.beside(packet)),
        "devices": describe.devices(traversal), "loop": traversal.loop,
        "mark": f"{traversal.mark:#x}" if traversal.mark else "", "connection": traversal.connection,
        "tracked": describe.tracked(traversal.tracked),
        "generation of the array": "" if traversal.generation is None else str(traversal.generation),
        "old array": registrations.missed(traversal.missed),
        "on its way here": describe.changed(traversal.changed), "listener": describe.answer(traversal),
        "returned": describe.returned(traversal.returned), "end of the packet": _end(packet)})


def _called(one: _Slice, calls: Sequence[HookCall], begin: int, limit: int, outer: str = "") -> Iterator[Event]:
    """Calls one after the other, each with the calls of the loop in it.

    :param begin: of the first, ns
    :param limit: that none may pass, ns
    :param outer: slot of the hook whose loop it is, with a dot
    """
    ends = [min(end, limit) for end in accumulate((call.ns or 0 for call in calls), initial=begin)]
    for call, (start, end) in zip(calls, pairwise(ends), strict=True):
        slot = f"{outer}{call.index}"
        yield _complete(one, "call", call.chain or describe.name(call), (start, end), {
            "verdict": str(call.verdict), "function": call.function, "module": call.module or "vmlinux", "chain": call.chain,
            "slot": slot, "priority": describe.priority(call.priority), "rule": describe.decided_by(call),
            "made of the packet": describe.changed_by(call), "time": "not known" if call.ns is None else ""})
        yield from _called(one, call.calls, start, end, f"{slot}.")


def _complete(one: _Slice, category: str, name: str, times: tuple[int, int], said: Mapping[str, str | None]) -> Event:
    """A slice.

    :param times: when it begins and ends, ns
    :param said: its arguments; those of which there is nothing to say are left out
    """
    begin, end = times
    return {"ph": "X", "name": name, "cat": category, "ts": _us(begin), "dur": _us(end - begin), "pid": one.pid, "tid": one.tid,
            "args": {key: value for key, value in said.items() if value}}


def _joined(one: _Slice, place: int, last: int) -> Event:
    """The flow of the packet: its start, a step or its finish.

    :param place: of the traversal among those of its packet, from 0
    :param last: place of the last
    """
    phase = "s" if place == 0 else "f" if place == last else "t"
    return {"ph": phase, "name": f"packet {one.packet.number}", "cat": "packet", "id": one.packet.number, "ts": _us(one.begin),
            "pid": one.pid, "tid": one.tid, **({"bp": "e"} if phase == "f" else {})}


def _ended(one: _Slice) -> Event:
    return {"ph": "i", "name": describe.fate(one.packet.fate), "cat": "end", "ts": _us(one.end), "pid": one.pid, "tid": one.tid, "s": "t",
            "args": {"packet": f"packet {one.packet.number}: {one.packet.packet}", "end": _end(one.packet)}}


def _end(packet: PacketOutcome) -> str:
    """``dropped (EPERM), NETFILTER_DROP in nft_do_chain``."""
    return ", ".join(filter(None, (describe.fate(packet.fate), packet.fate.reason)))


def _us(ns: int) -> float:
    """Microseconds. Readers that multiply by 1000 and cut the rest off get back what was: 1 ns less, and slices would overlap."""
    us = ns / 1000
    return us if int(us * 1000.0) == ns else math.nextafter(us, math.inf)
