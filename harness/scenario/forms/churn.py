"""JSON of the step in which hooks come and go while packets are under way."""

from __future__ import annotations

from typing import Any

from harness.netfilter import HOOK_POINTS, Family
from harness.scenario.forms.form import Form, Scope
from harness.scenario.forms.hooks import check_point, family, point_json, priority
from harness.scenario.reader import Value, fail
from harness.scenario.routing import first_address, lookup
from harness.scenario.steps import Churn

__all__ = ("FORMS",)

_ROUNDS_MAX, _PACKETS_MAX = 100_000, 2000


def _churn(value: Value) -> Churn:
    value.keys(("do", "id", "netns", "pf", "hook", "from", "to"), ("priority", "device", "rounds", "packets"))
    pf = family(value["pf"])
    counts = {key: value[key].integer(1, most) for key, most in (("rounds", _ROUNDS_MAX), ("packets", _PACKETS_MAX)) if key in value}
    return Churn(value["id"].line(), value["netns"].string(), pf, value["hook"].choice(HOOK_POINTS[pf]), value["from"].string(),
                 value["to"].string(), priority=priority(value), device=value["device"].string() if "device" in value else None, **counts)


def _churn_json(step: Churn) -> dict[str, Any]:
    return {"id": step.id, **point_json(step), "priority": step.priority, "from": step.source, "to": step.to, "rounds": step.rounds,
            "packets": step.packets}


def _check(scope: Scope, step: Churn, path: str) -> None:
    check_point(scope, step, path)
    scope.new_ids((step.id,), path)
    for key, netns in (("from", step.source), ("to", step.to)):
        scope.netns(netns, f"{path}.{key}")
    address = first_address(scope.topology, step.to, Family.IPV4)
    if step.source == step.to or address is None or address.is_loopback or lookup(scope.topology, step.source, address) is None:
        fail(f"{path}.to", f"no IPv4 packet goes from {step.source} to {step.to}", "choose two namespaces with a route between them")


FORMS: tuple[Form[Any], ...] = (Form("churn", Churn, _churn, _churn_json, _check),)
