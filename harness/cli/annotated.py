"""Results of ``check`` for a reader on GitHub: annotations, and the step's summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.cli.say import say
from harness.conformance.judge import STATES
from harness.conformance.matrix import RuleResult
from harness.host.github import Annotation, commands, summarise

__all__ = ("tell_github",)


def tell_github(results: Sequence[RuleResult]) -> None:
    """Print annotations on standard error, as standard output may be JSON, and write the summary.

    :raises HostError: the summary cannot be written
    """
    findings = [_finding(result) for result in results if result.state in ("different", "lost", "inconclusive")]
    say(*commands(findings), error=True)
    kernels = {kernel: Counter(result.state for result in results if result.kernel == kernel)
               for kernel in dict.fromkeys(result.kernel for result in results)}
    states = [state for state in STATES if any(count[state] for count in kernels.values())]
    table = [["kernel", *(state.replace("_", " ") for state in states)],
             *([kernel, *(str(count[state]) for state in states)] for kernel, count in kernels.items())]
    summarise("Rules of core.c", table, findings)


def _finding(result: RuleResult) -> Annotation:
    details = (*result.promise, *(result.details or (result.reason,)), *((f"bundle: {result.bundle}",) if result.bundle else ()))
    message = result.reason or next(iter(result.details), result.state)
    title = f"{result.state}: {result.rule} on {result.kernel}"
    return Annotation("warning" if result.state == "inconclusive" else "error", title, message, "\n".join(details))
