"""JSON of the steps with BPF programs as hooks."""

from __future__ import annotations

import errno
from typing import Any

from harness.netfilter import HOOK_POINTS, PRIORITY_MAX, PRIORITY_MIN, Family, VerdictKind
from harness.scenario.forms.form import Form, Scope
from harness.scenario.forms.verdicts import verdict, verdict_json
from harness.scenario.reader import Value, fail, quote, suggest
from harness.scenario.steps.bpf import BpfLink, BpfUnlink
from harness.scenario.steps.hooks import ACCEPT

__all__ = ("FORMS",)

_FAMILIES = {family.name: family for family in (Family.IPV4, Family.IPV6)}


def _link(value: Value) -> BpfLink:
    value.keys(("do", "id", "netns", "pf", "hook"), ("priority", "verdict"))
    pf = _FAMILIES[value["pf"].choice(_FAMILIES)]
    return BpfLink(
        id=value["id"].line(),
        netns=value["netns"].string(),
        pf=pf,
        hook=value["hook"].choice(HOOK_POINTS[pf]),
        priority=value["priority"].integer(PRIORITY_MIN + 1, PRIORITY_MAX - 1) if "priority" in value else 0,
        verdict=verdict(value["verdict"]) if "verdict" in value else ACCEPT,
    )


def _link_json(step: BpfLink) -> dict[str, Any]:
    return {"id": step.id, "netns": step.netns, "pf": step.pf.name, "hook": step.hook, "priority": step.priority,
            "verdict": None if step.verdict == ACCEPT else verdict_json(step.verdict)}


def _check_link(scope: Scope, step: BpfLink, path: str) -> None:
    scope.netns(step.netns, f"{path}.netns")
    drops = step.verdict.kind is VerdictKind.DROP and step.verdict.errno in (0, errno.EPERM)
    if step.verdict != ACCEPT and not drops:
        fail(f"{path}.verdict", "the verifier lets a program only accept, or drop without an errno of its own", 'write {"kind": "drop"}')
    scope.new_ids((step.id,), path)
    scope.links[step.id] = step.netns


def _check_unlink(scope: Scope, step: BpfUnlink, path: str) -> None:
    if scope.links.pop(step.id, None) is None:
        fail(f"{path}.id", f"{quote(step.id)} is no link that is there at this step", suggest(step.id, scope.links, what="links here"))


FORMS: tuple[Form[Any], ...] = (
    Form("bpf-link", BpfLink, _link, _link_json, _check_link),
    Form("bpf-unlink", BpfUnlink, lambda value: BpfUnlink(_id(value)), lambda step: {"id": step.id}, _check_unlink),
)


def _id(value: Value) -> str:
    value.keys(("do", "id"))
    return value["id"].line()
