"""Results about kernels' profiles, beside those of rules."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from harness.conformance.judge import State
from harness.conformance.matrix import RuleResult, Target
from harness.conformance.reference import FIELDS, PREFIX, Deviation

__all__ = ("compared",)


def compared(targets: Sequence[Target], fields: Collection[str], always: Collection[str] = ()) -> list[RuleResult]:
    """A result for each of these fields of the profile that departs on any of the kernels, on every one of them.

    :param always: fields that have a result where no kernel departs, too
    """
    departed = {one.kernel.label: {departure.field: departure for departure in one.departures} for one in targets}
    shown = [name for name in FIELDS if name in always or (name in fields and any(name in found for found in departed.values()))]
    return [_compared(name, one.kernel.label, departed[one.kernel.label].get(name)) for one in targets for name in shown]


def _compared(name: str, kernel: str, departure: Deviation | None) -> RuleResult:
    state: State = "different" if departure and not departure.explained else "conformant"
    reason = departure.reason if departure else ""
    return RuleResult(PREFIX + name, kernel, state, (), reason, details=(reason,) if departure else (),
                  promise=(FIELDS[name],) if state == "different" else ())
