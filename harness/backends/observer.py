"""What happens in a guest beside a command: the host's end of :mod:`harness.guest.observe`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import EmulatorFailed, GuestError, KernelDied, NfharnessError
from harness.outcome.types import Outcome, PacketOutcome
from harness.vm.channel import Remote, Request, agent_error
from harness.vm.guest import Guest
from harness.walks.assembly import assembled
from harness.walks.events import ArraySlot, Call, Came, End, Entry, Event, Exit, Gone, Registered, Turn, decode, in_order
from harness.walks.framing import records, whole
from harness.walks.lives import Numbers, grouped
from harness.walks.losses import began
from harness.walks.recording import Recording
from harness.walks.rules import called, rules_wanted
from harness.walks.sightings import number_and_life, numbered, told_apart
from harness.walks.symbol import Symbol
from harness.walks.window import needed

__all__ = ("Complaints", "Observation", "ends_of")

_OBSERVER = "harness.guest.observe:main"
_KILLED = "COMMAND did it (kill -1 reaches every process), or the guest ran out of memory: let it kill and take less"
#: By the error with which a guest ended.
_LAST = {
    KernelDied: "the kernel died: what it did last may not be there",
    EmulatorFailed: "QEMU failed: what the guest did last may not be there",
}
#: After which no record of a packet comes any more that is over: those of several processors arrive a little out of order.
_SETTLED_NS = 500_000_000
#: Events that it is not worth while to look through for what may be forgotten.
_FEW = 20_000
#: Events that a session which forgets may hold before no more are read; twice as many as it could not forget, if these are more.
_MOST = 60_000
#: About so many has a record.
_RECORD_BYTES = 100
#: Ends behind which an skb may live on, in a socket's queue.
_TAKEN = ("delivered", "sent", "consumed")


@dataclass(frozen=True, slots=True)
class Complaints:
    """What a kernel complained of while it was observed.

    :param splats: warnings, bugs and oopses, each in a line
    :param taint: letters that came
    :param log: its own words, if there is a splat
    :param unnamed: why base chains of nftables' have no names, if so
    :param undecided: why it is not seen which rule of nftables' decided, if so
    :param unregistered: why registrations of hooks are not seen although they were asked for, if so
    :param uncounted: why it is not seen which rule of an xtables table decided, if so
    """

    splats: tuple[str, ...] = ()
    taint: str = ""
    log: tuple[str, ...] = ()
    unnamed: str | None = None
    undecided: str | None = None
    unregistered: str | None = None
    uncounted: str | None = None


class Observation:
    """A guest's tracer, armed from :meth:`start` to :meth:`end`.

    :param rulesets: whole rulesets are listed, too
    :param forgets: :meth:`forget` is called now and then. Then records are read only as fast as they can be told and forgotten: what the
        guest has no room for meanwhile, it counts as lost.
    """

    def __init__(self, remote: Remote, *, rulesets: bool = False, forgets: bool = False) -> None:
        self._remote = remote
        self._keeps_rulesets = rulesets
        self._forgets = forgets
        self._room = asyncio.Event()
        self._said = bytearray()
        self._more = asyncio.Event()
        self._over = False
        self._error: dict[str, Any] = {}
        self._armed: dict[str, Any] = {}
        self._ended: dict[str, Any] = {}
        self._namespaces: list[tuple[int, int, str]] = []
        self._frees: list[int] = []
        self._symbols: dict[int, Symbol] = {}
        self._rules: dict[tuple[int, int, int], tuple[str, str]] = {}
        self._asked: set[int] = set()
        self._asked_rules: set[tuple[int, int, int]] = set()
        #: Namespaces whose rulesets were asked for; as a recording has them, what was answered.
        self._asked_rulesets: set[int] = set()
        self._rulesets: list[tuple[int, int, int, Sequence[dict[str, Any]]]] = []
        self._open_questions = 0
        self._events: list[Event] = []
        self._begin: int | None = None
        self._numbers = Numbers()
        #: How many events there were when some were forgotten.
        self._left = 0
        #: What it takes to tell which rules are wanted of the events that come next: traversals under way, namespaces that have gone.
        self._under_way: dict[int, Entry] = {}
        self._gone: list[Gone] = []
        #: Records that have arrived and are no events yet; and how many bytes have arrived in all.
        self._records = bytearray()
        self._bytes = 0
        self._arrived = time.monotonic()
        #: Both ends of the connection that this goes over itself, as a packet's summary has them.
        self._connection: frozenset[str] = frozenset()
        self._reading, self._naming = asyncio.create_task(self._read()), asyncio.create_task(self._name())

    @classmethod
    async def start(cls, guest: Guest, *, registrations: bool = False, rulesets: bool = False, forgets: bool = False) -> Observation:
        """Arm the tracer.

        :param registrations: whether hooks that are registered and unregistered are to be seen, too
        :param rulesets: whether whole rulesets are to be listed, too, which takes time in the guest
        :param forgets: as of the class
        :raises GuestError: it does not work there
        """
        remote = await guest.open(Request(python=_OBSERVER, args=[guest.networked, registrations]))
        observation = cls(remote, rulesets=rulesets, forgets=forgets)
        while not observation._armed:
            await observation._wait()
        observation._connection = ends_of(observation._armed["connection"]) if guest.networked else frozenset()
        return observation

    @property
    def blind(self) -> tuple[tuple[str, str], ...]:
        """Loops that are not seen, each with the reason."""
        return tuple(self._armed["blind"].items())

    async def end(self, but: Collection[int] = ()) -> tuple[Outcome, Complaints]:
        """Disarm the tracer; the packets that were seen, and what the kernel complained of.

        :param but: numbers of packets that are left out
        """
        self._reads_on()
        await self._remote.write(b'{"ended": true}\n')
        while not self._ended or self._bytes < self._ended["records"]:
            await self._wait()
        await self._ask()
        await self._answered()
        self._asked_rulesets |= {netns for netns, *_ in called(self._events, self._namespaces)}
        # A rule that reads otherwise now was replaced: nobody knows which one decided.
        await self._list(set(self._rules), self._asked_rulesets)
        await self._answered()
        await self._remote.end_input()
        ended = self._ended
        complaints = Complaints(tuple(ended["splats"]), ended["taint"], tuple(ended["log"]), self._armed["unnamed"],
                                self._armed["undecided"], self._armed["unregistered"], self._armed["uncounted"])
        return self._outcome(ended["lost_events"], tuple(ended["doubts"]), but), complaints

    def settled(self, but: Collection[int] = ()) -> Outcome:
        """The packets so far that have come to their ends and of which nothing more is to be expected; none while a name is missing.

        :param but: numbers of packets that are left out
        """
        if self._open_questions or not self._events:
            return Outcome()
        seen = self._outcome(0, (), but)
        newest = max((traversal.time or 0 for packet in seen.packets for traversal in packet.traversals), default=0)
        silent = time.monotonic() - self._arrived > _SETTLED_NS / 10**9
        packets = tuple(packet for packet in seen.packets if _is_over(packet, None if silent else newest))
        registered = tuple(one for one in seen.registrations if silent or one.time < newest - _SETTLED_NS)
        return replace(seen, packets=packets, registrations=registered)

    def forget(self, told: Collection[int]) -> frozenset[int] | None:
        """Forget the packets that have been told and are long over.

        :param told: numbers of those of which nothing more is told
        :returns: numbers of the packets that are left; ``None`` while there is little to forget
        """
        if len(self._events) < max(_FEW, 2 * self._left):
            return None
        try:
            return self._forgotten(told)
        finally:
            self._room.set()

    def _forgotten(self, told: Collection[int]) -> frozenset[int]:
        """Forget as :meth:`forget` does, in any case."""
        events, _ = told_apart(in_order(self._events), self._namespaces)
        packets = grouped(numbered(events, self._frees), self._armed["loops"], self._numbers)
        self._events = in_order(self._events)
        self._begin = began(self._events) if self._begin is None else self._begin
        window = needed(self._events, packets, told)
        self._events, self._left = window.events, len(window.events)
        self._numbers.keep(window.traversals)
        return window.packets

    async def _answered(self) -> None:
        while self._open_questions:
            await self._wait()

    async def rescued(self, end: KernelDied | EmulatorFailed, but: Collection[int] = ()) -> Outcome:
        """The packets that were seen of a guest that has ended, under the names that it had told until then.

        :param end: how it did
        :param but: numbers of packets that are left out
        """
        self._reads_on()
        await self._reading
        self._decode()
        return self._outcome(0, (_LAST[type(end)],), but)

    def _outcome(self, lost_events: int, doubts: tuple[str, ...], but: Collection[int]) -> Outcome:
        armed = self._armed
        seen = assembled(Recording(in_order(self._events), self._symbols.get, armed["loops"], dict(armed["reasons"]), self._frees,
                                   self._namespaces, blind=dict(armed["blind"]), lost_events=lost_events, doubts=doubts,
                                   rules=self._rules, rulesets=self._rulesets, tells=frozenset(map(Came, armed["tells"])),
                                   sees_registrations=armed["sees_registrations"], numbers=self._numbers, begin=self._begin,
                                   clock=armed["clock"]), but)
        return replace(seen, packets=tuple(packet for packet in seen.packets if not self._is_our_own(packet.packet)))

    def _is_our_own(self, packet: str) -> bool:
        """Whether it is one that carries all this."""
        return bool(self._connection) and self._connection <= set(packet.replace(",", "").split())

    async def _name(self) -> None:
        """Ask for names while it goes on: a kernel that has died tells none."""
        with suppress(NfharnessError):
            while not self._over and not self._ended:
                await self._ask()
                self._more.clear()
                await self._more.wait()

    async def _ask(self) -> None:
        """Ask for the names of addresses, and for the rules, that are new."""
        fresh = self._decode()
        if self._ended:  # by now it is known when each module went, and which namespace had which name
            fresh = self._events
        found = numbered(fresh, self._frees)
        addresses = {address for event in found for address in _addresses(event)} - self._asked
        if addresses:
            self._asked |= addresses
            self._open_questions += 1
            self._room.set()
            await self._remote.write(json.dumps({"addresses": sorted(addresses)}).encode() + b"\n")
        context = fresh if self._ended else (*self._under_way.values(), *self._gone, *fresh)
        wanted = rules_wanted(context, self._namespaces) - self._asked_rules
        self._asked_rules |= wanted
        chains = {netns for netns, *_ in called(context, self._namespaces)} if self._keeps_rulesets else set()
        if not self._ended:
            self._heed_traversals(fresh)
        await self._list(wanted, (chains - self._asked_rulesets) | ({netns for netns, *_ in wanted} & chains))
        self._asked_rulesets |= chains

    def _heed_traversals(self, fresh: Sequence[Event]) -> None:
        """Take notice of which traversals are under way, and which namespaces have gone."""
        for event in fresh:
            if isinstance(event, Entry):
                self._under_way[event.traversal] = event
            elif isinstance(event, Exit):
                self._under_way.pop(event.traversal, None)
            elif isinstance(event, Gone):
                self._gone.append(event)

    async def _list(self, wanted: set[tuple[int, int, int]], whole: set[int]) -> None:
        """Ask for the texts of rules, by namespace.

        :param whole: namespaces whose rulesets are asked for, too, if they are kept
        """
        whole = whole if self._keeps_rulesets else set()
        for netns in sorted({netns for netns, *_ in wanted} | whole):
            self._open_questions += 1
            self._room.set()
            rules = sorted(rule for of, *rule in wanted if of == netns)
            question = {"netns": number_and_life(netns), "rules": rules, "whole": netns in whole}
            await self._remote.write(json.dumps(question).encode() + b"\n")

    def _decode(self) -> list[Event]:
        """The events that have arrived since the last call; those of each processor in order."""
        taken = bytes(self._records)
        size = whole(taken)
        del self._records[:size]
        found = decode(records(taken[:size]))
        self._events += found
        return found

    async def _read(self) -> None:
        """Take what comes as it comes: a guest's agent keeps little, and its memory is small."""
        while piece := await self._remote.read():
            if piece[0] == 1:
                self._records += piece[1]
                self._bytes += len(piece[1])
            else:
                self._said += piece[1]
            self._arrived = time.monotonic()
            self._heed()
            self._more.set()
            while self._is_full():
                self._room.clear()
                await self._room.wait()
        self._over = True
        self._more.set()

    def _is_full(self) -> bool:
        """Whether so much is held that some is to be forgotten first. An answer that is waited for is read in any case."""
        held = len(self._events) + len(self._records) // _RECORD_BYTES
        return self._forgets and not self._open_questions and held > max(_MOST, 2 * self._left)

    def _reads_on(self) -> None:
        """From now on read all that comes."""
        self._forgets = False
        self._room.set()

    def _heed(self) -> None:
        """Take notice of the messages that have arrived."""
        while b"\n" in self._said:
            line, _, rest = bytes(self._said).partition(b"\n")
            try:
                message: dict[str, Any] = json.loads(line)
            except ValueError:  # a traceback, whole when the observer has ended
                return
            if "error" in message:
                self._error = message
                return
            self._said = bytearray(rest)
            if "armed" in message:
                self._armed = message
            if "records" in message:
                self._ended = message
                self._namespaces = []
            self._namespaces += message.get("namespaces", ())
            self._frees = message.get("frees", self._frees)
            if "rules" in message:
                self._open_questions -= 1
                for *key, chain, text in message["rules"]:
                    if self._rules.setdefault((key[0], key[1], key[2]), (chain, text)) != (chain, text):
                        self._rules[key[0], key[1], key[2]] = "", ""
                if message["ruleset"]:
                    self._keep(*message["ruleset"])
            if "symbols" in message:
                self._open_questions -= 1
                self._symbols |= {number: Symbol(address, name, module) for number, address, name, module in message["symbols"]}

    def _keep(self, netns: int, began: int, ended: int, whole: str, texts: Sequence[tuple[int, int, str]]) -> None:
        """Keep a ruleset that was listed, each rule with its text."""
        of_rules = {(table, handle): text for table, handle, text in texts}
        listed, tables = json.loads(whole)["nftables"], dict[tuple[str, str], int]()
        for each in listed:
            if (table := each.get("table")) is not None:
                tables[table["family"], table["name"]] = table["handle"]
            elif (rule := each.get("rule")) is not None:
                rule["text"] = of_rules.get((tables[rule["family"], rule["table"]], rule["handle"]), "")
        latest = next((place for place in reversed(range(len(self._rulesets))) if self._rulesets[place][0] == netns), None)
        if latest is not None and self._rulesets[latest][3] == listed:
            self._rulesets[latest] = (netns, self._rulesets[latest][1], began, listed)
        else:
            self._rulesets.append((netns, ended, began, listed))

    async def _wait(self) -> None:
        """Wait until the observer says more.

        :raises NfharnessError: the observer has failed or ended; with its last words
        """
        if self._error:
            raise agent_error(self._error, "observing")
        if self._over:
            status = await self._remote.wait()
            if status < 0:
                raise GuestError(f"the observer in the guest was killed by signal {-status}", hint=_KILLED)
            raise agent_error({"traceback": self._said.decode(errors="replace") or f"exit status {status}"}, "observing")
        self._more.clear()
        await self._more.wait()


def _is_over(packet: PacketOutcome, newest: int | None) -> bool:
    """Whether a packet has come to its end.

    :param newest: when something was seen last, in the packet's time; ``None`` if that is long ago
    """
    if packet.fate.kind == "unknown" or (packet.alive and packet.fate.kind not in _TAKEN):
        return False
    return newest is None or all((traversal.time or 0) < newest - _SETTLED_NS for traversal in packet.traversals)


def ends_of(connection: str) -> frozenset[str]:
    """``SSH_CONNECTION`` (client address, port, server address, port) as a packet's summary has its ends."""
    words = connection.split()
    return frozenset(f"{address}:{port}" for address, port in (words[:2], words[2:])) if len(words) == 4 else frozenset()


def _addresses(event: Event) -> Iterator[int]:
    if isinstance(event, (ArraySlot, Registered)):
        yield event.function
        yield from event.stack if isinstance(event, Registered) else ()
    elif isinstance(event, Call):
        yield event.function
        if event.decision and event.decision.function:
            yield event.decision.function
    elif isinstance(event, Entry):
        yield from filter(None, (event.okfn, event.caller))
    elif isinstance(event, End) and event.location:
        yield event.location
    elif isinstance(event, Turn) and event.driver:
        yield event.driver
