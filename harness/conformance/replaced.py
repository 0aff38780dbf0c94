"""Arrays that others take the place of: who frees them, and when (l.67-89, 200-201, 354-355, 421-422); two that do it at once."""

from __future__ import annotations

from harness.conformance.expect import Array, At, Crosses, Finds, Returns, Splats
from harness.conformance.rule import Rule, script
from harness.netfilter import Family
from harness.scenario.steps.batches import RegisterTogether, UnregisterTogether
from harness.scenario.steps.hooks import Register, RegisterMany, Unregister
from harness.scenario.steps.namespaces import Memory
from harness.scenario.steps.packets import Send
from harness.scenario.steps.raw import RawDelete, RawInsert

__all__ = ("RULES",)

_V4, _INET, _NETDEV = Family.IPV4, Family.INET, Family.NETDEV
_IN = ("host", _V4, "INPUT")
_ELSEWHERE = (("IPV6's point", ("host", Family.IPV6, "INPUT"), None), ("a device's point", ("host", _NETDEV, "INGRESS"), "eth0"))

MEMORY = (
    Rule("memory.freed", "An array that another one has taken the place of is freed, whatever its size and whatever replaced it.", (
        script(
            "memory.freed",
            *(Register(name, *_IN, priority) for priority, name in enumerate("abc")),
            Memory(),
            Finds.of(allocated=3, early=0, left=0, overwritten=0),
            *(Unregister(name) for name in "bac"),
            Memory(),
            Finds.of(allocated=5, early=0, left=0, overwritten=0),
            *(Register(name, *_IN, priority) for priority, name in enumerate("defghij")),
            Unregister("f"),
            Array(*_IN, "d e g h i j"),
            Memory(),
            Finds.of(allocated=13, early=0, left=0, overwritten=0),
        ),
        script(
            "memory.freed, of a device, of INET and of a private array",
            Register("device", "host", _NETDEV, "INGRESS", device="eth0"),
            Register("device-too", "host", _NETDEV, "INGRESS", device="eth0"),
            Unregister("device"),
            Register("both", "host", _INET, "FORWARD"),
            Register("v4", "host", _V4, "FORWARD"),
            Unregister("both"),
            RawInsert("one", "host", "own"),
            RawInsert("two", "host", "own"),
            RawInsert("three", "host", "own"),
            RawDelete("one"),
            RawDelete("two"),
            Memory(),
            Finds.of(allocated=12, early=0, left=0, overwritten=0),
        ),
    ), needs=("netdev", "failing_allocations")),
    Rule("memory.grace-period", "An array is freed when its readers have left it, not by the call that replaces it, its ops untouched.", (
        script(
            "memory.grace-period",
            *(Register(name, *_IN, priority) for priority, name in enumerate("abcd")),
            *(Unregister(name) for name in "dcba"),
            RegisterMany("many", *_IN, 40),
            Unregister("many.7"),
            RawInsert("one", "host", "own"),
            RawInsert("two", "host", "own"),
            RawDelete("one"),
            RawDelete("two"),
            Memory(),
            Finds.of(allocated=51, early=0, left=0, overwritten=0),
        ),
    ), needs=("failing_allocations",)),
)

TOGETHER = (
    Rule("register.at-once", "Two tasks register at one point at once: both hooks are there, the later one first of equal priorities.", (
        script(
            "register.at-once",
            Register("there", *_IN, 5),
            RegisterTogether(Register("first", *_IN), Register("second", *_IN)),
            Returns(0),
            Array(*_IN, "second first there"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "second first there"),)),
        ),
        script(
            "register.at-once, at an empty point",
            RegisterTogether(Register("first", *_IN, 1), Register("second", *_IN, 2)),
            Returns(0),
            Array(*_IN, "first second"),
        ),
        *(script(
            f"register.at-once, at {name}",
            Register("there", *point, 5, device=device),
            RegisterTogether(Register("first", *point, device=device), Register("second", *point, device=device)),
            Returns(0),
            Array(*point, "second first there", device),
        ) for name, point, device in _ELSEWHERE),
    ), needs=("netdev", "failing_allocations")),
    Rule("unregister.at-once", "Two tasks unregister at one point at once: both hooks are gone, and the others stay.", (
        script(
            "unregister.at-once",
            *(Register(name, *_IN, priority) for priority, name in enumerate("abcd")),
            UnregisterTogether("b", "c"),
            Returns(0),
            Array(*_IN, "a d"),
            Splats(),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "a d"),)),
        ),
        *(script(
            f"unregister.at-once, at {name}",
            *(Register(each, *point, priority, device=device) for priority, each in enumerate("abcd")),
            UnregisterTogether("b", "c"),
            Returns(0),
            Array(*point, "a d", device),
            Splats(),
        ) for name, point, device in _ELSEWHERE),
    ), needs=("netdev", "failing_allocations")),
)

RULES = (*MEMORY, *TOGETHER)
