"""What a run came to: each mutant with its verdict, and what that means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import Any, Literal

from harness.conformance.matrix import Target
from harness.errors import ExitCode
from harness.mutate.equivalents import Proof
from harness.mutate.kept import MutantResult
from harness.mutate.mutant import Mutant

__all__ = ("STATES", "Judged", "Outcome", "as_json", "counted", "exit_code", "pace")

Outcome = Literal["survives", "unclear", "unproved", "unfinished", "not run", "unseen", "equivalent", "caught"]
#: The worst first → what it means.
STATES: dict[Outcome, str] = {
    "survives": "no rule and no field of the profile tells it from what is right",
    "unclear": "nothing told, and a rule was inconclusive or the kernel could not be asked",
    "unproved": "a proof says that nothing can tell it, and something does: the proof is wrong",
    "unfinished": "the rules of its function do not tell it, and the run ended before the profile and the others",
    "not run": "the run ended before",
    "unseen": "only a sanitizer can tell it, and the proof says which",
    "equivalent": "nothing can tell it, and the proof says why",
    "caught": "a rule or a field of the profile tells it: different, or the kernel died of it",
}


@dataclass(frozen=True, slots=True)
class Judged:
    """A mutant and what came of it.

    :param verdict: ``None`` if it has not been run
    :param proof: that nothing can tell it, if there is one
    """

    mutant: Mutant
    verdict: MutantResult | None
    proof: Proof | None = None

    @property
    def why(self) -> str:
        """Why it is not caught, as far as that is known."""
        if self.proof:
            return f"{f'needs {self.proof.sanitizer}: ' if self.proof.sanitizer else ''}{self.proof.why}"
        return self.verdict.how if self.verdict and self.verdict.state != "caught" else ""

    @property
    def outcome(self) -> Outcome:
        if self.verdict is None:
            return "not run"
        if self.proof:
            return "unproved" if self.verdict.state == "caught" else "unseen" if self.proof.sanitizer else "equivalent"
        return self.verdict.state if self.verdict.whole or self.verdict.state == "caught" else "unfinished"


def counted(judged: Sequence[Judged]) -> dict[Outcome, int]:
    """How many there are of each, those that there are, the worst first."""
    found = Counter(one.outcome for one in judged)
    return {state: found[state] for state in STATES if found[state]}


def exit_code(judged: Sequence[Judged]) -> int:
    """1 if any survives, or a proof is wrong; else 125 if of any nothing is known; else 0."""
    found = counted(judged)
    if "survives" in found or "unproved" in found:
        return ExitCode.DIFFERENT
    return ExitCode.CANNOT if found.keys() & {"unclear", "unfinished", "not run"} or not judged else ExitCode.CONFORMANT


def pace(judged: Sequence[Judged]) -> dict[str, float]:
    """Seconds for a mutant, and the load of the host while they were run, in processes for each processor."""
    verdicts = [one.verdict for one in judged if one.verdict]
    if not verdicts:
        return {}
    seconds = [one.seconds for one in verdicts]
    return {"mean_s": round(mean(seconds), 1), "median_s": round(median(seconds), 1), "most_s": round(max(seconds), 1),
            "load": round(mean(one.load for one in verdicts), 1)}


def as_json(source: str, on: Target, judged: Sequence[Judged], left_out: Mapping[str, str], silent: Mapping[str, str]) -> dict[str, Any]:
    """What ``mutate --json`` prints.

    :param left_out: mutants that are not in the kernel, by name, and why
    :param silent: rules that count for nothing, and their state without a mutant
    """
    return {"source": source, "kernel": on.identity(), "counts": counted(judged), "pace": pace(judged),
            "mutants": [_result(one) for one in judged], "left_out": dict(left_out), "silent_rules": dict(silent)}


def _result(one: Judged) -> dict[str, Any]:
    mutant = {key: value for key, value in asdict(one.mutant).items() if key != "changes"}
    verdict = {key: value for key, value in asdict(one.verdict).items() if key not in ("name", "state")} if one.verdict else {}
    return {**mutant, "outcome": one.outcome, "why": one.why, **verdict}
