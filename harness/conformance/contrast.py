"""Two kernels side by side: what they do differently, and whether their profiles explain it.

Each is compared with the model under its own profile, and the two with each other. Why they differ is asked of the model: a field of the
profile explains a difference that the model's prediction shows as well, once that one field has the other kernel's value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.conformance import matrix
from harness.conformance.judge import Judgement
from harness.conformance.matrix import RuleResult, Target
from harness.conformance.reference import FIELDS
from harness.conformance.rule import Noting, Rule
from harness.errors import ExitCode
from harness.model.foreign import seen
from harness.model.predict import predict
from harness.outcome.contrast import Contrast, Line, contrasts, one_name, walk
from harness.outcome.types import BEFORE, Outcome
from harness.scenario.step import Scenario

__all__ = ("OTHERS", "Case", "Differing", "KernelContrast", "ProfileField", "State", "Word", "exit_code", "outcome")

State = Literal["alike", "explained", "different", "inconclusive", "neither"]
"""Of a case. ``explained``: the kernels differ, each as its profile predicts. ``different``: they differ, and nothing explains it.
``neither``: it applies to none of the two."""

Word = Literal["alike", "explained", "different", "inconclusive"]
"""Of a comparison."""

OTHERS = "hooks"
"""What explains a difference beside fields of the profile: hooks that are not the scenario's, which one of the two has."""
_STEP = re.compile(r"steps\[(?P<number>-?\d+)\](?:/(?P<rest>.*))?")
#: Cases that both kernels have run before either goes on: what is known at Ctrl-C, and the outcomes that are held.
_CHUNK = 40


@dataclass(frozen=True, slots=True)
class Differing:
    """A difference in one case.

    :param causes: fields of the profile, or :data:`OTHERS`; empty: nothing explains it
    :param scenario: that was run
    """

    contrast: Contrast
    causes: tuple[str, ...]
    scenario: Scenario

    @property
    def place(self) -> str:
        """The place of the difference, for a reader: ``step 3, register watcher: host/IPV4/INPUT``."""
        found = _STEP.fullmatch(self.contrast.where)
        if not found:
            return self.contrast.where
        number, rest = int(found["number"]), f": {found['rest']}" if found["rest"] else ""
        if number == BEFORE:
            return f"before the first step{rest}"
        step = self.scenario.steps[number]
        return f"{' '.join(filter(None, (f'step {number}, {step.do}', step.common('id'))))}{rest}"


