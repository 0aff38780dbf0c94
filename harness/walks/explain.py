"""Why a base chain of nftables' came to its verdict: its rules and those of chains that it jumped to, with what was true for one packet.

Two witnesses: what the tracer saw of the evaluation (which rules jumped, which one decided), which is the kernel's word, and the rules as
they were listed, compared with the packet as the chain got it. Where the two do not settle it, it cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal, NamedTuple

from harness.outcome.types import HookCall, PacketOutcome, Ruleset, Traversal
from harness.walks.expressions import Held, evaluated, holds, looked_up
from harness.walks.here import Here, NotSeen, NotThere, here
from harness.walks.listed import Chains, chosen

__all__ = ("MALFORMED", "Explanation", "RuleTold", "explained", "places")

State = Literal["matched", "not matched", "cannot tell"]

#: Statements that end the evaluation of a chain when they are reached, and those that may: targets of xtables' among them.
_ENDS = ("accept", "drop", "reject", "queue", "masquerade", "snat", "dnat", "redirect", "fwd")
_MAY_END = ("xt", "synproxy")
_JUMPS = ("jump", "goto")
#: Statements behind which the rule always goes on, and that change nothing which another rule reads.
_GO_ON = ("counter", "log", "comment", "dup", "ct helper", "ct timeout", "ct expectation", "secmark", "last", "continue", "reset")
_COMMENT = {"type": "match", "name": "comment"}  # of iptables-nft
_DEEPEST = 16  # NFT_JUMP_STACK_SIZE
MALFORMED = (ArithmeticError, AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)
"""What a listing raises that is not as nft writes it."""


@dataclass(frozen=True, slots=True)
class RuleTold:
    """A rule that was evaluated, and what was true for the packet.

    :param why: what was compared, in words; of a rule that did not match the one thing that did not hold
    :param did: ``decided: drop``, ``jumped to svc``; empty of others
    """

    chain: str
    handle: int
    text: str
    state: State
    why: tuple[str, ...] = ()
    did: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One call of a base chain's.

    :param packet: as the chain got it
    :param rules: in the order in which they were evaluated
    :param unreached: chain → how many of its rules stand behind the one that decided
    :param notes: what a reader is to know of all that
    """

    traversal: Traversal
    call: HookCall
    packet: Here
    rules: tuple[RuleTold, ...]
    unreached: Mapping[str, int]
    notes: tuple[str, ...]


def places(packet: PacketOutcome) -> Iterator[tuple[Traversal, tuple[int, ...], HookCall]]:
    """The calls of nftables' base chains that a packet met: where, the call's place there as of :func:`harness.walks.here.here`."""
    for traversal in packet.traversals:
        for number, call in enumerate(traversal.calls):
            inner = (((number, nth), each) for nth, each in enumerate(call.calls))
            for place, each in (*inner, ((number,), call)):
                if each.evaluated is not None:
                    yield traversal, place, each


def explained(
    traversal: Traversal, place: tuple[int, ...], call: HookCall, rulesets: Sequence[Ruleset], *, sees_rules: bool = True,
) -> Explanation:
    """The evaluation of a base chain for a packet.

    :param place: as of :func:`places`
    :param rulesets: of the session
    :param sees_rules: whether the tracer saw which rules jumped and decided
    """
    packet = here(traversal, place)
    ruleset = chosen(rulesets, traversal, call)
    if ruleset.chains is None:
        return Explanation(traversal, call, packet, (), {}, ruleset.notes)
    walk = _Walk(packet, ruleset.chains, call, sees_rules=sees_rules)
    walk.base()
    return Explanation(traversal, call, packet, tuple(walk.told), walk.unreached, (*ruleset.notes, *walk.notes))


class _Judged(NamedTuple):
    """A rule compared with the packet.

    :param truth: whether it matched, ``None`` where that cannot be told
    :param why: what was compared
    :param verdicts: that it may give, each as nft lists it; one if it is known which
    :param sure: it gives a verdict whenever it matches
    """

    truth: bool | None
    why: tuple[str, ...]
    verdicts: tuple[Mapping[str, Any], ...] = ()
    sure: bool = True

    def may(self, kinds: Sequence[str]) -> bool:
        return any(kind in verdict for verdict in self.verdicts for kind in kinds)


