"""The one way from a recording to its packets, for ``run``, ``trace`` and ``lab``."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from harness.netfilter import HOOK_POINTS, Family, Verdict, hook_name
from harness.outcome.types import (
    NF_HOOK_SLOW,
    NF_HOOK_SLOW_LIST,
    NF_REINJECT,
    Change,
    Evaluated,
    HookCall,
    Outcome,
    PacketOutcome,
    Ruleset,
    Traversal,
)
from harness.walks import events
from harness.walks.changes import CONNECTIONS, Shape, differences, tracked
from harness.walks.ends import Ends, in_order
from harness.walks.events import Call, Entry, Event, TableRule
from harness.walks.lives import Life, LoopRun, Packet, grouped
from harness.walks.losses import Losses, began
from harness.walks.recording import Recording
from harness.walks.registrations import Generation, Registrations
from harness.walks.rules import Decided, decided, decided_in_table
from harness.walks.sightings import numbered, told_apart
from harness.walks.summary import kind_of, summary
from harness.walks.symbol import ADDRESS_BITS
from harness.walks.xtables import table_of

__all__ = ("assembled",)


def assembled(recording: Recording, but: Container[int] = ()) -> Outcome:
    """The packets of a recording, in the order in which they were first seen; no steps.

    :param but: numbers of packets that are left out
    :returns: with the recording's doubts, and what could not be made out
    """
    events, netns = told_apart(recording.events, recording.namespaces)
    events = numbered(events, recording.frees)
    teller = _Teller(recording, netns, events)
    every = grouped(events, recording.loops, recording.numbers)
    packets = tuple(teller.packet(packet) for packet in every if packet.number not in but)
    since = None if recording.clock is None or not recording.events else recording.clock + teller.begin
    doubts = (*recording.doubts, *teller.doubts, *teller.losses.doubts(teller.begin))
    rulesets = tuple(Ruleset(netns.get(number, f"net:[{number}]"), first - teller.begin, last - teller.begin, tuple(listed))
                     for number, first, last, listed in recording.rulesets)
    return Outcome((), packets, recording.lost_events, doubts, tuple(recording.blind.items()), began=since,
                   registrations=teller.registrations.all if teller.registrations else (), rulesets=rulesets)


_decode = lru_cache(Verdict.decode)
_ADDRESS = (1 << ADDRESS_BITS) - 1


class _Teller:
    """Turns numbers into names."""

    def __init__(self, recording: Recording, netns: Mapping[int, str], events: Sequence[Event]) -> None:
        self._function, self._netns, self._labels, self._loops = recording.function, netns, recording.labels, recording.loops
        self._rules: dict[int, dict[tuple[int, int], tuple[str, str]]] = {}
        for (netns_number, table, handle), told in recording.rules.items():
            self._rules.setdefault(netns_number, {})[table, handle] = told
        self.losses = Losses(events)
        self._ends = Ends(recording.function, recording.reasons, recording.loops, tells=recording.tells)
        self.begin = began(recording.events) if recording.begin is None else recording.begin
        self.registrations = Registrations(events, recording.function, netns, self.begin) if recording.sees_registrations else None
        self.doubts = list(self.registrations.doubts if self.registrations else ())

    def packet(self, packet: Packet) -> PacketOutcome:
        first = packet.runs[0].entry
        self._became = _Became(packet)
        cookies = (run.entry.cookie for run in packet.runs)
        return PacketOutcome(
            packet=summary(first.protocol, first.head, first.length),
            cookie=next((cookie for cookie in cookies if cookie is not None), None),
            fate=self._ends.of(packet),
            traversals=tuple(traversal for run in in_order(packet) if (traversal := self._traversal(run))),
            alive=sum(life.end is None for life in packet.lives),
            kind=kind_of(first.protocol, first.head),
            number=packet.number,
            relation=packet.relation,
            lost_events=self.losses.during(packet),
        )

    def _traversal(self, run: LoopRun) -> Traversal | None:
        entry = run.entry
        if entry.pf not in HOOK_POINTS:
            self.doubts.append(f"a hook point of unknown family {entry.pf}")
            return None
        left = run.exit.time if run.exit else None
        generation = self.registrations.generation(entry, left) if self.registrations else Generation(None)
        return Traversal(Family(entry.pf), entry.hook, self._netns.get(entry.netns, f"net:[{entry.netns}]"), entry.indev, entry.outdev,
                         self._calls(run),
                         run.exit.returned if run.exit else None, self._name(entry.okfn), entry.start, self._loop(entry),
                         _decode(entry.answer) if self._reinjected(run) else None,
                         summary(entry.protocol, entry.head, entry.length), entry.mark,
                         CONNECTIONS.get(entry.ct, f"state {entry.ct}"), self._became.before[run], entry.head, entry.length,
                         entry.slots, entry.time - self.begin,
                         _waited(run) if self._reinjected(run) else None, entry.socket, tracked(_shape(entry)), generation.number,
                         generation.missed, self._name(entry.caller) if self._reinjected(run) else None)

    def _name(self, address: int) -> str | None:
        """A function's name as the source has it: compilers add ``.isra.0`` and the like."""
        symbol = self._function(address) if address else None
        return symbol.name.partition(".")[0] if symbol else f"{address:#x}" if address else None

    def _reinjected(self, run: LoopRun) -> bool:
        return self._loops[run.entry.loop] == NF_REINJECT

    def _loop(self, entry: Entry) -> str:
        loop = self._loops[entry.loop]
        return NF_HOOK_SLOW_LIST if loop == NF_HOOK_SLOW and self._name(entry.caller) == NF_HOOK_SLOW_LIST else loop

    def _calls(self, run: LoopRun) -> tuple[HookCall, ...]:
        became = self._became
        return tuple(replace(self._call(call, run.entry, run.rules.get(number)), changed=became.by.get((run, number), ()),
                             head=became.heads.get((run, number), b""),
                             calls=tuple(inner for each in run.inner.get(number, ()) for inner in self._calls(each)))
                     for number, (_, call) in enumerate(run.calls))

    def _call(self, call: Call, entry: Entry, by: TableRule | None) -> HookCall:
        symbol = self._function(call.function)
        # A hook is a function, and its address that of the function's first instruction: another one's middle is no name for it.
        if symbol and symbol.address != call.function & _ADDRESS:
            symbol = None
        name = symbol.name if symbol else f"{call.function & _ADDRESS:#x}"
        verdict = _decode(call.verdict)
        rule, policy = Decided(None, policy=False)
        evaluated = None
        if call.decision:
            callee = self._function(call.decision.function) if call.decision.function else None
            rule, policy = decided(call.decision, verdict, callee, self._rules.get(entry.netns, {}),
                                   (call.chain or "").rpartition(" ")[2])
            evaluated = Evaluated(call.decision.table, call.decision.jumps, call.decision.via)
        elif by:
            rule, policy = decided_in_table(by, verdict, hook_name(Family(entry.pf), entry.hook))
        table = table_of(name, call.priority)
        chain = f"{table} {hook_name(Family(entry.pf), entry.hook)}" if table else call.chain
        return HookCall(call.slot, name, symbol.module if symbol else None, call.priority, verdict, call.ns,
                        None if call.hook_id is None else self._labels.get(call.hook_id), chain, rule=rule, policy=policy,
                        evaluated=evaluated)


