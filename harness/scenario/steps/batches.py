"""Steps with several hooks at once, with the same ops twice, and with what is not there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from harness.netfilter import HOOK_POINTS, Family
from harness.scenario.keys import any_family, any_hook, device, fail_json, fail_of, family, point_json
from harness.scenario.reader import Value, fail, quote
from harness.scenario.scope import Scope
from harness.scenario.step import (
    DRAWN,
    Facts,
    Step,
    arrays,
    no_packets,
    no_rules,
    no_sinks,
    none_wait,
    nothing,
    nowhere,
    same_topology,
    unless_failing,
)
from harness.scenario.steps.hooks import (
    OPTIONAL,
    Register,
    check_reinjected,
    hook_json,
    hook_of,
    of_the_hook,
    queued_families,
    real,
)

__all__ = ("RegisterAgain", "RegisterBatch", "RegisterTogether", "UnregisterAbsent", "UnregisterBatch", "UnregisterTogether")

_BATCH_MAX, _TIMES_MAX = 300, 8


_FACTS = Facts(flushed=unless_failing, touches=nowhere, allocates=arrays, sends=no_packets, sinks=no_sinks, queues=none_wait,
               redirects=False, needs=(), rules=no_rules, modules=False, baseline=False, leaves=same_topology, not_drawn=DRAWN)
_TOGETHER = replace(_FACTS, allocates=nothing, needs=("failing_allocations",))


@dataclass(frozen=True, slots=True)
class RegisterBatch(Step):
    """``nf_register_net_hooks``: all of the hooks, or none and the errno of the first that fails.

    :param hooks: of this namespace, 64 at most; to make one fail, leave out its device, name another namespace's, or choose a point
        ``HOOK<n>`` that the family has not or a family ``PF<n>`` that has none, of which core warns
    :param fail: as of :class:`Register`
    """

    netns: str
    hooks: tuple[Register, ...]
    fail: tuple[int, ...] = ()

    do = "register-batch"
    facts = replace(_FACTS, touches=lambda step, _known: real(step.hooks),
                    queues=lambda step: tuple(pf for hook in step.hooks for pf in queued_families(hook)))

    @classmethod
    def read(cls, value: Value) -> RegisterBatch:
        value.keys(("do", "netns", "hooks"), ("fail",))
        netns, hooks = value["netns"].string(), []
        for each in value["hooks"]:
            each.keys(("id", "pf", "hook"), (*OPTIONAL, "device_netns"))
            pf = any_family(each["pf"])
            hooks.append(hook_of(each, netns, pf, any_hook(each["hook"], pf)))
        return cls(netns, tuple(hooks), fail_of(value))

    def write(self) -> dict[str, Any]:
        return {"netns": self.netns, "hooks": list(map(_hook_json, self.hooks)), **fail_json(self)}

    def check(self, scope: Scope, path: str) -> None:
        scope.netns(self.netns, f"{path}.netns")
        if len(self.hooks) > _BATCH_MAX:
            fail(f"{path}.hooks", f"{len(self.hooks)} hooks are more than a batch may have ({_BATCH_MAX})", "make two of it")
        for number, each in enumerate(self.hooks):
            where = f"{path}.hooks[{number}]"
            scope.new_ids((each.id,), where)
            _check_device(scope, each, each.device_netns, where)
            check_reinjected(each, where)
            scope.live[each.id] = 1
            scope.points[each.id] = each.netns, each.device
            scope.batches[each.id] = tuple(one.id for one in self.hooks)
            if each.cookie is not None:
                scope.awaited.append((f"{where}.cookie", each.cookie))


@dataclass(frozen=True, slots=True)
class UnregisterBatch(Step):
    """``nf_unregister_net_hooks``.

    :param id: that of a hook that came in a :class:`RegisterBatch`, all of which is there still
    """

    id: str
    fail: tuple[int, ...] = ()

    do = "unregister-batch"
    facts = replace(_FACTS, touches=lambda step, known: real(known.batches[step.id]))

    @classmethod
    def read(cls, value: Value) -> UnregisterBatch:
        value.keys(("do", "id"), ("fail",))
        return cls(value["id"].line(), fail_of(value))

    def write(self) -> dict[str, Any]:
        return {"id": self.id, **fail_json(self)}

    def check(self, scope: Scope, path: str) -> None:
        scope.registered(self.id, path)
        gone = next((name for name in scope.batches.get(self.id, ()) if scope.live[name] != 1), None)
        if self.id not in scope.batches or gone is not None:
            fail(f"{path}.id", f"{quote(self.id)} came in no batch, or not all of it is registered once", "unregister them one by one")
        for name in scope.batches[self.id]:
            scope.live[name] = 0


@dataclass(frozen=True, slots=True)
class RegisterAgain(Step):
    """``nf_register_net_hook`` of the ops of an earlier :class:`Register`; each :class:`Unregister` then takes one registration."""

    id: str
    fail: tuple[int, ...] = ()

    do = "register-again"
    facts = replace(_FACTS, touches=of_the_hook)

    @classmethod
    def read(cls, value: Value) -> RegisterAgain:
        value.keys(("do", "id"), ("fail",))
        return cls(value["id"].line(), fail_of(value))

    def write(self) -> dict[str, Any]:
        return {"id": self.id, **fail_json(self)}

    def check(self, scope: Scope, path: str) -> None:
        scope.registered(self.id, path)
        scope.live[self.id] += 1


@dataclass(frozen=True, slots=True)
class UnregisterAbsent(Step):
    """``nf_unregister_net_hook`` of ops that were never registered: core warns. The parameters are a batch's :class:`Register`'s.

    :param times: that core is called in this step: a ``WARN_ON_ONCE`` warns in the first of these calls
    """

    netns: str
    pf: Family
    hook: str
    device: str | None = None
    device_netns: str | None = None
    fail: tuple[int, ...] = ()
    times: int = 1

    do = "unregister-absent"
    facts = replace(_FACTS, touches=lambda step, _known: real((_absent(step),)))

    @classmethod
    def read(cls, value: Value) -> UnregisterAbsent:
        value.keys(("do", "netns", "pf", "hook"), ("device", "device_netns", "fail", "times"))
        pf = any_family(value["pf"])
        foreign = value["device_netns"].string() if "device_netns" in value else None
        times = value["times"].integer(1, _TIMES_MAX) if "times" in value else 1
        return cls(value["netns"].string(), pf, any_hook(value["hook"], pf), device(value), foreign, fail_of(value), times)

    def write(self) -> dict[str, Any]:
        times = {"times": self.times} if self.times > 1 else {}
        return {**point_json(self), "device_netns": self.device_netns, **fail_json(self), **times}

    def check(self, scope: Scope, path: str) -> None:
        scope.netns(self.netns, f"{path}.netns")
        _check_device(scope, self, self.device_netns, path)


@dataclass(frozen=True, slots=True)
class RegisterTogether(Step):
    """``nf_register_net_hook`` of two hooks by two tasks on two processors: the second one calls core while the first one is in it, at its
    allocation, and waits there for the second.
    """

    first: Register
    second: Register

    do = "register-together"
    facts = replace(_TOGETHER, touches=lambda step, _known: real((step.first, step.second)),
                    queues=lambda step: (*queued_families(step.first), *queued_families(step.second)))

    @classmethod
    def read(cls, value: Value) -> RegisterTogether:
        value.keys(("do", "first", "second"))
        return cls(*(_whole_hook(value[key]) for key in ("first", "second")))

    def write(self) -> dict[str, Any]:
        return {key: {"netns": each.netns, **_hook_json(each)} for key, each in (("first", self.first), ("second", self.second))}

    def check(self, scope: Scope, path: str) -> None:
        if self.first.netns != self.second.netns:
            fail(f"{path}.second.netns", "the two hooks are in two namespaces", "take one for both")
        for key, each in (("first", self.first), ("second", self.second)):
            each.check(scope, f"{path}.{key}")


@dataclass(frozen=True, slots=True)
class UnregisterTogether(Step):
    """``nf_unregister_net_hook`` of two hooks by two tasks, as :class:`RegisterTogether` registers them.

    :param first: id of a hook that is registered once
    :param second: id of another one of the same namespace
    """

    first: str
    second: str

    do = "unregister-together"
    facts = replace(_TOGETHER, touches=lambda step, known: real(known.registers[name] for name in (step.first, step.second)))

    @classmethod
    def read(cls, value: Value) -> UnregisterTogether:
        value.keys(("do", "first", "second"))
        return cls(value["first"].line(), value["second"].line())

    def write(self) -> dict[str, Any]:
        return {"first": self.first, "second": self.second}

    def check(self, scope: Scope, path: str) -> None:
        for key, name in (("first", self.first), ("second", self.second)):
            scope.registered(name, path)
            if scope.live[name] != 1:
                fail(f"{path}.{key}", f"{quote(name)} is registered more than once", "unregister it alone")
        if self.first == self.second or scope.points[self.first][0] != scope.points[self.second][0]:
            fail(f"{path}.second", "both hooks must be in the same namespace, and different", "choose another one")
        scope.live[self.first] = scope.live[self.second] = 0


def _absent(step: UnregisterAbsent) -> Register:
    return Register("", step.netns, step.pf, step.hook, device=step.device, device_netns=step.device_netns)


def _whole_hook(value: Value) -> Register:
    value.keys(("id", "netns", "pf", "hook"), OPTIONAL)
    pf = family(value["pf"])
    return hook_of(value, value["netns"].string(), pf, value["hook"].choice(HOOK_POINTS[pf]))


def _hook_json(step: Register) -> dict[str, Any]:
    found = {**hook_json(step), "pf": step.pf.name, "hook": step.hook, "device": step.device, "device_netns": step.device_netns}
    return {key: value for key, value in found.items() if value is not None}


def _check_device(scope: Scope, step: Register | UnregisterAbsent, device_netns: str | None, path: str) -> None:
    """A device may be missing where the point is a device's, so that core refuses it."""
    if step.device is not None:
        if device_netns is not None:
            scope.netns(device_netns, f"{path}.device_netns")
        scope.device(device_netns or step.netns, step.device, f"{path}.device")
        if not (step.pf is Family.NETDEV or (step.pf is Family.INET and step.hook == "INGRESS")):
            fail(f"{path}.device", f"{step.pf.name} {step.hook} belongs to no device", "remove it; NETDEV and INET INGRESS have one")
