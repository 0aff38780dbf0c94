"""Steps with hooks at hook points, ours and others'."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from harness.netfilter import HOOK_POINTS, Family, Verdict, VerdictKind
from harness.scenario.keys import (
    COOKIE_MAX,
    check_point,
    device,
    fail_json,
    fail_of,
    family,
    point_json,
    priority,
)
from harness.scenario.reader import Value, fail
from harness.scenario.scope import Scope
from harness.scenario.step import (
    DRAWN,
    Facts,
    Known,
    Point,
    Step,
    arrays,
    no_packets,
    no_rules,
    no_sinks,
    none_wait,
    nothing,
    nowhere,
    same_topology,
    stays,
    unless_failing,
)
from harness.scenario.verdicts import raw_verdict, raw_verdict_json, verdict, verdict_json

__all__ = (
    "ACCEPT",
    "COUNT_MAX",
    "FOREIGN",
    "OPTIONAL",
    "TIMES_MAX",
    "WARNS",
    "Alter",
    "Dump",
    "Nft",
    "Register",
    "RegisterMany",
    "Unregister",
    "at_the_point",
    "check_reinjected",
    "hook_json",
    "hook_of",
    "is_point",
    "of_the_hook",
    "queued_families",
    "real",
)

ACCEPT = Verdict(VerdictKind.ACCEPT)

COUNT_MAX = 2048
"""Most hooks of one register-many: twice what fits at a point."""

TIMES_MAX = 64
"""``nf_reinject`` calls a hook that says REPEAT once more."""

OPTIONAL = ("priority", "verdict", "device", "cookie", "reinjected", "times")
"""Keys of a registration that may be left away."""

WARNS = "each array made of what it has altered warns, and a warning takes a guest as long as several steps: the rules have that"
"""``not_drawn`` of a kind that gives ops another priority."""

FOREIGN = "what others' hooks do the model adopts as it was seen; what is left takes certain steps in a certain order, as rules have"
"""Why steps with others' hooks are not drawn."""


def is_point(pf: Family, hook: str, device: str | None) -> bool:
    """Whether a hook point is one: a number that the family has, and the device that it belongs to."""
    by_device = pf is Family.NETDEV or (pf is Family.INET and hook == "INGRESS")
    return hook in HOOK_POINTS.get(pf, {}) and by_device == (device is not None)


def at_the_point(step: Any, _known: Known) -> tuple[Point, ...]:
    """``touches`` of a kind that names a hook point."""
    return (Register("", step.netns, step.pf, step.hook, device=step.device),)


def of_the_hook(step: Any, known: Known) -> tuple[Point, ...]:
    """``touches`` of a kind that is about an earlier hook."""
    return real((known.registers[step.id],))


def real(hooks: Iterable[Point]) -> tuple[Point, ...]:
    """Hooks that core does not refuse for where they are."""
    return tuple(hook for hook in hooks if is_point(hook.pf, hook.hook, hook.device) and hook.device_netns is None)


def queued_families(step: Register) -> tuple[Family, ...]:
    """``queues`` of a hook."""
    return (step.pf,) if step.verdict.kind is VerdictKind.QUEUE else ()


_FACTS = Facts(flushed=unless_failing, touches=nowhere, allocates=nothing, sends=no_packets, sinks=no_sinks, queues=none_wait,
               redirects=False, needs=(), rules=no_rules, modules=False, baseline=False, leaves=same_topology, not_drawn=DRAWN)


def _no_dummy(step: Register) -> bool:
    """Whether no dummy is left: core shrinks an array in a registration only when the other half of INET is refused, and that takes an
    allocation more.
    """
    return len(step.fail) < 2


