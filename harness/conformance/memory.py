"""No memory: ``nf_hook_entries_grow`` (l.128-130), ``__nf_hook_entries_try_shrink`` (l.249-250), and the dummy slots that it leaves."""

from __future__ import annotations

import errno

from harness.conformance.expect import Array, At, Crosses, PrivateArray, Ran, Returns, Splats
from harness.conformance.rule import Rule, script
from harness.netfilter import Family
from harness.scenario.steps.batches import RegisterAgain, RegisterBatch, UnregisterAbsent, UnregisterBatch
from harness.scenario.steps.hooks import Dump, Register, RegisterMany, Unregister
from harness.scenario.steps.packets import Send
from harness.scenario.steps.raw import RawDelete, RawInsert, RawRun

__all__ = ("RULES",)

_V4, _V6, _INET = Family.IPV4, Family.IPV6, Family.INET
_IN, _IN6 = ("host", _V4, "INPUT"), ("host", _V6, "INPUT")
_INGRESS = ("host", Family.NETDEV, "INGRESS")
_NEEDS = ("failing_allocations",)
_FULL = 1024
_GO = 7
_OF_A_BATCH = 32
"""As many allocations as a step can make fail."""
_BATCHES = [tuple(Register(f"{batch}.{number}", *_IN) for number in range(_OF_A_BATCH)) for batch in range(256 // _OF_A_BATCH)]


def _at(hooks: str, pf: Family = _V4) -> Crosses:
    return Crosses((At("host", "INPUT", hooks, pf=pf),))


GROW = (
    Rule("grow.enomem", "No memory for the larger array: -ENOMEM; the array, its order and its traffic stay as they are.", (
        script(
            "grow.enomem",
            Register("a", *_IN, 0),
            Register("b", *_IN, 1),
            Register("refused", *_IN, -1, fail=(0,)),
            Returns(errno.ENOMEM),
            Array(*_IN, "a b"),
            Send("peer", "host", cookie=1),
            _at("a b"),
            Register("later", *_IN, -1),
            Returns(0),
            Array(*_IN, "later a b"),
        ),
        script(
            "grow.enomem, of an empty point",
            Register("refused", *_IN, fail=(0,)),
            Returns(errno.ENOMEM),
            Array(*_IN, ""),
            Register("device", *_INGRESS, device="eth0", fail=(0,)),
            Returns(errno.ENOMEM),
            Array(*_INGRESS, "", "eth0"),
            Send("peer", "host", cookie=1),
            Crosses(()),
        ),
        script(
            "grow.enomem, of the same ops once more",
            Register("a", *_IN),
            RegisterAgain("a", fail=(0,)),
            Returns(errno.ENOMEM),
            Array(*_IN, "a"),
            Unregister("a"),
            Array(*_IN, ""),
        ),
    ), needs=("netdev", *_NEEDS)),
    Rule("grow.drops-dummies", "A registration copies live hooks only: dummies that failed shrinks left behind are gone after it.", (
        script(
            "grow.drops-dummies, among equals",
            Register("a", *_IN, 0),
            Register("b", *_IN, 1),
            Unregister("a", fail=(0,)),
            Register("new", *_IN, 1),
            Array(*_IN, "new b"),
        ),
        script(
            "grow.drops-dummies",
            *(Register(name, *_IN, priority) for name, priority in (("a", 0), ("b", 1), ("c", 2), ("d", 3))),
            Unregister("b", fail=(0,)),
            Unregister("d", fail=(0,)),
            Array(*_IN, "a dummy c dummy"),
            Register("new", *_IN, 1),
            Array(*_IN, "a new c"),
            Send("peer", "host", cookie=1),
            _at("a new c"),
        ),
        script(
            "grow.drops-dummies, but not without memory",
            *(Register(name, *_IN, priority) for name, priority in (("a", 0), ("b", 1))),
            Unregister("a", fail=(0,)),
            Register("refused", *_IN, 2, fail=(0,)),
            Returns(errno.ENOMEM),
            Array(*_IN, "dummy b"),
        ),
    ), needs=_NEEDS),
    Rule("limit.dummies", "Dummies do not count: at a point of 1024 slots as many hooks fit as there are dummies; one of dummies only is "
         "emptied, however many they are.", (
        script(
            "limit.dummies",
            RegisterBatch("host", tuple(Register(f"goes.{number}", *_IN, number % 2) for number in range(_GO))),
            RegisterMany("full", *_IN, _FULL - _GO),
            Unregister(f"full.{_FULL - _GO}", fail=(0,)),
            Register("fits", *_IN, 1),
            Returns(0),
            UnregisterBatch("goes.0", fail=tuple(range(_GO))),
            RegisterBatch("host", tuple(Register(f"new.{number}", *_IN, 2) for number in range(_GO))),
            Returns(0),
            Array(*_IN, " ".join([*(f"full.{number}" for number in range(_FULL - _GO - 1, 0, -1)), "fits",
                                  *(f"new.{number}" for number in range(_GO - 1, -1, -1))])),
            Register("too-many", *_IN, 1),
            Returns(errno.E2BIG),
        ),
        script(
            "limit.dummies, nothing else",
            *(RegisterBatch("host", batch) for batch in _BATCHES),
            *(UnregisterBatch(batch[0].id, fail=tuple(range(_OF_A_BATCH))) for batch in _BATCHES[1:]),
            UnregisterBatch(_BATCHES[0][0].id, fail=tuple(range(_OF_A_BATCH - 1))),
            Array(*_IN, ""),
        ),
    ), needs=_NEEDS),
)

INET = (
    Rule("inet.enomem", "No memory for the IPV6 half of an NFPROTO_INET hook: the IPV4 half is taken out again, -ENOMEM.", (
        script(
            "inet.enomem",
            Register("v4", *_IN),
            Register("v6", *_IN6),
            Register("both", "host", _INET, "INPUT", fail=(1,)),
            Returns(errno.ENOMEM),
            Array(*_IN, "v4"),
            Array(*_IN6, "v6"),
            Send("peer", "host", cookie=1),
            _at("v4"),
        ),
        script(
            "inet.enomem, not even to take it out",
            Register("v4", *_IN, 1),
            Register("both", "host", _INET, "INPUT", 0, fail=(1, 2)),
            Returns(errno.ENOMEM),
            Array(*_IN, "dummy v4"),
            Array(*_IN6, ""),
            Send("peer", "host", cookie=1),
            _at("v4"),
        ),
        script(
            "inet.enomem, of the first half",
            Register("both", "host", _INET, "INPUT", fail=(0,)),
            Returns(errno.ENOMEM),
            Array(*_IN, ""),
            Array(*_IN6, ""),
        ),
    ), needs=_NEEDS),
    Rule("inet.ingress-enomem", "No memory for an NFPROTO_INET hook at INGRESS: -ENOMEM; the device's array stays as it is.", (
        script(
            "inet.ingress-enomem",
            Register("refused", "host", _INET, "INGRESS", device="eth0", fail=(0,)),
            Returns(errno.ENOMEM),
            Array(*_INGRESS, "", "eth0"),
            Register("netdev", *_INGRESS, device="eth0"),
            Register("refused-too", "host", _INET, "INGRESS", -1, device="eth0", fail=(0,)),
            Returns(errno.ENOMEM),
            Array(*_INGRESS, "netdev", "eth0"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INGRESS", "netdev", pf=Family.NETDEV),)),
        ),
    ), needs=("netdev", "inet_ingress", *_NEEDS)),
    Rule("inet.failed-shrinks", "An NFPROTO_INET hook goes, IPv4's array first: the one that cannot shrink keeps a dummy, or both do.", (
        script(
            "inet.failed-shrinks, the first one",
            Register("v4", *_IN, 1),
            Register("v6", *_IN6, 1),
            Register("both", "host", _INET, "INPUT"),
            Unregister("both", fail=(0,)),
            Array(*_IN, "dummy v4"),
            Array(*_IN6, "v6"),
        ),
        script(
            "inet.failed-shrinks",
            Register("v4", *_IN, 1),
            Register("v6", *_IN6, -1),
            Register("both", "host", _INET, "INPUT", 0),
            Unregister("both", fail=(0, 1)),
            Array(*_IN, "dummy v4"),
            Array(*_IN6, "v6 dummy"),
            Send("peer", "host", cookie=1),
            _at("v4"),
            Send("peer", "host", cookie=2, pf=_V6),
            _at("v6", _V6),
        ),
    ), needs=_NEEDS),
)

SHRINK = (
    Rule("unregister.failed-shrink", "No memory for the smaller array: a dummy stays in the hook's place, which accepts.", (
        script(
            "unregister.failed-shrink",
            *(Register(name, *_IN, priority) for name, priority in (("a", 0), ("b", 1), ("c", 2))),
            Unregister("b", fail=(0,)),
            Returns(0),
            Array(*_IN, "a dummy c"),
            Send("peer", "host", cookie=1),
            _at("a c"),
            Unregister("a", fail=(0,)),
            Array(*_IN, "dummy dummy c"),
            Send("peer", "host", cookie=2, source_port=40001),
            _at("c"),
        ),
        script(
            "unregister.failed-shrink, at a device",
            *(Register(name, *_INGRESS, priority, device="eth0") for name, priority in (("a", 0), ("b", 1))),
            Unregister("a", fail=(0,)),
            Array(*_INGRESS, "dummy b", "eth0"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INGRESS", "b", pf=Family.NETDEV),)),
            Unregister("b"),
            Array(*_INGRESS, "", "eth0"),
        ),
    ), needs=("netdev", *_NEEDS)),
    Rule("unregister.drops-dummies", "A shrink with memory drops all dummies; when nothing else is left, the head becomes empty.", (
        script(
            "unregister.drops-dummies, and keeps the order",
            *(Register(name, *_IN, priority) for priority, name in enumerate("abcd")),
            Unregister("a", fail=(0,)),
            Unregister("b"),
            Array(*_IN, "c d"),
            Send("peer", "host", cookie=1),
            _at("c d"),
        ),
        script(
            "unregister.drops-dummies",
            *(Register(name, *_IN, priority) for name, priority in (("a", 0), ("b", 1), ("c", 2), ("d", 3))),
            Unregister("a", fail=(0,)),
            Unregister("c", fail=(0,)),
            Array(*_IN, "dummy b dummy d"),
            Unregister("b"),
            Array(*_IN, "d"),
            Send("peer", "host", cookie=1),
            _at("d"),
        ),
        script(
            "unregister.drops-dummies, the last one needs no memory",
            *(Register(name, *_IN, priority) for name, priority in (("a", 0), ("b", 1), ("c", 2))),
            Unregister("a", fail=(0,)),
            Unregister("b", fail=(0,)),
            Unregister("c", fail=(0,)),
            Array(*_IN, ""),
            Send("peer", "host", cookie=1),
            Crosses(()),
        ),
    ), needs=_NEEDS),
    Rule("unregister.missing-shrinks", "Unregistering what is not there warns; dummies that lie about go with it.", (
        script(
            "unregister.missing-shrinks",
            *(Register(name, *_IN, priority) for name, priority in (("a", 0), ("b", 1))),
            Unregister("a", fail=(0,)),
            UnregisterAbsent(*_IN),
            Splats(("hook not found, pf 2 num 1",)),
            Array(*_IN, "b"),
        ),
        script(
            "unregister.missing-shrinks, not without memory",
            *(Register(name, *_IN, priority) for name, priority in (("a", 0), ("b", 1))),
            Unregister("a", fail=(0,)),
            UnregisterAbsent(*_IN, fail=(0,)),
            Splats(("hook not found, pf 2 num 1",)),
            Array(*_IN, "dummy b"),
        ),
    ), needs=_NEEDS),
)

BATCHES = (
    Rule("batch.enomem", "No memory for one hook of a batch: those before it are gone again, -ENOMEM.", (
        script(
            "batch.enomem",
            Register("own", *_IN, 0),
            RegisterBatch("host", (Register("a", *_IN, -1), Register("b", *_IN6), Register("c", *_IN, 1)), fail=(2,)),
            Returns(errno.ENOMEM),
            Array(*_IN, "own"),
            Array(*_IN6, ""),
            Send("peer", "host", cookie=1),
            _at("own"),
        ),
        script(
            "batch.enomem, not even to take them out",
            Register("own", *_IN, 0),
            RegisterBatch("host", (Register("a", *_IN, -1), Register("b", *_IN, 1)), fail=(1, 2)),
            Returns(errno.ENOMEM),
            Array(*_IN, "dummy own"),
            RegisterBatch("host", (Register("c", *_IN, 1), Register("d", *_IN, 2))),
            Returns(0),
            Array(*_IN, "own c d"),
            UnregisterBatch("c", fail=(0, 1)),
            Returns(0),
            Array(*_IN, "own dummy dummy"),
        ),
        script(
            "batch.enomem, rolled back from its first on",
            Register("own", *_IN, 0),
            RegisterBatch("host", (Register("a", *_IN, -1), Register("b", *_IN, 1), Register("c", *_IN, 2)), fail=(2, 4)),
            Returns(errno.ENOMEM),
            Array(*_IN, "own dummy"),
        ),
        script(
            "batch.enomem, taken out from its first on",
            Register("own", *_IN, 0),
            RegisterBatch("host", (Register("a", *_IN, -1), Register("b", *_IN, 1))),
            Array(*_IN, "a own b"),
            UnregisterBatch("a", fail=(1,)),
            Array(*_IN, "own dummy"),
        ),
    ), needs=_NEEDS),
)

RAW = (
    Rule("raw.enomem", "A private array that finds no memory: it does not grow, -ENOMEM, or it keeps a dummy.", (
        script(
            "raw.enomem",
            *(RawInsert(name, "host", "own", priority) for name, priority in (("a", 0), ("b", 1), ("c", 2))),
            RawInsert("refused", "host", "own", fail=(0,)),
            Returns(errno.ENOMEM),
            PrivateArray("host", "own", "a b c"),
            RawDelete("b", fail=(0,)),
            PrivateArray("host", "own", "a dummy c"),
            RawRun("host", "own"),
            Ran("a c", 1),
            RawRun("host", "own", 1),
            Ran("c", 1),
            RawDelete("a"),
            PrivateArray("host", "own", "c"),
        ),
        script(
            "raw.enomem, of the first hook",
            RawInsert("refused", "host", "own", fail=(0,)),
            Returns(errno.ENOMEM),
            PrivateArray("host", "own", ""),
            RawInsert("a", "host", "own"),
            RawDelete("a", fail=(0,)),
            PrivateArray("host", "own", ""),
        ),
    ), needs=_NEEDS),
    Rule("dummy.accepts", "A dummy's function, accept_all, accepts: the loop goes on behind it, whatever the start.", (
        script(
            "dummy.accepts",
            *(RawInsert(name, "host", "own", priority) for name, priority in (("a", 0), ("b", 1))),
            RawDelete("a", fail=(0,)),
            RawRun("host", "own"),
            Ran("b", 1),
            *(Register(name, *_IN, priority) for name, priority in (("first", 0), ("gone", 1), ("last", 2))),
            Unregister("gone", fail=(0,)),
            Dump(*_IN),
            Array(*_IN, "first dummy last"),
            Send("peer", "host", cookie=1),
            _at("first last"),
        ),
    ), needs=_NEEDS),
)

RULES = (*GROW, *INET, *SHRINK, *BATCHES, *RAW)
