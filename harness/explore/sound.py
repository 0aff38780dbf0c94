"""Making a scenario of steps that were drawn or left over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.netfilter import Family
from harness.scenario.step import Step, changed

__all__ = ("queues_ipv6", "without_idle_cookies")


def queues_ipv6(step: Step) -> bool:
    """Whether packets of IPv6 may wait because of the step.

    So would the multicast listener reports of devices that come up while a scenario is under way, and be counted.
    """
    return any(pf in (Family.IPV6, Family.INET) for pf in step.facts.queues(step))


def without_idle_cookies(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, but that no hook and no listener waits for a packet that none of them sends."""
    sent = {step.traffic.cookie for step in steps}
    no_cookie: dict[str, Any] = {"cookie": None}

    def told(step: Step) -> Step:
        waits_in_vain = step.traffic.cookie is None and step.common("cookie") not in (None, *sent)
        return replace(step, **no_cookie) if waits_in_vain else step

    return tuple(changed(step, told) for step in steps)
