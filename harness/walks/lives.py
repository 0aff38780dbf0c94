"""From a capture's events to packets: which records are about which skb, and which skbs are one packet."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from harness.outcome.types import NF_NAT_INET_FN, NF_REINJECT, Relation
from harness.walks.events import Call, Came, Change, End, Entry, Event, Exit, TableRule, Turn
from harness.walks.summary import datagram_of, error_checksum, flow_of, is_answer, is_fragment, kind_of, quotes, resets

__all__ = ("BELOW_IP", "Life", "LoopRun", "Numbers", "Packet", "grouped")

_OUTPUT, _POSTROUTING = 3, 4
_IP = (2, 10)
#: Families of hook points below IP: netdev, bridge.
BELOW_IP = (5, 7)
_REMEMBERED = 64
"""So many of the last packets are looked through for the one that a segment comes from, or that a reset answers."""


@dataclass(slots=True, eq=False)
class LoopRun:
    """One run of a verdict loop.

    :param place: of its entry among all events
    :param calls: each with its place
    :param left: the place of its exit
    :param inner: what ran inside the call of that number, in a loop of NAT's own
    :param changes: what the call of that number made
    :param rules: which rule of its xtables table gave the verdict of the call of that number
    """

    life: Life
    entry: Entry
    place: int
    calls: list[tuple[int, Call]] = field(default_factory=list)
    inner: dict[int, list[LoopRun]] = field(default_factory=dict)
    changes: dict[int, Change] = field(default_factory=dict)
    rules: dict[int, TableRule] = field(default_factory=dict)
    exit: Exit | None = None
    left: int | None = None


@dataclass(slots=True, eq=False)
class Life:
    """One skb from its first hook point to its end.

    :param turns: what it came to, each with its place
    :param ended: the place of its end
    :param into: the skb that goes on as the datagram that this one was a fragment of
    :param parts: the other fragments of the datagram that this skb goes on as
    :param answered: whether a packet that was seen answers it, though no hook was seen to make that one
    :param taken: bytes of its payload that were found again in segments of it
    """

    packet: Packet
    runs: list[LoopRun] = field(default_factory=list)
    turns: list[tuple[int, Turn]] = field(default_factory=list)
    end: End | None = None
    ended: int | None = None
    into: Life | None = None
    parts: list[Life] = field(default_factory=list)
    answered: bool = False
    taken: int = 0

    def came(self, what: Came, since: int, until: int | None = None) -> bool:
        """Whether it came to something between two places."""
        return any(turn.what is what and since < place and (until is None or place <= until) for place, turn in self.turns)


@dataclass(slots=True, eq=False)
class Packet:
    """One skb, and its clones if it carries a cookie.

    :param number: from 1, in the order in which they were seen
    :param relation: to a packet before it
    """

    number: int
    lives: list[Life] = field(default_factory=list)
    runs: list[LoopRun] = field(default_factory=list)
    relation: Relation | None = None


class Numbers:
    """Numbers of packets, which stay when a session is grouped again with more events, or with fewer."""

    def __init__(self) -> None:
        self._last = 0
        self._of: dict[int, int] = {}

    def of(self, traversal: int) -> int:
        """The number of the packet that a traversal was seen first of."""
        if traversal not in self._of:
            self._last += 1
            self._of[traversal] = self._last
        return self._of[traversal]

    def keep(self, traversals: Collection[int]) -> None:
        """Forget all others: their events are not grouped again."""
        self._of = {traversal: number for traversal, number in self._of.items() if traversal in traversals}


def grouped(events: Iterable[Event], loops: Sequence[str], numbers: Numbers) -> list[Packet]:
    """Events by packet: by the life of the skb, and by cookie where the stack cloned or copied it."""
    grouping = _Grouping(loops, numbers)
    for place, event in enumerate(events):
        grouping.take(place, event)
    return grouping.packets


class _Grouping:
    def __init__(self, loops: Sequence[str], numbers: Numbers) -> None:
        self.packets: list[Packet] = []
        self._loops, self._numbers = loops, numbers
        self._lives: dict[int, Life] = {}
        self._runs: dict[int, LoopRun] = {}
        #: An skb that was taken apart for a socket is freed before its segments are taken.
        self._ended: dict[int, Life] = {}
        self._by_cookie: dict[tuple[int, str, int], Packet] = {}
        self._answered: dict[int, Life] = {}
        self._copied: dict[int, Life] = {}
        self._taken_apart: list[Life] = []
        self._fragments: dict[bytes, list[Life]] = {}

    def take(self, place: int, event: Event) -> None:
        if isinstance(event, Entry):
            self._enter(place, event)
        elif isinstance(event, (Call, Change, TableRule, Exit)):
            if run := self._runs.get(event.traversal):
                _during(run, place, event)
        elif isinstance(event, Turn):
            ended = self._ended.get(event.skb) if event.what is Came.TAKEN else None
            if life := self._lives.get(event.skb, ended):
                life.turns.append((place, event))
                self._turn(life, event)
            elif event.what is Came.CLONED and (copied := self._copied.pop(event.skb, None)):
                self._copied[event.other] = copied
        elif isinstance(event, End):
            self._copied.pop(event.skb, None)
            if life := self._lives.pop(event.skb, None):
                life.end, life.ended = event, place
                self._ended[event.skb] = life

    def _enter(self, place: int, event: Entry) -> None:
        key = _key(event)
        life = self._lives.get(event.skb)
        if life is None:
            life = self._lives[event.skb] = Life((self._by_cookie.get(key) if key else None) or self._new(event))
            life.packet.lives.append(life)
        if key:
            self._by_cookie.setdefault(key, life.packet)
        if is_fragment(event.protocol, event.head):
            waiting = self._fragments.setdefault(datagram_of(event.protocol, event.head), [])
            if life not in waiting:
                waiting.append(life)
        self._runs[event.traversal] = run = LoopRun(life, event, place)
        around = _around(life) if self._loops[event.loop] == NF_NAT_INET_FN else None
        if around is not None:
            around.inner.setdefault(len(around.calls), []).append(run)
        else:
            life.runs.append(run)
            life.packet.runs.append(run)

    def _new(self, event: Entry) -> Packet:
        packet = Packet(self._numbers.of(event.traversal))
        answered, copied = self._answered.pop(event.skb, None), self._copied.pop(event.skb, None)
        if is_answer(event.protocol, event.head):
            of = answered or self._answered_by(event)
            if of:
                of.answered = True
            packet.relation = Relation("answer to", of.packet.number) if of else None
        elif copied:
            packet.relation = Relation("copy of", copied.packet.number)
        elif whole := next((life for life in reversed(self._taken_apart) if self._takes_from(life, event)), None):
            packet.relation = Relation("segment of", whole.packet.number)
        self.packets.append(packet)
        return packet

    def _answered_by(self, event: Entry) -> Life | None:
        """The skb of the segment that a reset answers, or that an ICMP error quotes: the last one that something happened to.

        A reset is made while the segment is being received, which lives for as long. Seen first behind a device, it may outlive that.
        """
        lives = [life for packet in self.packets[-_REMEMBERED:] for life in packet.lives if _is_answer(event, life)]
        if _is_made_here(event):
            lives = [life for life in lives if life.end is None]
        return max(lives, key=_touched, default=None)

    def _turn(self, life: Life, turn: Turn) -> None:
        if turn.what is Came.ANSWERED or (turn.what is Came.REJECTED and life.runs[-1].entry.pf in BELOW_IP):
            self._answered[turn.other] = life
        elif turn.what is Came.DUPLICATED:
            self._copied[turn.other] = life
        elif turn.what is Came.SEGMENTED:
            self._taken_apart = [*self._taken_apart[1 - _REMEMBERED:], life]
        elif turn.what is Came.REASSEMBLED:
            self._absorb(life)
        elif turn.what is Came.MERGED:
            self._lives[turn.other] = self._lives.pop(turn.skb)
            self._absorb(life)
        elif turn.what is Came.CLONED:
            self._lives[turn.other] = self._lives.pop(turn.skb)

    def _absorb(self, life: Life) -> None:
        """The fragments that wait where the last one has come are part of a datagram now."""
        last = life.runs[-1].entry
        for other in self._fragments.pop(datagram_of(last.protocol, last.head), ()):
            if other is not life and other.end is None and other.runs[-1].entry.netns == last.netns:
                other.into = life
                life.parts.append(other)

    def _takes_from(self, whole: Life, event: Entry) -> bool:
        """Whether an skb that is seen for the first time was a part of another: one flow, no more bytes than are left, TCP's among its own.

        What comes out of a queue has been in it, so at the same hook point.
        """
        last = whole.runs[-1].entry
        if self._loops[event.loop] == NF_REINJECT and (event.netns, event.pf, event.hook) != (last.netns, last.pf, last.hook):
            return False
        here, there = flow_of(event.protocol, event.head), flow_of(last.protocol, last.head)
        if here is None or there is None or here[0] != there[0]:
            return False
        size, room = event.length - here[2], last.length - there[2]
        if size <= 0 or (here[1] - there[1]) % 2**32 + size > room or whole.taken + size > room:
            return False
        whole.taken += size
        return True


def _around(life: Life) -> LoopRun | None:
    """The run whose hook has just entered its own loop: the last one of the skb that has not returned."""
    return next((run for run in reversed(life.runs) if run.exit is None), None)


def _is_made_here(event: Entry) -> bool:
    """Whether an skb that is seen for the first time is still in the function that made it: it leaves, and has come by no device."""
    return event.pf in _IP and event.hook in (_OUTPUT, _POSTROUTING) and not event.indev


def _touched(life: Life) -> int:
    """The place of the last event about an skb, calls of hooks apart."""
    return max(life.ended or 0, *(run.place for run in life.runs), *(place for place, _ in life.turns))


def _is_answer(event: Entry, of: Life) -> bool:
    """Whether an skb that is seen for the first time is the answer to another, as that was anywhere on its way: a reset, an ICMP error."""
    there = (run.entry for run in of.runs if run.entry.protocol == event.protocol)
    return any(resets(event.protocol, event.head, entry.head, entry.length) or quotes(event.protocol, event.head, entry.head)
               for entry in there)


def _key(entry: Entry) -> tuple[int, str, int] | None:
    cookie, header = entry.cookie, (entry.protocol, entry.head)
    return None if cookie is None else (cookie, kind_of(*header), error_checksum(*header))


def _during(run: LoopRun, place: int, event: Call | Change | TableRule | Exit) -> None:
    """Note what was told of a run; of a call, behind the call."""
    if isinstance(event, Call):
        run.calls.append((place, event))
    elif isinstance(event, Exit):
        run.exit, run.left = event, place
    elif run.calls and isinstance(event, Change):
        run.changes[len(run.calls) - 1] = event
    elif run.calls and isinstance(event, TableRule):
        run.rules[len(run.calls) - 1] = event
