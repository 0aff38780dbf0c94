"""JSON of the steps with several hooks at once, with the same ops twice, and with what is not there."""

from __future__ import annotations

from typing import Any

from harness.netfilter import Family
from harness.scenario.forms.form import Form, Scope
from harness.scenario.forms.hooks import OPTIONAL, any_family, any_hook, check_reinjected, fail_json, fail_of, hook, hook_json, point_json
from harness.scenario.reader import Value, fail, quote
from harness.scenario.steps import Register, RegisterAgain, RegisterBatch, UnregisterAbsent, UnregisterBatch

__all__ = ("FORMS",)

_BATCH_MAX = 64


def _register_batch(value: Value) -> RegisterBatch:
    value.keys(("do", "netns", "hooks"), ("fail",))
    netns, hooks = value["netns"].string(), []
    for each in value["hooks"]:
        each.keys(("id", "pf", "hook"), (*OPTIONAL, "device_netns"))
        pf = any_family(each["pf"])
        hooks.append(hook(each, netns, pf, any_hook(each["hook"], pf)))
    return RegisterBatch(netns, tuple(hooks), fail_of(value))


def _unregister_batch(value: Value) -> UnregisterBatch:
    value.keys(("do", "id"), ("fail",))
    return UnregisterBatch(value["id"].line(), fail_of(value))


def _register_again(value: Value) -> RegisterAgain:
    value.keys(("do", "id"), ("fail",))
    return RegisterAgain(value["id"].line(), fail_of(value))


def _unregister_absent(value: Value) -> UnregisterAbsent:
    value.keys(("do", "netns", "pf", "hook"), ("device", "fail"))
    pf = any_family(value["pf"])
    device = value["device"].string() if "device" in value else None
    return UnregisterAbsent(value["netns"].string(), pf, any_hook(value["hook"], pf), device, fail_of(value))


def _hook_json(step: Register) -> dict[str, Any]:
    found = {**hook_json(step), "pf": step.pf.name, "hook": step.hook, "device": step.device, "device_netns": step.device_netns}
    return {key: value for key, value in found.items() if value is not None}


def _check_register_batch(scope: Scope, step: RegisterBatch, path: str) -> None:
    scope.netns(step.netns, f"{path}.netns")
    if len(step.hooks) > _BATCH_MAX:
        fail(f"{path}.hooks", f"{len(step.hooks)} hooks are more than a batch may have ({_BATCH_MAX})", "make two of it")
    for number, each in enumerate(step.hooks):
        where = f"{path}.hooks[{number}]"
        scope.new_ids((each.id,), where)
        _check_device(scope, each, where)
        check_reinjected(each, where)
        scope.live[each.id] = 1
        scope.points[each.id] = each.netns, each.device
        scope.batches[each.id] = tuple(one.id for one in step.hooks)
        if each.cookie is not None:
            scope.awaited.append((f"{where}.cookie", each.cookie))


def _check_unregister_batch(scope: Scope, step: UnregisterBatch, path: str) -> None:
    scope.registered(step.id, path)
    gone = next((name for name in scope.batches.get(step.id, ()) if scope.live[name] != 1), None)
    if step.id not in scope.batches or gone is not None:
        fail(f"{path}.id", f"{quote(step.id)} came in no batch, or not all of it is registered once", "unregister them one by one")
    for name in scope.batches[step.id]:
        scope.live[name] = 0


def _check_register_again(scope: Scope, step: RegisterAgain, path: str) -> None:
    scope.registered(step.id, path)
    scope.live[step.id] += 1


def _check_unregister_absent(scope: Scope, step: UnregisterAbsent, path: str) -> None:
    scope.netns(step.netns, f"{path}.netns")
    _check_device(scope, step, path)


def _check_device(scope: Scope, step: Register | UnregisterAbsent, path: str) -> None:
    """A device may be missing where the point is a device's, so that core refuses it."""
    if step.device is not None:
        holder = step.netns
        if isinstance(step, Register) and step.device_netns is not None:
            scope.netns(step.device_netns, f"{path}.device_netns")
            holder = step.device_netns
        scope.device(holder, step.device, f"{path}.device")
        if not (step.pf is Family.NETDEV or (step.pf is Family.INET and step.hook == "INGRESS")):
            fail(f"{path}.device", f"{step.pf.name} {step.hook} belongs to no device", "remove it; NETDEV and INET INGRESS have one")


FORMS: tuple[Form[Any], ...] = (
    Form("register-batch", RegisterBatch, _register_batch,
         lambda step: {"netns": step.netns, "hooks": list(map(_hook_json, step.hooks)), **fail_json(step)}, _check_register_batch),
    Form("unregister-batch", UnregisterBatch, _unregister_batch, lambda step: {"id": step.id, **fail_json(step)},
         _check_unregister_batch),
    Form("register-again", RegisterAgain, _register_again, lambda step: {"id": step.id, **fail_json(step)}, _check_register_again),
    Form("unregister-absent", UnregisterAbsent, _unregister_absent,
         lambda step: {**point_json(step), **fail_json(step)}, _check_unregister_absent),
)
