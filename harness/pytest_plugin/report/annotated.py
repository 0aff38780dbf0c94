"""Results of tests for a reader on GitHub: an annotation at each test that failed, and the step's summary."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from harness.errors import HostError
from harness.host.github import Annotation, commands, place_in_repository, summarise
from harness.pytest_plugin.report.results import Outcome, Result

__all__ = ("told_on_github",)


def told_on_github(kernels: Mapping[str, Sequence[Result]], root: Path) -> list[str]:
    """Print annotations on standard error, write the summary; what could not be written.

    :param root: pytest's root directory, which the files of tests are below
    """
    findings = [_finding(kernel, result, root) for kernel, results in kernels.items() for result in results if not result.good]
    for line in commands(findings):
        print(line, file=sys.stderr)
    counts = {kernel: Counter(result.outcome for result in results) for kernel, results in kernels.items()}
    outcomes = [outcome for outcome in get_args(Outcome) if any(count[outcome] for count in counts.values())]
    table = [["kernel", *outcomes], *([kernel, *(str(count[outcome]) for outcome in outcomes)] for kernel, count in counts.items())]
    try:
        summarise("Tests", table, findings)
    except HostError as error:
        return [error.message]
    return []


def _finding(kernel: str, result: Result, root: Path) -> Annotation:
    place = place_in_repository(root / result.module)
    detail = "\n\n".join((result.detail, *(f"{title}:\n{text}" for title, text in result.sections)))
    return Annotation("error", f"{result.outcome}: {result.name} on {kernel}", result.message or result.outcome, detail, place, result.line)