@dataclass(frozen=True, slots=True)
class Register(Step):
    """``nf_register_net_hook``.

    :param id: the scenario's name for the hook
    :param device: for NETDEV, and for INGRESS of INET
    :param cookie: the one packet that gets the verdict, others are accepted; ``None``: every packet gets it
    :param device_netns: of a batch's hook: another namespace, whose *device* is meant: core refuses it
    :param fail: core's allocations in this step that find no memory, counted from 0 (as in every step that has it)
    :param reinjected: the u32 that it returns instead where ``nf_reinject`` calls it
    :param times: so many calls get *reinjected*, the others ACCEPT; REPEAT needs it
    """

    id: str
    netns: str
    pf: Family
    hook: str
    priority: int = 0
    verdict: Verdict = ACCEPT
    device: str | None = None
    cookie: int | None = None
    device_netns: str | None = None
    fail: tuple[int, ...] = ()
    reinjected: int | None = None
    times: int | None = None

    do = "register"
    facts = replace(_FACTS, flushed=_no_dummy, touches=lambda step, _known: (step,), allocates=arrays, queues=queued_families)

    @classmethod
    def read(cls, value: Value) -> Register:
        value.keys(("do", "id", "netns", "pf", "hook"), (*OPTIONAL, "fail"))
        pf = family(value["pf"])
        return hook_of(value, value["netns"].string(), pf, value["hook"].choice(HOOK_POINTS[pf]))

    def write(self) -> dict[str, Any]:
        return {**hook_json(self), **point_json(self), **fail_json(self)}

    def check(self, scope: Scope, path: str) -> None:
        if self.verdict.kind is VerdictKind.QUEUE and not _can_queue(self):
            fail(f"{path}.verdict", f"no packet can be queued at {self.pf.name} {self.hook}", "queue at IPV4, IPV6 or BRIDGE")
        check_reinjected(self, path)
        check_point(scope, self, path)
        if self.device_netns is not None:
            fail(f"{path}.device_netns", "only a batch has hooks on another namespace's device", "make a register-batch of it")
        scope.new_ids((self.id,), path)
        scope.live[self.id] = 1
        scope.points[self.id] = self.netns, self.device
        if self.cookie is not None:
            scope.awaited.append((f"{path}.cookie", self.cookie))


@dataclass(frozen=True, slots=True)
class RegisterMany(Step):
    """``nf_register_net_hook`` for each of *count* hooks alike; those that come after a refused one are tried all the same.

    The step's errno is that of the first refusal; its array is read once, after the last.

    :param id: the hooks are called ``id.1`` to ``id.count``, in the order of their registration
    """

    id: str
    netns: str
    pf: Family
    hook: str
    count: int
    priority: int = 0
    device: str | None = None

    do = "register-many"
    facts = replace(_FACTS, touches=at_the_point)

    def each(self) -> Iterator[Register]:
        """The registrations, one by one."""
        for number in range(1, self.count + 1):
            yield Register(f"{self.id}.{number}", self.netns, self.pf, self.hook, self.priority, device=self.device)

    @classmethod
    def read(cls, value: Value) -> RegisterMany:
        value.keys(("do", "id", "netns", "pf", "hook", "count"), ("priority", "device"))
        pf = family(value["pf"])
        return cls(value["id"].line(), value["netns"].string(), pf, value["hook"].choice(HOOK_POINTS[pf]),
                   value["count"].integer(1, COUNT_MAX), priority(value), device(value))

    def write(self) -> dict[str, Any]:
        return {"id": self.id, **point_json(self), "count": self.count, "priority": self.priority}

    def check(self, scope: Scope, path: str) -> None:
        check_point(scope, self, path)
        names = tuple(each.id for each in self.each())
        scope.new_ids(names, path)
        scope.live.update(names)
        scope.points.update(dict.fromkeys(names, (self.netns, self.device)))


@dataclass(frozen=True, slots=True)
class Unregister(Step):
    """``nf_unregister_net_hook``.

    :param id: that of an earlier :class:`Register`
    :param fail: as of :class:`Register`
    """

    id: str
    fail: tuple[int, ...] = ()

    do = "unregister"
    facts = replace(_FACTS, touches=of_the_hook, allocates=arrays)

    @classmethod
    def read(cls, value: Value) -> Unregister:
        value.keys(("do", "id"), ("fail",))
        return cls(value["id"].line(), fail_of(value))

    def write(self) -> dict[str, Any]:
        return {"id": self.id, **fail_json(self)}

    def check(self, scope: Scope, path: str) -> None:
        scope.registered(self.id, path)
        scope.live[self.id] -= 1