@dataclass(frozen=True, slots=True)
class Case:
    """One case on both kernels.

    :param results: in the order of the kernels
    :param causes: of all that differs
    :param walk: of the packets that differ
    :param reasons: why it is different or inconclusive, a line each
    """

    rule: Rule
    state: State
    results: tuple[RuleResult, RuleResult]
    differing: tuple[Differing, ...] = ()
    causes: tuple[str, ...] = ()
    walk: tuple[Line, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def only(self) -> int | None:
        """Which of the kernels it applies to, if to one only."""
        first, second = (result.state == "not_applicable" for result in self.results)
        return int(first) if first != second else None


@dataclass(frozen=True, slots=True)
class ProfileField:
    """A field of the profile that the two do not share.

    :param values: as JSON has them, in the order of the kernels
    :param faults: where a kernel is not as its reference, and nothing explains that
    :param notes: where it is not, and something does
    :param failed: where it could not be probed
    """

    name: str
    values: tuple[object, object]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def means(self) -> str:
        return FIELDS[self.name]


@dataclass(slots=True)
class KernelContrast:
    """A comparison, as far as it has come.

    :param fields: of the profile that are looked at
    :ivar cases: those that both kernels have come to an end with
    :ivar names: hooks that are the same ones, first kernel's name → second's
    """

    on: tuple[Target, Target]
    rules: Sequence[Rule]
    fields: Sequence[str]
    cases: list[Case] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    _waiting: dict[str, tuple[RuleResult, Sequence[Judgement]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take away what keeps a case from running on both, where they only do otherwise."""
        first, second = (one.profile for one in self.on)
        self.rules = tuple(rule if (rule.lacking(first) is None) == (rule.lacking(second) is None) else rule.either_way()
                           for rule in self.rules)

    @property
    def profile(self) -> tuple[ProfileField, ...]:
        """Fields that the two do not share."""
        first, second = (one.profile for one in self.on)
        found = (name for name in self.fields if getattr(first, name) != getattr(second, name) or _unprobed(name, self.on))
        return tuple(_field(name, self.on) for name in found)

    @property
    def missed(self) -> tuple[Rule, ...]:
        """Cases that have not come to an end."""
        done = {case.rule.id for case in self.cases}
        return tuple(rule for rule in self.rules if rule.id not in done)

    async def run(self, report: Callable[[RuleResult], None], *, jobs: int) -> None:
        """Run every case on both; what is found is in :attr:`cases`, also if this is cut short.

        :raises HostError: QEMU does not start
        """
        for start in range(0, len(self.rules), _CHUNK):
            await matrix.run(self.rules[start:start + _CHUNK], self.on, report, jobs=jobs, judged=self.judged)

    def judged(self, result: RuleResult, judgements: Sequence[Judgement]) -> None:
        """A case has come to an end on one of the kernels."""
        if result.rule not in self._waiting:
            self._waiting[result.rule] = result, judgements
            return
        both = [self._waiting.pop(result.rule), (result, judgements)]
        if result.kernel == self.on[0].kernel.label:
            both.reverse()
        rule = next(rule for rule in self.rules if rule.id == result.rule)
        (first, judged_first), (second, judged_second) = both
        self.cases.append(self._compared(rule, (first, second), tuple(zip(judged_first, judged_second, strict=False))))

    def _compared(self, rule: Rule, results: tuple[RuleResult, RuleResult], pairs: Sequence[tuple[Judgement, Judgement]]) -> Case:
        states = tuple(result.state for result in results)
        if set(states) == {"not_applicable"}:
            return Case(rule, "neither", results)
        if "lost" in states:
            return Case(rule, "different", results, reasons=self._reasons(results))
        if "inconclusive" in states:
            return Case(rule, "inconclusive", results, reasons=self._reasons(results))
        if "not_applicable" in states:
            return self._applies_to_one(rule, results)
        differing: list[Differing] = []
        lines: list[Line] = []
        for first, second in pairs:
            renamed, names = one_name(first.observed, second.observed)
            self.names |= names
            if found := contrasts(first.observed, renamed):
                lines += walk(first.observed, renamed, found)
                differing += self._explained(first, second, found)
        causes = tuple(dict.fromkeys(cause for one in differing for cause in one.causes))
        odd = any(not one.causes for one in differing) or (states[0] != states[1] or (bool(differing) and "different" in states))
        state: State = "different" if odd else "explained" if differing else "alike"
        return Case(rule, state, results, tuple(differing), causes, tuple(lines), self._reasons(results))

    def _reasons(self, results: Sequence[RuleResult]) -> tuple[str, ...]:
        """Why each result is not conformant."""
        return tuple(f"{one.name}: {reason}" for one, result in zip(self.on, results, strict=True)
                     if result.state not in ("conformant", "not_applicable") for reason in (result.details or (result.reason,)))

    def _applies_to_one(self, rule: Rule, results: tuple[RuleResult, RuleResult]) -> Case:
        lacking = next(one for one, result in zip(self.on, results, strict=True) if result.state == "not_applicable")
        noting = Noting(lacking.profile)
        rule.lacking(noting)
        causes = tuple(name for name in self._differing() if name in noting.noted)
        why = () if causes else tuple(f"{one.name}: {result.reason}" for one, result in zip(self.on, results, strict=True) if result.reason)
        state: State = "different" if not causes or any(result.state == "different" for result in results) else "explained"
        return Case(rule, state, results, causes=causes, reasons=(*why, *self._reasons(results)))

    def _differing(self) -> list[str]:
        """Fields of the profile that the two do not share, asked for or not."""
        first, second = (one.profile for one in self.on)
        return [name for name in FIELDS if getattr(first, name) != getattr(second, name)]

    def _explained(self, first: Judgement, second: Judgement, found: Sequence[Contrast]) -> list[Differing]:
        """Each difference with its causes."""
        effects, together = self._effects(first, second)
        return [Differing(one, tuple(cause for cause, where in effects.items() if one.where in where) or together.get(one.where, ()),
                          first.script.scenario) for one in found]

    def _effects(self, first: Judgement, second: Judgement) -> tuple[dict[str, set[str]], dict[str, tuple[str, ...]]]:
        """Cause → where it alone makes the model predict something else; and where only all of them together do → all of them."""
        scenario = first.script.scenario
        here, there = (Noting(one.profile) for one in self.on)
        base, other = predict(scenario, here, seen(first.observed)), predict(scenario, there, seen(second.observed))
        read = [name for name in self._differing() if name in here.noted | there.noted]

        def wheres(predicted: Outcome) -> list[str]:
            return [one.where for one in contrasts(base, one_name(base, predicted)[0])]

        profile, asked = (one.profile for one in self.on)
        effects = {name: set(wheres(predict(scenario, replace(profile, **{name: getattr(asked, name)}), seen(first.observed))))
                   for name in read}
        # By their own names: what some of them do (br_nf_forward) the model knows by that.
        effects[OTHERS] = set(wheres(predict(scenario, profile, seen(second.observed))))
        return effects, dict.fromkeys(wheres(other), tuple(read) or (OTHERS,))


def _unprobed(name: str, on: Sequence[Target]) -> tuple[str, ...]:
    """Kernels on which a field could not be probed, each with what the probe met."""
    return tuple(f"{one.name}: {failed.partition(': ')[2]}" for one in on for failed in one.profile.unprobed
                 if failed.startswith(f"{name}: "))


def _field(name: str, on: tuple[Target, Target]) -> ProfileField:
    departures = [(one.name, departure) for one in on for departure in one.departures if departure.field == name]
    failed = _unprobed(name, on)
    return ProfileField(
        name, (on[0].profile.to_json()[name], on[1].profile.to_json()[name]),
        () if failed else tuple(f"{kernel}: {one.reason}" for kernel, one in departures if not one.explained),
        tuple(f"{kernel}: {one.reason}" for kernel, one in departures if one.explained), failed,
    )


def outcome(run: KernelContrast) -> Word:
    """The conclusion in one word; ``different`` beats ``inconclusive``."""
    profile, states = run.profile, {case.state for case in run.cases}
    if "different" in states or any(one.faults for one in profile):
        return "different"
    nothing = bool(run.rules) and states <= {"neither"}
    if nothing or "inconclusive" in states or run.missed or any(one.failed for one in profile):
        return "inconclusive"
    return "explained" if profile or "explained" in states else "alike"


def exit_code(run: KernelContrast, *, explained_is_different: bool = False) -> int:
    """1 if the two differ in what nothing explains, or one died; else 125 if anything is inconclusive or was not run; else 0.

    :param explained_is_different: 1 also for what their profiles explain
    """
    explained = any(not one.failed for one in run.profile) or any(case.state == "explained" for case in run.cases)
    found = "different" if explained_is_different and explained else outcome(run)
    return {"different": ExitCode.DIFFERENT, "inconclusive": ExitCode.CANNOT}.get(found, ExitCode.CONFORMANT)