def _waited(run: LoopRun) -> int | None:
    """From the end of the run before, which queued the skb, to this one; ``None`` where this one began while that was queueing it."""
    before = [other for other in run.life.runs if other.place < run.place and other.exit]
    left = before[-1].exit if before else None
    return run.entry.time - left.time if left and left.time <= run.entry.time else None


class _Became:
    """What was made of a packet on its way.

    :ivar before: what it had become since it was seen last, by the run in which it is seen; nothing where it is seen first
    :ivar by: what a call made of it, by its run and number there
    :ivar heads: its header behind a call that changed that, by its run and number, too
    """

    def __init__(self, packet: Packet) -> None:
        self.before: dict[LoopRun, tuple[Change, ...]] = {}
        self.by: dict[tuple[LoopRun, int], tuple[Change, ...]] = {}
        self.heads: dict[tuple[LoopRun, int], bytes] = {}
        self._seen: dict[Life, tuple[int, Shape]] = {}
        last = None
        for run in packet.runs:
            netns, now = run.entry.netns, _shape(run.entry)
            there, before = self._seen.get(run.life) or last or (netns, now)
            # Between namespaces a packet leaves its connection behind. A socket is found and left by the stack on any way.
            before = before._replace(socket=now.socket)
            if there != netns:
                before = before._replace(ct=now.ct, zone=now.zone, status=now.status, ct_id=now.ct_id)
            self.before[run] = differences(before, now)
            self._seen[run.life] = last = netns, self._called(run, now)

    def _called(self, run: LoopRun, now: Shape) -> Shape:
        """Note what each call of a run made of the packet.

        :returns: the packet behind all calls of a run
        """
        for number in range(len(run.calls)):
            for inner in run.inner.get(number, ()):
                now = self._called(inner, now)
            if change := run.changes.get(number):
                self.by[run, number] = differences(now, _shape(change))
                if change.head != now.head:
                    self.heads[run, number] = change.head
                now = _shape(change)
        return now


def _shape(seen: Entry | events.Change) -> Shape:
    return Shape(seen.protocol, seen.head, seen.length, seen.mark, seen.ct, seen.socket, seen.zone, seen.status, seen.ct_id)
