"""Private arrays: ``nf_hook_entries_insert_raw``, ``nf_hook_entries_delete_raw``, and ``nf_hook_slow`` with any verdict, from any slot.

No packet of the stack's is at stake: the module makes one, keeps a reference, and looks afterwards whether core freed it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.conformance.expect import Expectation, Finds, PrivateArray, Ran, Returns, Splats
from harness.conformance.rule import Rule, Script, script
from harness.netfilter import PRIORITY_MAX, PRIORITY_MIN, Verdict, VerdictKind
from harness.scenario.step import Step
from harness.scenario.steps.raw import RawAlter, RawDelete, RawInsert, RawList, RawRun
from harness.scenario.topology import SINGLE

__all__ = ("RULES",)

_A, _B = ("host", "a"), ("host", "b")
_FULL = " ".join(f"full.{number}" for number in range(1024, 0, -1))
_WARNING = "net/netfilter/core.c"
_MANY = 40
_BEFORE = " ".join(f"before.{number}" for number in range(_MANY, 0, -1))


def _tried(name: str, verdict: int, ran: Ran, *splats: str, before: int = 1) -> Script:
    """One hook with that verdict between others that accept; and as the first, the last and the only one of its array.

    :param before: so many before it
    """
    def at(place: str, *others: str) -> Iterator[Step | Expectation]:
        """An array without some of the others."""
        left_out = {f"{other}{place}" for other in others}
        hooks = (RawInsert(f"before{place}", "host", f"a{place}", -1, count=before),
                 RawInsert(f"tried{place}", "host", f"a{place}", 0, verdict), RawInsert(f"after{place}", "host", f"a{place}", 1))
        yield from (hook for hook in hooks if hook.id not in left_out)
        yield RawRun("host", f"a{place}")
        called = [f"{label.partition('.')[0]}{place}{''.join(label.partition('.')[1:])}" for label in ran.hooks.split()]
        yield replace(ran, hooks=" ".join(label for label in called if label.partition(".")[0] not in left_out))
        yield Splats(splats)

    others = (at("-first", "before"), at("-last", "after"), at("-alone", "before", "after")) if before == 1 else ()
    return script(name, *at(""), *(line for each in others for line in each), topology=SINGLE)


def _drop(number: int) -> int:
    return Verdict(VerdictKind.DROP, errno=number).encode()


_SIZES = [f"h{number}" for number in range(33)]
_SIZES_AT = {name: number * 13 % 33 for number, name in enumerate(_SIZES)}
_GO = _SIZES[::3] + _SIZES[2::3] + _SIZES[1::3]
"""In which order they go: the first, the last and some between."""


def _in_order(names: Sequence[str]) -> str:
    return " ".join(sorted(names, key=_SIZES_AT.__getitem__))


ARRAYS = (
    Rule("raw.insert", "A private array has the order of any: ascending priorities, the newest first among equal ones.", (
        script(
            "raw.insert",
            *(RawInsert(name, *_A, priority) for name, priority in
              (("older", 0), ("newer", 0), ("last", PRIORITY_MAX), ("first", PRIORITY_MIN), ("between", -1))),
            PrivateArray(*_A, "first between newer older last"),
            RawRun(*_A),
            Ran("first between newer older last", 1),
            Splats(),
            topology=SINGLE,
        ),
    )),
    Rule("validate.altered", "Hooks whose owner has changed their priorities stay where they are; each array made of them warns of each "
         "that is out of order.", (
        script(
            "validate.altered",
            *(RawInsert(name, *_A, priority) for priority, name in enumerate("abc")),
            RawAlter("a", 5),
            Splats(),
            PrivateArray(*_A, "a b c"),
            RawRun(*_A),
            Ran("a b c", 1),
            RawInsert("d", *_A, 3),
            PrivateArray(*_A, "d a b c"),
            Splats((_WARNING,) * 2),
            RawInsert("e", *_A, 6),
            PrivateArray(*_A, "d a b c e"),
            Splats((_WARNING,) * 2),
            RawAlter("b", PRIORITY_MAX),
            RawDelete("d"),
            PrivateArray(*_A, "a b c e"),
            Splats((_WARNING,) * 2),
            RawAlter("b", 5),
            RawAlter("c", 5),
            Splats(),
            RawInsert("f", *_A, 5),
            PrivateArray(*_A, "f a b c e"),
            Splats(),
            RawRun(*_A),
            Ran("f a b c e", 1),
            topology=SINGLE,
        ),
        script(
            "validate.altered, an array of two, below 0",
            *(RawInsert(name, *_A, priority) for name, priority in (("a", -9), ("b", -8), ("c", -7))),
            RawAlter("a", -2),
            RawDelete("c"),
            PrivateArray(*_A, "a b"),
            Splats((_WARNING,)),
            topology=SINGLE,
        ),
        script(
            "validate.altered, a long array",
            RawInsert("many", *_A, 0, count=12),
            RawInsert("last", *_A, 1),
            RawAlter("many.1", 5),
            RawInsert("new", *_A, 9),
            Splats((_WARNING,)),
            topology=SINGLE,
        ),
    ), needs=("hooks_validated",)),
    Rule("raw.limit", "A private array takes 1024 hooks; one more gets -E2BIG and changes nothing; after a removal one fits.", (
        script(
            "raw.limit",
            RawInsert("full", *_A, count=1024),
            Returns(0),
            RawInsert("too-many", *_A, -1),
            Returns(errno.E2BIG),
            PrivateArray(*_A, _FULL),
            RawInsert("neighbour", *_B),
            Returns(0),
            RawRun(*_A),
            Ran(_FULL, 1),
            RawDelete("full.512"),
            RawInsert("fits", *_A, -1),
            Returns(0),
            PrivateArray(*_A, f"fits {_FULL}".replace(" full.512 ", " ")),
            topology=SINGLE,
        ),
    )),
    Rule("raw.delete", "Deleting a hook from a private array leaves no dummy and keeps the order; the last one leaves none.", (
        script(
            "raw.delete",
            *(RawInsert(name, *_A, priority) for name, priority in (("a", 1), ("b", 2), ("c", 2), ("d", 3))),
            RawDelete("c"),
            PrivateArray(*_A, "a b d"),
            RawRun(*_A),
            Ran("a b d", 1),
            RawDelete("a"),
            PrivateArray(*_A, "b d"),
            RawDelete("d"),
            RawDelete("b"),
            PrivateArray(*_A, ""),
            Splats(),
            RawInsert("new", *_A),
            PrivateArray(*_A, "new"),
            topology=SINGLE,
        ),
    )),
    Rule("raw.every-size", "Of each size from 1 to 33 a larger array has the hooks of the smaller one, a smaller one those of the larger, "
         "and every hook runs.", (
        script(
            "raw.every-size",
            *(line for size in range(1, len(_SIZES) + 1) for line in (
                RawInsert(_SIZES[size - 1], *_A, _SIZES_AT[_SIZES[size - 1]]), Returns(0), RawRun(*_A), Ran(_in_order(_SIZES[:size]), 1))),
            *(line for size in range(1, len(_SIZES)) for line in (
                RawDelete(_GO[size - 1]), PrivateArray(*_A, _in_order(_GO[size:])), RawRun(*_A), Ran(_in_order(_GO[size:]), 1))),
            topology=SINGLE,
        ),
    )),
    Rule("raw.missing", "Deleting from a private array what is not there changes nothing and does not warn.", (
        script(
            "raw.missing",
            RawInsert("one", *_A, 0),
            RawInsert("two", *_A, 1),
            RawInsert("elsewhere", *_B),
            RawDelete("elsewhere", "a"),
            Returns(0),
            Splats(),
            PrivateArray(*_A, "one two"),
            RawRun(*_A),
            Ran("one two", 1),
            RawRun(*_B),
            Ran("elsewhere", 1),
            topology=SINGLE,
        ),
    )),
    Rule("start-index", "nf_hook_slow from slot s on skips the hooks before it; behind the last it returns 1.", (
        script(
            "start-index",
            *(RawInsert(name, *_A, priority) for name, priority in (("first", 0), ("second", 1), ("third", 2))),
            RawRun(*_A, 0),
            Ran("first second third", 1),
            RawRun(*_A, 1),
            Ran("second third", 1),
            RawRun(*_A, 2),
            Ran("third", 1),
            RawRun(*_A, 3),
            Ran("", 1),
            RawRun(*_A, 4000),
            Ran("", 1),
            topology=SINGLE,
        ),
        script(
            "start-index, a drop",
            RawInsert("first", *_A, 0, _drop(errno.EACCES)),
            RawInsert("second", *_A, 1, _drop(errno.ENOENT)),
            RawRun(*_A, 1),
            Ran("second", -errno.ENOENT, freed=True),
            topology=SINGLE,
        ),
    )),
)

_KINDS = [(kind.name, kind) for kind in (VerdictKind.DROP, VerdictKind.ACCEPT, VerdictKind.STOLEN)]

VERDICTS = (
    Rule("accept.high-bits", "Only the low byte decides: ACCEPT with other bits set goes on.", (
        _tried("accept.high-bits", 0xFFFF8000 | VerdictKind.ACCEPT, Ran("before tried after", 1)),
        _tried("accept.high-bits, the lowest of them", 0x100 | VerdictKind.ACCEPT, Ran("before tried after", 1)),
    )),
    Rule("drop.frees", "DROP frees the skb, and that once; with an errno and without.", (
        _tried("drop.frees", VerdictKind.DROP, Ran("before tried", -errno.EPERM, freed=True)),
        _tried("drop.frees, with an errno", _drop(errno.EHOSTUNREACH), Ran("before tried", -errno.EHOSTUNREACH, freed=True)),
        _tried("drop.frees, with the largest errno", _drop(0x7FFF), Ran("before tried", -0x7FFF, freed=True)),
        _tried("drop.frees, behind many", _drop(errno.EACCES), Ran(f"{_BEFORE} tried", -errno.EACCES, freed=True), before=_MANY),
        _tried("drop.frees, with flags beside the errno", _drop(errno.EHOSTUNREACH) | 0x8000,
               Ran("before tried", -errno.EHOSTUNREACH, freed=True)),
    )),
    Rule("drop.positive", "A DROP whose upper bits read as a negative errno frees the skb and returns a positive number.", (
        _tried("drop.positive", 0xFFFF << 16, Ran("before tried", 1, freed=True)),
        _tried("drop.positive, the other end", 0x8000 << 16, Ran("before tried", 0x8000, freed=True)),
    )),
    Rule("stolen.keeps", "STOLEN ends the loop with 0, and core does not free the skb.", (
        _tried("stolen.keeps", VerdictKind.STOLEN, Ran("before tried", 0)),
        _tried("stolen.keeps, behind many", VerdictKind.STOLEN, Ran(f"{_BEFORE} tried", 0), before=_MANY),
    )),
    Rule("stolen.errno-range", "STOLEN returns any errno that fits into its upper 16 bits, negated; they have a sign.", (
        _tried("stolen.errno-range", Verdict(VerdictKind.STOLEN, errno=0x7FFF).encode(), Ran("before tried", -0x7FFF)),
        _tried("stolen.errno-range, a negative one", 0xFFFF << 16 | VerdictKind.STOLEN, Ran("before tried", 1)),
        _tried("stolen.errno-range, the smallest", 0x8000 << 16 | VerdictKind.STOLEN, Ran("before tried", 0x8000)),
    ), needs=("stolen_errno",)),
    Rule("repeat", "REPEAT has no case in nf_hook_slow: it ends the loop with 0 and nobody frees the skb.", (
        _tried("repeat", VerdictKind.REPEAT, Ran("before tried", 0), _WARNING),
    ), needs=("unknown_verdict_warns",)),
    Rule("stop", "STOP has no case in nf_hook_slow: it ends the loop with 0 and nobody frees the skb.", (
        _tried("stop", VerdictKind.STOP, Ran("before tried", 0), _WARNING),
    ), needs=("unknown_verdict_warns",)),
    Rule("unknown", "A verdict that nobody knows ends the loop with 0, and nobody frees the skb; the kernel warns once.", (
        script(
            "unknown, of each packet of a list",
            RawInsert("a", *_A, 0, 0x12340042),
            RawList(*_A, 3),
            Splats((_WARNING,)),
            topology=SINGLE,
        ),
        _tried("unknown", 0x12340042, Ran("before tried", 0), _WARNING),
        _tried("unknown, behind many", 0x12340042, Ran(f"{_BEFORE} tried", 0), _WARNING, before=_MANY),
        _tried("unknown, the largest", 0xFF, Ran("before tried", 0), _WARNING),
        *(_tried(f"unknown, {name} and the byte's highest bit", 0x80 | kind, Ran("before tried", 0), _WARNING) for name, kind in _KINDS),
    ), needs=("unknown_verdict_warns",)),
    Rule("default.silent", "Verdicts without a case end the loop with 0 in the default case, without a warning.", (
        _tried("default.silent, REPEAT", VerdictKind.REPEAT, Ran("before tried", 0)),
        _tried("default.silent, STOP", VerdictKind.STOP, Ran("before tried", 0)),
        _tried("default.silent, unknown", 0x12340042, Ran("before tried", 0)),
        *(_tried(f"default.silent, {name} and the byte's highest bit", 0x80 | kind, Ran("before tried", 0)) for name, kind in _KINDS),
    ), needs=("unknown_verdict_silent",)),
    Rule("queue.frees", "QUEUE with nobody who listens frees the skb and ends the loop with 0; with the bypass flag it goes on.", (
        _tried("queue.frees", Verdict(VerdictKind.QUEUE, queue=9).encode(), Ran("before tried", 0, freed=True)),
        _tried("queue.frees, bypass", Verdict(VerdictKind.QUEUE, queue=9, bypass=True).encode(), Ran("before tried after", 1)),
        _tried("queue.frees, behind many", Verdict(VerdictKind.QUEUE, queue=9).encode(), Ran(f"{_BEFORE} tried", 0, freed=True),
               before=_MANY),
        _tried("queue.frees, bypass behind many", Verdict(VerdictKind.QUEUE, queue=9, bypass=True).encode(),
               Ran(f"{_BEFORE} tried after", 1), before=_MANY),
    )),
)

def _list(name: str, hooks: Sequence[RawInsert], packets: int, calls: str, *, passed: str, freed: str = "") -> Script:
    """A list crosses an array.

    :param calls: ``1: a b, 2: a``
    :param passed: packets that come out, in order
    :param freed: by core
    """
    return script(
        name, *hooks, RawList(*_A, packets),
        Finds((("calls", calls), ("passed", passed or "none"), ("freed", freed or "none"), ("linked", "none"),
                ("altered", 0))), Splats(),
        RawList(*_A, 1), Returns(0),
        topology=SINGLE,
    )


def _stopped(name: str, verdict: int, *packets: int, freed: bool) -> Script:
    """A list of five packets, some of which get a verdict of the second of three hooks."""
    last = len(packets) + 1
    guards = [RawInsert(f"stop-{packet}", *_A, place, verdict, packet=packet) for place, packet in enumerate(packets, 1)]
    called = []
    for packet in range(1, 6):
        way = [guard.id for guard in guards if packet not in packets or guard.priority <= packets.index(packet) + 1]
        called.append(f"{packet}: {' '.join(['before', *way, *(['after'] if packet not in packets else [])])}")
    stopped = " ".join(map(str, sorted(packets)))
    return _list(name, [RawInsert("before", *_A, 0), *guards, RawInsert("after", *_A, last)], 5, ", ".join(called),
                 passed=" ".join(str(packet) for packet in range(1, 6) if packet not in packets), freed=stopped if freed else "")


_QUEUED = Verdict(VerdictKind.QUEUE, queue=9)

LISTS = (
    Rule("list.order", "A list keeps its order: each packet crosses all hooks, alone, before the next one does; they go on as they came.", (
        _list("list.order", [RawInsert(name, *_A, priority) for name, priority in (("a", 0), ("b", 1))], 5,
              "1: a b, 2: a b, 3: a b, 4: a b, 5: a b", passed="1 2 3 4 5"),
        _list("list.order, of one hook", [RawInsert("a", *_A)], 16, ", ".join(f"{packet}: a" for packet in range(1, 17)),
              passed=" ".join(map(str, range(1, 17)))),
        _list("list.order, of one packet", [RawInsert("a", *_A), RawInsert("b", *_A, 1)], 1, "1: a b", passed="1"),
    )),
    Rule("list.verdicts", "What of a list is dropped, stolen or queued ends there and then; what is before and behind it goes on.", (
        _stopped("list.verdicts, the first dropped", VerdictKind.DROP, 1, freed=True),
        _stopped("list.verdicts, one between dropped", _drop(errno.EACCES), 3, freed=True),
        _stopped("list.verdicts, dropped with a positive number", 0x8000 << 16, 2, 5, freed=True),
        _stopped("list.verdicts, the last dropped", VerdictKind.DROP, 5, freed=True),
        _stopped("list.verdicts, several dropped", VerdictKind.DROP, 1, 2, 4, freed=True),
        _stopped("list.verdicts, all dropped", VerdictKind.DROP, 1, 2, 3, 4, 5, freed=True),
        _stopped("list.verdicts, stolen", VerdictKind.STOLEN, 2, 5, freed=False),
        _stopped("list.verdicts, nobody listens", _QUEUED.encode(), 1, 4, freed=True),
        _list("list.verdicts, bypass", [RawInsert("a", *_A, 0, Verdict(VerdictKind.QUEUE, queue=9, bypass=True).encode(), packet=2),
                                        RawInsert("b", *_A, 1)], 3, "1: a b, 2: a b, 3: a b", passed="1 2 3"),
    )),
)

RULES = (*ARRAYS, *VERDICTS, *LISTS)