@dataclass(frozen=True, slots=True)
class Alter(Step):
    """Another ``priority`` for the ops of a registered hook: they are its owner's, and core is not told.

    :param id: that of an earlier :class:`Register`
    """

    id: str
    priority: int

    do = "alter"
    facts = replace(_FACTS, touches=of_the_hook, not_drawn=WARNS)

    @classmethod
    def read(cls, value: Value) -> Alter:
        value.keys(("do", "id", "priority"))
        return cls(value["id"].line(), priority(value))

    def write(self) -> dict[str, Any]:
        return {"id": self.id, "priority": self.priority}

    def check(self, scope: Scope, path: str) -> None:
        scope.registered(self.id, path)


@dataclass(frozen=True, slots=True)
class Dump(Step):
    """Read one hook point's array, slot by slot."""

    netns: str
    pf: Family
    hook: str
    device: str | None = None

    do = "dump"
    facts = replace(_FACTS, touches=at_the_point)

    @classmethod
    def read(cls, value: Value) -> Dump:
        value.keys(("do", "netns", "pf", "hook"), ("device",))
        pf = family(value["pf"])
        return cls(value["netns"].string(), pf, value["hook"].choice(HOOK_POINTS[pf]), device(value))

    def write(self) -> dict[str, Any]:
        return point_json(self)

    def check(self, scope: Scope, path: str) -> None:
        check_point(scope, self, path)
        if self.pf is Family.INET and self.hook != "INGRESS":
            fail(f"{path}.pf", "INET has no array at this point", "dump IPV4 or IPV6, where INET hooks land")


@dataclass(frozen=True, slots=True)
class Nft(Step):
    """Load a real nft ruleset: its hooks are foreign ones, which the model adopts from what was seen.

    :param ruleset: as ``nft -f`` reads it
    """

    netns: str
    ruleset: str

    do = "nft"
    facts = replace(_FACTS, flushed=stays, rules=lambda step: (step.netns,), not_drawn=FOREIGN)

    @classmethod
    def read(cls, value: Value) -> Nft:
        value.keys(("do", "netns", "ruleset"))
        return cls(value["netns"].string(), value["ruleset"].string())

    def write(self) -> dict[str, Any]:
        return {"netns": self.netns, "ruleset": self.ruleset}

    def check(self, scope: Scope, path: str) -> None:
        scope.netns(self.netns, f"{path}.netns")


def hook_of(value: Value, netns: str, pf: Family, point: str) -> Register:
    """A registration from its other keys."""
    return Register(
        id=value["id"].line(),
        netns=netns,
        pf=pf,
        hook=point,
        priority=priority(value),
        verdict=verdict(value["verdict"]) if "verdict" in value else ACCEPT,
        device=device(value),
        cookie=value["cookie"].integer(1, COOKIE_MAX) if "cookie" in value else None,
        device_netns=value["device_netns"].string() if "device_netns" in value else None,
        fail=fail_of(value),
        reinjected=raw_verdict(value["reinjected"]) if "reinjected" in value else None,
        times=value["times"].integer(1, TIMES_MAX) if "times" in value else None,
    )


def hook_json(step: Register) -> dict[str, Any]:
    """The keys of a hook beside its point."""
    reinjected = None if step.reinjected is None else raw_verdict_json(step.reinjected)
    return {"id": step.id, "priority": step.priority, "verdict": verdict_json(step.verdict), "cookie": step.cookie,
            "reinjected": reinjected, "times": step.times}


def check_reinjected(step: Register, path: str) -> None:
    """Whether ``nf_reinject`` may get such a verdict of this hook."""
    if step.reinjected is None:
        if step.times is not None:
            fail(f"{path}.times", "without a verdict for nf_reinject there is nothing to count", "add the key \"reinjected\"")
        return
    if not _can_queue(step):
        fail(f"{path}.reinjected", f"no packet comes back to {step.pf.name} {step.hook}", "packets are queued at IPV4, IPV6 or BRIDGE")
    if step.reinjected == VerdictKind.REPEAT and step.times is None:
        fail(f"{path}.reinjected", "nf_reinject calls a hook that says REPEAT again and again", 'say how often with the key "times"')


def _can_queue(step: Register) -> bool:
    """``nf_reinject`` finds its way back to these families only."""
    return step.pf in (Family.IPV4, Family.IPV6, Family.BRIDGE) or (step.pf is Family.INET and step.device is None)
