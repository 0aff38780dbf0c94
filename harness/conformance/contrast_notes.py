"""What came of two kernels side by side, as release notes: a note for each cause, with the cases that show it; and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.conformance.contrast import OTHERS, Case, KernelContrast, ProfileField, outcome
from harness.conformance.coverage import functions_of
from harness.conformance.reference import FIELDS

__all__ = ("Note", "as_json", "functions", "notes", "of_state")

_HOOKS = "hooks of security modules, conntrack and others, which the model adopts as they are seen: one of the two has other ones"
_EACH = 3


@dataclass(frozen=True, slots=True)
class Note:
    """What one cause makes the two kernels do differently.

    :param field: of the profile, if the two do not share it; ``None`` of other hooks
    :param shown: cases that differ because of it
    :param only: cases that apply to one of the two because of it, for each of the two
    :param example: the one of *shown* that shows it best
    """

    cause: str
    means: str
    field: ProfileField | None
    shown: tuple[Case, ...]
    only: tuple[tuple[Case, ...], tuple[Case, ...]]
    example: Case | None


def notes(run: KernelContrast) -> tuple[Note, ...]:
    """A note for each field of the profile in which the two differ, and one for hooks of others."""
    found = {one.name: one for one in run.profile}
    causes = [*found, *(cause for case in run.cases for cause in case.causes)]
    return tuple(_note(cause, found.get(cause), run) for cause in dict.fromkeys(causes))


def _note(cause: str, of: ProfileField | None, run: KernelContrast) -> Note:
    cases = [case for case in run.cases if cause in case.causes]
    shown = [case for case in cases if case.only is None]
    only = tuple(tuple(case for case in cases if case.only == kernel) for kernel in range(2))
    # What differs for this reason alone tells it best, and what differs little.
    example = min(shown, key=lambda case: (case.state != "explained", len(case.causes), len(case.differing)), default=None)
    return Note(cause, _HOOKS if cause == OTHERS else FIELDS[cause], of, tuple(shown), (only[0], only[1]), example)


def functions(cases: Sequence[Case]) -> tuple[str, ...]:
    """Functions of core.c that all of these cases are about, as far as they are rules."""
    found = [functions_of(case.rule.id) for case in cases if functions_of(case.rule.id)]
    return tuple(one for one in found[0] if all(one in others for others in found[1:]))[:_EACH] if found else ()


def of_state(run: KernelContrast, *states: str) -> tuple[Case, ...]:
    """The cases that came to one of these states, in the order in which they were asked for."""
    order = {rule.id: place for place, rule in enumerate(run.rules)}
    return tuple(sorted((case for case in run.cases if case.state in states), key=lambda case: order[case.rule.id]))


def as_json(run: KernelContrast) -> dict[str, Any]:
    """What ``diff --json`` prints."""
    labels = [one.kernel.label for one in run.on]
    return {
        "kernels": [one.identity() for one in run.on],
        "outcome": outcome(run),
        "notes": [_note_json(note, labels) for note in notes(run)],
        "cases": [_case_json(case, labels) for case in of_state(run, "explained", "different")],
        "inconclusive": [{"case": case.rule.id, "reasons": list(case.reasons)} for case in of_state(run, "inconclusive")],
        "not_run": [rule.id for rule in run.missed],
        "alike": [{"case": case.rule.id, "reasons": list(case.reasons)} for case in of_state(run, "alike")],
        "applies_to_neither": [case.rule.id for case in of_state(run, "neither")],
        "same_hooks": [dict(zip(labels, names, strict=True)) for names in run.names.items()],
    }


def _note_json(note: Note, labels: Sequence[str]) -> dict[str, Any]:
    field = note.field
    return {
        "cause": note.cause, "means": note.means,
        "values": dict(zip(labels, field.values, strict=True)) if field else None,
        "unexplained": list(field.faults) if field else [], "explained": list(field.notes) if field else [],
        "not_probed": list(field.failed) if field else [],
        "cases": [case.rule.id for case in note.shown],
        "only": {label: [case.rule.id for case in cases] for label, cases in zip(labels, note.only, strict=True)},
        "example": note.example.rule.id if note.example else None,
    }


def _case_json(case: Case, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "case": case.rule.id, "sentence": case.rule.sentence, "functions": list(functions_of(case.rule.id)), "state": case.state,
        "results": dict(zip(labels, (result.state for result in case.results), strict=True)),
        "bundles": {label: str(result.bundle) for label, result in zip(labels, case.results, strict=True) if result.bundle},
        "causes": list(case.causes), "reasons": list(case.reasons),
        "differences": [{"where": one.contrast.where, "place": one.place, "causes": list(one.causes),
                         labels[0]: one.contrast.first, labels[1]: one.contrast.second} for one in case.differing],
        "walk": [{"where": line.where, labels[0]: line.first, labels[1]: line.second, "differs": line.differs} for line in case.walk],
    }
