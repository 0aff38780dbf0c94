"""Which packets of a session a person wants: an expression of our words and of libpcap's.

``dropped and by 'inet admin'``, ``netns router and not (tcp port 22)``. ``and`` and ``or`` have the same precedence and go from left to
right, as in pcap-filter(7). A term that begins with none of our words is libpcap's, and its compiler reads it: a packet matches where its
header at one of its points does.

========================  ==========================================================================================
``delivered``, ``dropped``, …  the end that the packet came to; ``dropped``: by a hook or by the stack
``by TEXT``               a hook whose chain, function or module has TEXT in its name did not accept it
``called TEXT``           such a hook was called
``verdict NAME``          a hook gave that verdict: ACCEPT, DROP (also STOLEN with an errno, as nft has it), STOLEN, QUEUE, REPEAT, STOP
``family NAME``           it crossed a hook point of IPV4, IPV6, ARP, BRIDGE, NETDEV
``point NAME``            it crossed a hook point of that name: FORWARD
``netns NAME``            it crossed one in that namespace
``dev NAME``              it came in or went out by that device there
``mark N``                it had that mark there
``zone N``                it belonged to a connection of that zone there, or behind a hook
``status NAME``           that bit of its connection's status was set: CONFIRMED, ASSURED, SEEN_REPLY, DST_NAT, OFFLOAD
``slower TIME``           a hook took longer than that with it: 200us, 5ms, 1s
========================  ==========================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar, get_args

from harness.errors import UserError
from harness.netfilter import HOOK_POINTS, VerdictKind, hook_name
from harness.outcome.fate import FateKind
from harness.outcome.types import HookCall, PacketOutcome, Traversal
from harness.walks.changes import STATUS
from harness.walks.names import Name

__all__ = ("Filter", "filter_of", "joined", "wrong")

#: A term of libpcap's → numbers of the packets that match it.
Matches = Mapping[str, Set[int]]
_Test = Callable[[PacketOutcome, Matches], bool]
_Value = TypeVar("_Value")

_TOKEN = re.compile(r"""[()]|'[^']*'|"[^"]*"|(?:[^\s()\[]|\[[^\]]*\])+""")
_OPERATORS = ("&", "|", "+", "-", "*", "/", "=", "==", "!=", "<", ">", "<=", ">=")
_BOTH = ("and", "&&", "or", "||")
#: How deep words "not" and parentheses may stand in one another.
_DEEPEST = 100
#: So much of a text is shown on each side of a mistake.
_AROUND = 60
_ZONE_MAX = 0xFFFF
_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
_ENDS = {kind: (kind,) for kind in get_args(FateKind) if " " not in kind} | {"dropped": ("dropped", "dropped by the stack")}
_POINTS = {name: name for points in HOOK_POINTS.values() for name in points}


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter that makes sense.

    :param text: as it was written
    :param pcap: terms that libpcap is to compile, with the column at which each begins
    :param test: whether a packet is wanted, given which packets match those terms
    :param names: that it has, of namespaces, devices and hooks
    """

    text: str
    pcap: Mapping[str, int]
    test: _Test
    names: tuple[Name, ...] = ()

    def wanted(self, packets: tuple[PacketOutcome, ...], matches: Matches) -> tuple[PacketOutcome, ...]:
        """The packets that match, in their order."""
        return tuple(packet for packet in packets if self.test(packet, matches))


def filter_of(text: str) -> Filter:
    """The filter that a text describes.

    :raises UserError: it describes none; with the column
    """
    reader = _Reader(text)
    test = reader.expression()
    if reader.word is not None:
        raise wrong(text, reader.column, f"'{reader.word}' is not expected here")
    return Filter(text, reader.pcap, test, tuple(reader.names))


def joined(words: Sequence[str]) -> str:
    """A filter that stands in several arguments: a shell has taken the quotes off those that had any."""
    return " ".join(f"'{word}'" if before in _WORDS and " " in word else word for before, word in pairwise(("", *words)))


def wrong(text: str, column: int, problem: str) -> UserError:
    """What is wrong with a filter, with a mark below the place; of a long one what stands around that."""
    begin = max(0, column - _AROUND) if len(text) > 2 * _AROUND else 0
    marked = f"    {text[begin:begin + 2 * _AROUND]}\n    {' ' * (column - begin)}^"
    return UserError(f"the filter does not compile: {problem}",
                     hint=f"look at the mark; words: nfharness help tracing, and pcap-filter(7)\n{marked}")


class _Reader:
    """Reads a text from left to right.

    :ivar word: that comes next, ``None`` at the end
    :ivar column: where that begins
    :ivar pcap: terms of libpcap's so far, with their columns
    :ivar names: names so far
    """

    def __init__(self, text: str) -> None:
        self.pcap: dict[str, int] = {}
        self.names: list[Name] = []
        self._text = text
        self._tokens = [(match[0], match.start()) for match in _TOKEN.finditer(text)]
        self._place = 0
        self._depth = 0

    @property
    def word(self) -> str | None:
        return self._tokens[self._place][0] if self._place < len(self._tokens) else None

    @property
    def column(self) -> int:
        return self._tokens[self._place][1] if self._place < len(self._tokens) else len(self._text)

    def expression(self) -> _Test:
        """Terms joined by ``and`` and ``or``, up to what is neither."""
        first, rest = self._term(), list[tuple[bool, _Test]]()
        while self.word in _BOTH:
            rest.append((self._next() in ("and", "&&"), self._term()))
        return _joined(first, rest) if rest else first

    def _next(self) -> str:
        word = self.word
        if word is None:
            raise wrong(self._text, self.column, "something is missing at the end")
        self._place += 1
        return word

    def _term(self) -> _Test:
        if self.word in ("not", "!", "("):
            return self._compound()
        if self.word in (*_BOTH, ")", None):
            raise wrong(self._text, self.column, "a term is missing")
        if self.word in _ENDS:
            kinds = _ENDS[self._next()]
            return lambda packet, _: packet.fate.kind in kinds
        return self._own() if self.word in _WORDS else self._pcap()

    def _compound(self) -> _Test:
        """What stands behind ``not``, or in parentheses."""
        if self._depth == _DEEPEST:
            raise wrong(self._text, self.column, f"more than {_DEEPEST} words 'not' and parentheses stand in one another")
        self._depth += 1
        if self._next() == "(":
            test = self.expression()
            if self.word != ")":
                raise wrong(self._text, self.column, "a parenthesis is not closed")
            self._next()
        else:
            term = self._term()
            test = lambda packet, matches: not term(packet, matches)  # noqa: E731
        self._depth -= 1
        return test

    def _own(self) -> _Test:
        word = self._next()
        column, value = self.column, self._next().strip("'\"")
        try:
            test = _WORDS[word](value)
        except ValueError as error:
            raise wrong(self._text, column, str(error)) from None
        if word in _NAMED:
            self.names.append(Name(_NAMED[word], value))
        return lambda packet, _: test(packet)

    def _pcap(self) -> _Test:
        """All up to ``and``, ``or`` or a parenthesis that closes another; what is in parentheses behind an operator belongs to it."""
        begin, depth, last = self.column, 0, ""
        while self.word is not None and (depth or self.word not in (*_BOTH, ")")):
            if self.word == "(" and not depth and last not in _OPERATORS:
                raise wrong(self._text, self.column, "'(' is not expected here")
            depth += {"(": 1, ")": -1}.get(self.word, 0)
            last = self._next()
        end = self._tokens[self._place - 1][1] + len(last)
        text = self._text[begin:end]
        self.pcap.setdefault(text, begin)
        return lambda packet, matches: packet.number in matches[text]


def _joined(first: _Test, rest: Sequence[tuple[bool, _Test]]) -> _Test:
    """Terms from left to right.

    :param rest: whether ``and`` stands before a term, and the term
    """
    def test(packet: PacketOutcome, matches: Matches) -> bool:
        wanted = first(packet, matches)
        for both, term in rest:
            if wanted == both:
                wanted = term(packet, matches)
        return wanted

    return test


def _calls(packet: PacketOutcome) -> Iterator[HookCall]:
    for traversal in packet.traversals:
        for call in traversal.calls:
            yield call
            yield from call.calls


def _named(call: HookCall, text: str) -> bool:
    return any(text in name for name in (call.chain, call.function, call.module, call.label) if name)


def _by(text: str) -> Callable[[PacketOutcome], bool]:
    return lambda packet: any(_named(call, text) and call.verdict.kind is not VerdictKind.ACCEPT for call in _calls(packet))


def _called(text: str) -> Callable[[PacketOutcome], bool]:
    return lambda packet: any(_named(call, text) for call in _calls(packet))


def _verdict(text: str) -> Callable[[PacketOutcome], bool]:
    kind = _one_of(text, VerdictKind.__members__, "verdict")
    if kind is VerdictKind.DROP:
        return lambda packet: any(call.verdict.is_drop for call in _calls(packet))
    return lambda packet: any(call.verdict.kind is kind for call in _calls(packet))


def _crosses(test: Callable[[Traversal], bool]) -> Callable[[PacketOutcome], bool]:
    return lambda packet: any(map(test, packet.traversals))


def _family(text: str) -> Callable[[PacketOutcome], bool]:
    family = _one_of(text, {family.name: family for family in HOOK_POINTS}, "family")
    return _crosses(lambda at: at.pf is family)


def _point(text: str) -> Callable[[PacketOutcome], bool]:
    name = _one_of(text, _POINTS, "hook point")
    return _crosses(lambda at: hook_name(at.pf, at.hook) == name)


def _netns(text: str) -> Callable[[PacketOutcome], bool]:
    return _crosses(lambda at: at.netns == text)


def _device(text: str) -> Callable[[PacketOutcome], bool]:
    return _crosses(lambda at: text in (at.indev, at.outdev))


def _mark(text: str) -> Callable[[PacketOutcome], bool]:
    try:
        mark = int(text, 0)
    except ValueError:
        raise ValueError(f"{text} is no number") from None
    return _crosses(lambda at: at.mark == mark)


def _zone(text: str) -> Callable[[PacketOutcome], bool]:
    if re.fullmatch(r"\d{1,5}", text) is None or int(text) > _ZONE_MAX:
        raise ValueError(f"{text} is no zone: a number from 0 to {_ZONE_MAX}")
    return lambda packet: any(at.tracked is not None and at.tracked.zone == int(text) for at in packet.traversals) or any(
        _came_to(call) == int(text) for call in _calls(packet))


def _came_to(call: HookCall) -> int | None:
    """The zone of the connection that a hook gave the packet; ``None`` if it gave it none."""
    found = {change.what: change for change in call.changed}
    if "zone" in found:
        return int(found["zone"].after)
    return 0 if "connection" in found and found["connection"].before in ("none", "untracked") else None


def _status(text: str) -> Callable[[PacketOutcome], bool]:
    bit = _one_of(text, {name: name for name in STATUS}, "status")
    return lambda packet: any(at.tracked is not None and bit in at.tracked.status for at in packet.traversals) or any(
        change.what == "status" and bit in change.after.split() for call in _calls(packet) for change in call.changed)


def _slower(text: str) -> Callable[[PacketOutcome], bool]:
    time = re.fullmatch(r"(\d+(?:\.\d+)?)(ns|us|ms|s)", text)
    if time is None:
        raise ValueError(f"{text} is no time: 200us, 5ms, 1s")
    longest = float(time[1]) * _UNITS[time[2]]
    return lambda packet: any((call.ns or 0) > longest for call in _calls(packet))


def _one_of(text: str, known: Mapping[str, _Value], what: str) -> _Value:
    if text.upper() not in known:
        raise ValueError(f"{text} is no {what}: one of {', '.join(sorted(known))}")
    return known[text.upper()]


_WORDS = {"by": _by, "called": _called, "verdict": _verdict, "family": _family, "point": _point, "netns": _netns, "dev": _device,
          "mark": _mark, "zone": _zone, "status": _status, "slower": _slower}
#: Words that have a name behind them → what has that name.
_NAMED = {"by": "hook", "called": "hook", "netns": "netns", "dev": "dev"}
