"""JSON of the steps with hooks at hook points."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from harness.netfilter import HOOK_POINTS, PRIORITY_MAX, PRIORITY_MIN, Family, VerdictKind
from harness.scenario.forms.form import Form, Scope
from harness.scenario.forms.verdicts import raw_verdict, raw_verdict_json, verdict, verdict_json
from harness.scenario.reader import Value, fail, quote, suggest
from harness.scenario.steps import ACCEPT, CHURN_COOKIE, COUNT_MAX, TIMES_MAX, Dump, Nft, Register, RegisterMany, Unregister

__all__ = (
    "COOKIE_MAX", "FORMS", "OPTIONAL", "any_family", "any_hook", "check_point", "check_reinjected", "fail_json", "fail_of", "family",
    "hook", "hook_json", "point_json", "priority",
)

COOKIE_MAX = CHURN_COOKIE - 1
_FAIL_MAX = 31

OPTIONAL = ("priority", "verdict", "device", "cookie", "reinjected", "times")
"""Keys of a registration that may be left away."""


def family(value: Value) -> Family:
    return Family[value.choice(Family.__members__)]


def any_family(value: Value) -> Family:
    """A family, or ``PF<n>``."""
    if isinstance(value.value, str):
        with suppress(KeyError):
            return Family.named(value.value)
    return family(value)


def fail_of(value: Value) -> tuple[int, ...]:
    """The key of that name, none without one."""
    return tuple(sorted({number.integer(0, _FAIL_MAX) for number in value["fail"]})) if "fail" in value else ()


def fail_json(step: Any) -> dict[str, Any]:
    return {"fail": list(step.fail) or None}


def priority(value: Value) -> int:
    """The key of that name, 0 without one."""
    return value["priority"].integer(PRIORITY_MIN, PRIORITY_MAX) if "priority" in value else 0


def any_hook(value: Value, pf: Family) -> str:
    """A hook point, or ``HOOK<n>``."""
    if isinstance(value.value, str) and re.fullmatch(r"HOOK\d{1,9}", value.value):
        return value.value
    return value.choice(HOOK_POINTS.get(pf, {}))


def hook(value: Value, netns: str, pf: Family, point: str) -> Register:
    """A registration from its other keys."""
    return Register(
        id=value["id"].line(),
        netns=netns,
        pf=pf,
        hook=point,
        priority=priority(value),
        verdict=verdict(value["verdict"]) if "verdict" in value else ACCEPT,
        device=value["device"].string() if "device" in value else None,
        cookie=value["cookie"].integer(1, COOKIE_MAX) if "cookie" in value else None,
        device_netns=value["device_netns"].string() if "device_netns" in value else None,
        fail=fail_of(value),
        reinjected=raw_verdict(value["reinjected"]) if "reinjected" in value else None,
        times=value["times"].integer(1, TIMES_MAX) if "times" in value else None,
    )


def _register(value: Value) -> Register:
    value.keys(("do", "id", "netns", "pf", "hook"), (*OPTIONAL, "fail"))
    pf = family(value["pf"])
    return hook(value, value["netns"].string(), pf, value["hook"].choice(HOOK_POINTS[pf]))


def _register_many(value: Value) -> RegisterMany:
    value.keys(("do", "id", "netns", "pf", "hook", "count"), ("priority", "device"))
    pf = family(value["pf"])
    return RegisterMany(
        id=value["id"].line(),
        netns=value["netns"].string(),
        pf=pf,
        hook=value["hook"].choice(HOOK_POINTS[pf]),
        count=value["count"].integer(1, COUNT_MAX),
        priority=priority(value),
        device=value["device"].string() if "device" in value else None,
    )


def _unregister(value: Value) -> Unregister:
    value.keys(("do", "id"), ("fail",))
    return Unregister(value["id"].line(), fail_of(value))


def _dump(value: Value) -> Dump:
    value.keys(("do", "netns", "pf", "hook"), ("device",))
    pf = family(value["pf"])
    device = value["device"].string() if "device" in value else None
    return Dump(value["netns"].string(), pf, value["hook"].choice(HOOK_POINTS[pf]), device)


def _nft(value: Value) -> Nft:
    value.keys(("do", "netns", "ruleset"))
    return Nft(value["netns"].string(), value["ruleset"].string())


def point_json(step: Any) -> dict[str, Any]:
    """The keys of a hook point."""
    return {"netns": step.netns, "pf": step.pf.name, "hook": step.hook, "device": step.device}


def hook_json(step: Register) -> dict[str, Any]:
    """The keys of a hook beside its point."""
    reinjected = None if step.reinjected is None else raw_verdict_json(step.reinjected)
    return {"id": step.id, "priority": step.priority, "verdict": verdict_json(step.verdict), "cookie": step.cookie,
            "reinjected": reinjected, "times": step.times}


def _check_register(scope: Scope, step: Register, path: str) -> None:
    if step.verdict.kind is VerdictKind.QUEUE and not _can_queue(step):
        fail(f"{path}.verdict", f"no packet can be queued at {step.pf.name} {step.hook}", "queue at IPV4, IPV6 or BRIDGE")
    check_reinjected(step, path)
    check_point(scope, step, path)
    if step.device_netns is not None:
        fail(f"{path}.device_netns", "only a batch has hooks on another namespace's device", "make a register-batch of it")
    scope.new_ids((step.id,), path)
    scope.live[step.id] = 1
    scope.points[step.id] = step.netns, step.device
    if step.cookie is not None:
        scope.awaited.append((f"{path}.cookie", step.cookie))


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


def _check_many(scope: Scope, step: RegisterMany, path: str) -> None:
    check_point(scope, step, path)
    names = tuple(each.id for each in step.each())
    scope.new_ids(names, path)
    scope.live.update(names)
    scope.points.update(dict.fromkeys(names, (step.netns, step.device)))


def _check_unregister(scope: Scope, step: Unregister, path: str) -> None:
    scope.registered(step.id, path)
    scope.live[step.id] -= 1


def _check_dump(scope: Scope, step: Dump, path: str) -> None:
    check_point(scope, step, path)
    if step.pf is Family.INET and step.hook != "INGRESS":
        fail(f"{path}.pf", "INET has no array of its own at this point", "dump IPV4 or IPV6, where INET hooks land")


def _check_nft(scope: Scope, step: Nft, path: str) -> None:
    scope.netns(step.netns, f"{path}.netns")


def _can_queue(step: Register) -> bool:
    """``nf_reinject`` finds its way back to these families only."""
    return step.pf in (Family.IPV4, Family.IPV6, Family.BRIDGE) or (step.pf is Family.INET and step.device is None)


def check_point(scope: Scope, step: Any, path: str) -> None:
    """A hook point that exists: a device where the point is a device's, and only there."""
    scope.netns(step.netns, f"{path}.netns")
    if step.hook not in HOOK_POINTS[step.pf]:
        mend = suggest(step.hook, HOOK_POINTS[step.pf], what="it has")
        fail(f"{path}.hook", f"{step.pf.name} has no hook point {quote(step.hook)}", mend)
    wanted = step.pf is Family.NETDEV or (step.pf is Family.INET and step.hook == "INGRESS")
    if wanted and step.device is None:
        problem = f'the key "device" is missing: {step.pf.name} {step.hook} belongs to a device'
        fail(path, problem, f"devices in {step.netns}: {', '.join(scope.topology.devices(step.netns))}")
    if not wanted and step.device is not None:
        fail(f"{path}.device", f"{step.pf.name} {step.hook} belongs to no device", "remove it; NETDEV and INET INGRESS have one")
    if step.device is not None:
        scope.device(step.netns, step.device, f"{path}.device")


FORMS: tuple[Form[Any], ...] = (
    Form("register", Register, _register, lambda step: {**hook_json(step), **point_json(step), **fail_json(step)},
         _check_register),
    Form("register-many", RegisterMany, _register_many,
         lambda step: {"id": step.id, **point_json(step), "count": step.count, "priority": step.priority}, _check_many),
    Form("unregister", Unregister, _unregister, lambda step: {"id": step.id, **fail_json(step)}, _check_unregister),
    Form("dump", Dump, _dump, point_json, _check_dump),
    Form("nft", Nft, _nft, lambda step: {"netns": step.netns, "ruleset": step.ruleset}, _check_nft),
)