class _Walk:
    """An evaluation, rule by rule.

    :ivar told: the rules that were evaluated
    :ivar unreached: as of an explanation
    """

    def __init__(self, packet: Here, chains: Chains, call: HookCall, *, sees_rules: bool) -> None:
        self.told: list[RuleTold] = []
        self.unreached: dict[str, int] = {}
        self.notes: list[str] = []
        self._packet, self._chains, self._call = packet, chains, call
        evaluation = call.evaluated if sees_rules else None
        # A handle of 0 was not seen; nor is it known which jumps came behind that one.
        self._jumped = list(takewhile(bool, evaluation.jumped)) if evaluation else []
        self._all_jumps = evaluation is not None and evaluation.jumps == len(self._jumped)
        self._decider = call.rule.handle if call.rule else None
        #: Whether it is known which rule decided, or that none did.
        self._decided = evaluation is not None and (call.rule is not None or call.policy)

    def base(self) -> None:
        """Walk from the base chain on."""
        ended = self._chain((self._call.chain or "").rpartition(" ")[2], 0)
        if self._jumped or (not ended and self._decider is not None):
            self.notes.append("what the kernel did does not fit the rules as they were listed: "
                              + (f"rule {self._decider} decided" if self._decider is not None else "it made more jumps"))

    def _chain(self, name: str, depth: int) -> bool:
        """Walk a chain.

        :returns: whether the evaluation ended there, or nothing more can be told of it
        """
        rules = self._chains.rules(name)
        for nth, rule in enumerate(rules):
            judged, self._packet = self._judged(rule)
            told, took = self._settled(name, rule, judged)
            self.told.append(told)
            if took is None:
                continue
            behind = len(rules) - nth - 1
            (kind, parts), = took.items()
            if kind not in (*_JUMPS, "return"):
                self.unreached |= {name: behind} if behind else {}
                return True
            if kind == "return":
                return False
            if depth == _DEEPEST or parts["target"] == "?":
                self.notes.append(f"what followed rule {rule['handle']} cannot be told")
                return True
            if self._chain(parts["target"], depth + 1):
                self.unreached |= {name: behind} if behind else {}
                return True
            if kind == "goto":
                return False
        return False

    def _settled(self, chain: str, rule: Mapping[str, Any], judged: _Judged) -> tuple[RuleTold, Mapping[str, Any] | None]:
        """What is told of a rule, and the verdict that it gave, if it gave one."""
        handle, text, seen = rule["handle"], rule["text"], self._seen(rule["handle"], judged)

        def told(state: State, *why: str, did: str = "") -> RuleTold:
            return RuleTold(chain, handle, text, state, why, did)

        if seen is False and judged.truth is True:
            return told("cannot tell", "all that was compared holds, and the kernel went on to the next rule"), None
        if seen is False or judged.truth is False:
            unsettled = judged.truth is None
            return told("not matched", *judged.why, *(["the kernel went on to the next rule"] * unsettled)), None
        if seen is None and judged.truth is None:
            if judged.may(("return", *_JUMPS)):
                self.notes.append(f"whether rule {handle} of {chain} led elsewhere cannot be told")
            return told("cannot tell", *judged.why), None
        if not judged.verdicts or (seen is None and not judged.sure):
            return told("matched", *judged.why), None
        took = judged.verdicts[0] if len(judged.verdicts) == 1 else self._followed(judged)
        return told("matched", *(judged.why if judged.truth else ()), did=_did(took)), took

    def _seen(self, handle: int, judged: _Judged) -> bool | None:
        """Whether the kernel took the rule's verdict, as the tracer saw it; ``None`` where that tells nothing of the rule."""
        jumps, ends = judged.may(_JUMPS), judged.may((*_ENDS, *_MAY_END))
        if not (jumps or ends):
            return None
        went_on = False if judged.sure else None
        if self._jumped:
            if jumps and handle == self._jumped[0] and judged.truth is not False:
                del self._jumped[0]
                return True
            return went_on
        if ends and self._decided and handle == self._decider:
            return True if judged.truth is not False else went_on
        known = (self._all_jumps or not jumps) and (self._decided or not ends)
        return went_on if known else None

    def _followed(self, judged: _Judged) -> Mapping[str, Any]:
        """Which of several verdicts it was: the jump to the chain that has the rule which was seen next."""
        following = self._jumped[0] if self._jumped else self._decider
        targets = [verdict for verdict in judged.verdicts for kind in _JUMPS if kind in verdict and following in
                   [rule["handle"] for rule in self._chains.rules(verdict[kind]["target"])]]
        ends = [verdict for verdict in judged.verdicts if not any(kind in verdict for kind in _JUMPS)]
        found = targets if judged.may(_JUMPS) and targets else ends
        return found[0] if len(found) == 1 else {"jump": {"target": "?"}} if judged.may(_JUMPS) else {"?": None}

    def _judged(self, rule: Mapping[str, Any]) -> tuple[_Judged, Here]:
        """A rule compared with the packet, and the packet behind it."""
        if rule["handle"] in self._chains.changed:
            return _Judged(None, ("the rule was changed between two listings, and the packet came between them",),
                           tuple(_verdicts(rule["expr"], self._chains)), sure=False), self._packet
        try:
            return _compared(self._packet, rule["expr"], self._chains)
        except MALFORMED:
            return _Judged(None, ("its listing is not understood",)), self._packet


