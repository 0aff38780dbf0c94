"""Built-in scenarios without a packet: the verdict loop over private arrays, where any verdict can be tried."""

from __future__ import annotations

import errno

from harness.netfilter import PRIORITY_MAX, PRIORITY_MIN, Verdict, VerdictKind
from harness.scenario.step import Scenario, Step
from harness.scenario.steps.raw import RawDelete, RawInsert, RawRun
from harness.scenario.topology import SINGLE

__all__ = ("RAW",)


def _scenario(name: str, summary: str, *steps: Step) -> Scenario:
    return Scenario(name, summary, SINGLE, steps)


def _tried(array: str, verdict: int) -> tuple[Step, ...]:
    """One verdict between two hooks that accept."""
    return (RawInsert(f"{array} before", "host", array, -1), RawInsert(array, "host", array, 0, verdict),
            RawInsert(f"{array} after", "host", array, 1), RawRun("host", array))


RAW = (
    _scenario("raw-verdicts", "what nf_hook_slow makes of each verdict: accept, drop, stolen, queue, and those that it has no case for",
           *_tried("accept", VerdictKind.ACCEPT),
           *_tried("accept-high-bits", 0xFFFF8001),
           *_tried("drop", VerdictKind.DROP),
           *_tried("drop-errno", Verdict(VerdictKind.DROP, errno=errno.EHOSTUNREACH).encode()),
           *_tried("drop-errno-largest", 0x7FFF << 16),
           *_tried("drop-positive", 0xFFFF << 16),
           *_tried("stolen", VerdictKind.STOLEN),
           *_tried("stolen-errno", Verdict(VerdictKind.STOLEN, errno=errno.EACCES).encode()),
           *_tried("queue", Verdict(VerdictKind.QUEUE, queue=9).encode()),
           *_tried("queue-bypass", Verdict(VerdictKind.QUEUE, queue=9, bypass=True).encode()),
           *_tried("repeat", VerdictKind.REPEAT),
           *_tried("stop", VerdictKind.STOP),
           *_tried("unknown", 0x1234_0042)),
    _scenario("raw-start", "nf_hook_slow from a slot on, up to one behind the last",
           *(RawInsert(name, "host", "a", priority) for name, priority in (("first", -1), ("second", 0), ("third", 1))),
           *(RawRun("host", "a", start) for start in (0, 1, 2, 3, 4000))),
    _scenario("raw-order", "private arrays: order, removal, what is not there, and the end of an array",
           *(RawInsert(name, "host", "a", priority) for name, priority in
             (("older", 0), ("newer", 0), ("last", PRIORITY_MAX), ("first", PRIORITY_MIN), ("between", -1))),
           RawInsert("elsewhere", "host", "b"),
           RawRun("host", "a"),
           RawDelete("elsewhere", "a"),
           RawDelete("newer"),
           RawRun("host", "a"),
           *(RawDelete(name) for name in ("first", "older", "between", "last")),
           RawRun("host", "a"),
           RawDelete("elsewhere", "a"),
           RawRun("host", "b")),
    _scenario("raw-limit", "1024 hooks fit into an array, the next one does not; after a removal one does",
           RawInsert("many", "host", "a", count=1024),
           RawInsert("too-many", "host", "a"),
           RawInsert("neighbour", "host", "b"),
           RawRun("host", "a", 1000),
           RawDelete("many.512"),
           RawInsert("fits", "host", "a", -1)),
)
