"""The JSON form of every step, and what makes sense of it; a module for each of :mod:`harness.scenario.steps`."""

from __future__ import annotations

from typing import Any

from harness.scenario.forms import batches, bpf, churn, conntrack, ground, hooks, link, nat, packets, private, queue
from harness.scenario.forms.form import Form

__all__ = ("BY_NAME", "BY_STEP")

_FORMS = (
    *hooks.FORMS, *batches.FORMS, *bpf.FORMS, *private.FORMS, *conntrack.FORMS, *nat.FORMS, *packets.FORMS,
    *link.FORMS, *ground.FORMS, *churn.FORMS, *queue.FORMS,
)

#: By the step's name in JSON.
BY_NAME: dict[str, Form[Any]] = {form.do: form for form in _FORMS}

#: By the step's class.
BY_STEP: dict[type, Form[Any]] = {form.step: form for form in _FORMS}
