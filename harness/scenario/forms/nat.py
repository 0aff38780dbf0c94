"""JSON of the steps with address translation."""

from __future__ import annotations

from typing import Any

from harness.scenario.forms.form import Form, Scope
from harness.scenario.reader import Value, fail
from harness.scenario.steps.nat import Redirect

__all__ = ("FORMS",)

_PRIORITIES = (-199, 199)
"""nft refuses a nat chain at or before the priority of conntrack's hook (-200)."""


def _redirect(value: Value) -> Redirect:
    value.keys(("do", "netns", "to"), ("priority", "port"))
    return Redirect(
        netns=value["netns"].string(),
        to=value["to"].integer(1, 65535),
        priority=value["priority"].integer(*_PRIORITIES) if "priority" in value else -100,
        port=value["port"].integer(1, 65535) if "port" in value else 9,
    )


def _check_redirect(scope: Scope, step: Redirect, path: str) -> None:
    scope.netns(step.netns, f"{path}.netns")
    if step.to == step.port:
        fail(f"{path}.to", f"{step.to} is the port that is redirected", "choose another one")


FORMS: tuple[Form[Any], ...] = (
    Form("redirect", Redirect, _redirect,
         lambda step: {"netns": step.netns, "priority": step.priority, "port": step.port, "to": step.to}, _check_redirect),
)
