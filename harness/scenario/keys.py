"""JSON keys that several kinds of step have, and what makes sense of them."""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from harness.netfilter import HOOK_POINTS, PRIORITY_MAX, PRIORITY_MIN, Family
from harness.scenario.reader import Value, fail, quote, suggest
from harness.scenario.scope import Scope

__all__ = (
    "COOKIE_MAX", "any_family", "any_hook", "check_point", "device", "fail_json", "fail_of", "family", "ipv4", "point_json", "priority",
)

COOKIE_MAX = (1 << 62) - 1
"""Of a scenario's packets; larger ones are those of a churn."""
_FAIL_MAX = 31


def family(value: Value) -> Family:
    """Read the name of a family that has hook points."""
    return Family[value.choice(Family.__members__)]


def any_family(value: Value) -> Family:
    """A family, or ``PF<n>``."""
    if isinstance(value.value, str):
        with suppress(KeyError):
            return Family.named(value.value)
    return family(value)


def any_hook(value: Value, pf: Family) -> str:
    """A hook point, or ``HOOK<n>``."""
    if isinstance(value.value, str) and re.fullmatch(r"HOOK\d{1,9}", value.value):
        return value.value
    return value.choice(HOOK_POINTS.get(pf, {}))


def device(value: Value) -> str | None:
    """The key of that name."""
    return value["device"].string() if "device" in value else None


def priority(value: Value) -> int:
    """The key of that name, 0 without one."""
    return value["priority"].integer(PRIORITY_MIN, PRIORITY_MAX) if "priority" in value else 0


def fail_of(value: Value) -> tuple[int, ...]:
    """The key of that name, none without one."""
    return tuple(sorted({number.integer(0, _FAIL_MAX) for number in value["fail"]})) if "fail" in value else ()


def fail_json(step: Any) -> dict[str, Any]:
    """The key ``fail`` of a step's JSON; ``None`` for a step in which no allocation fails."""
    return {"fail": list(step.fail) or None}


def ipv4(value: Value, hint: str) -> str:
    """Read an IPv4 address.

    :raises UserError: the value is none
    """
    try:
        return str(IPv4Address(value.string()))
    except AddressValueError:
        value.fail(f"{quote(value.value)} is no IPv4 address", hint)


def point_json(step: Any) -> dict[str, Any]:
    """The keys of a hook point."""
    return {"netns": step.netns, "pf": step.pf.name, "hook": step.hook, "device": step.device}


def check_point(scope: Scope, step: Any, path: str) -> None:
    """A hook point that exists: a device where the point is a device's, and only there."""
    scope.netns(step.netns, f"{path}.netns")
    if step.hook not in HOOK_POINTS[step.pf]:
        hint = suggest(step.hook, HOOK_POINTS[step.pf], what="it has")
        fail(f"{path}.hook", f"{step.pf.name} has no hook point {quote(step.hook)}", hint)
    wanted = step.pf is Family.NETDEV or (step.pf is Family.INET and step.hook == "INGRESS")
    if wanted and step.device is None:
        problem = f'the key "device" is missing: {step.pf.name} {step.hook} belongs to a device'
        fail(path, problem, f"devices in {step.netns}: {', '.join(scope.topology.devices(step.netns))}")
    if not wanted and step.device is not None:
        fail(f"{path}.device", f"{step.pf.name} {step.hook} belongs to no device", "remove it; NETDEV and INET INGRESS have one")
    if step.device is not None:
        scope.device(step.netns, step.device, f"{path}.device")