def _did(verdict: Mapping[str, Any]) -> str:
    (kind, parts), = verdict.items()
    return f"{'jumped' if kind == 'jump' else 'went'} to {parts['target']}" if kind in _JUMPS else (
        "returned" if kind == "return" else "decided" if kind == "?" else f"decided: {kind}")


def _verdicts(expression: Sequence[Mapping[str, Any]], chains: Chains) -> Iterator[Mapping[str, Any]]:
    """All verdicts that a rule may give."""
    for statement in expression:
        (kind, parts), = statement.items()
        if kind in (*_ENDS, *_JUMPS, "return") or _may_end(kind, parts):
            yield statement
        elif kind == "vmap":
            yield from (verdict for _, verdict in _map(parts, chains) if "continue" not in verdict)


def _compared(packet: Here, expression: Sequence[Mapping[str, Any]], chains: Chains) -> tuple[_Judged, Here]:
    """What :class:`_Judged` says; statements behind one that does not hold are not executed."""
    why, unsettled = list[str](), list[str]()
    verdicts, sure = tuple(_verdicts(expression, chains)), True
    for statement in expression:
        (kind, parts), = statement.items()
        held = Held(truth=True, why="")
        if kind == "match":
            held = holds(packet, parts, chains.elements)
        elif kind == "vmap":
            held, verdict = looked_up(packet, parts, chains.elements)
            if verdict is not None:
                verdicts = () if "continue" in verdict else (verdict,)
            sure = verdict is not None or not any(kind in each for _, each in _map(parts, chains) for kind in ("continue", "return"))
        elif kind in ("mangle", "notrack"):
            packet, held = _written(packet, kind, parts, certain=not unsettled)
        elif _may_end(kind, parts) or (kind not in (*_ENDS, *_JUMPS, *_GO_ON, "return") and parts != _COMMENT):
            sure = sure and not _may_end(kind, parts)
            held = Held(truth=None, why=f"{_called(kind, parts)} is not recorded")
        if held.truth is False:
            return _Judged(False, (held.why,), verdicts, sure), packet
        (unsettled if held.truth is None else why).extend(filter(None, (held.why,)))
    return _Judged(None, tuple(unsettled), verdicts, sure) if unsettled else _Judged(True, tuple(why), verdicts, sure), packet


def _may_end(kind: str, parts: Any) -> bool:
    return kind in _MAY_END and (kind != "xt" or parts["type"] == "target")


def _map(parts: Mapping[str, Any], chains: Chains) -> Sequence[Any]:
    """The elements of a verdict map: key and verdict."""
    data = parts["data"]
    return chains.listed(data) if isinstance(data, str) else data["set"]


def _called(kind: str, parts: Any) -> str:
    """A statement in words: what it depends on."""
    if kind == "xt":
        return f"what xtables' {parts['type']} {parts['name']} made of it"
    return {"limit": "the state of its limit", "quota": "the state of its quota", "ct count": "the number of connections",
            "set": "whether the set took the element", "tproxy": "whether tproxy found a socket",
            "flow": "whether the flow table took the connection"}.get(kind, f"what '{kind}' did")


def _written(packet: Here, kind: str, parts: Any, *, certain: bool) -> tuple[Here, Held]:
    """The packet behind a statement that writes.

    :param certain: whether it was executed for certain
    """
    done = Held(truth=True, why="")
    if kind == "notrack":
        return packet._replace(connection="untracked") if certain and packet.connection == "none" else packet, done
    (what, target), = parts["key"].items()
    maps = isinstance(parts["value"], dict) and "map" in parts["value"]
    held = Held(truth=None, why="whether its map has an element is not known") if maps else done
    if what == "payload" and "field" in target:
        return packet._replace(rewritten=packet.rewritten | {(target["protocol"], target["field"])}), held
    if what == "meta" and target["key"] == "mark":
        try:
            value = evaluated(packet, parts["value"]) if certain and not maps else None
        except NotThere as missing:
            return packet, Held(truth=False, why=str(missing))
        except NotSeen:
            value = None
        return packet._replace(mark=value if isinstance(value, int) else None), held
    return packet, held
