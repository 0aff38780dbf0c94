"""Runs that were reported as JSON Lines (``--report-jsonl``), read again and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from harness.errors import UserError
from harness.pytest_plugin.report.results import Outcome, Result

__all__ = ("SCHEMA", "ResultChange", "ResultsFile", "changes", "files_of")

SCHEMA = 1
"""Of the file's lines, in its summary: another one has other keys, or the same with another meaning."""
#: That a test must take longer, and how many times as long, to be called slower: less is the host's doing.
_SLOWER_S, _SLOWER = 1.0, 2.0
_HINT = "take a file that pytest --report-jsonl has written"


@dataclass(frozen=True, slots=True)
class ResultsFile:
    """A file of results.

    :param whole: whether the run came to its end: the file has its summary
    :param began: when, in ISO 8601; empty if it is not whole
    """

    path: Path
    results: tuple[Result, ...]
    whole: bool
    began: str = ""

    @classmethod
    def read(cls, path: Path) -> ResultsFile:
        """Read a file.

        :raises UserError: it cannot be read, is not such a file, or one of another schema
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: {error.strerror if isinstance(error, OSError) else 'it is no text'}", hint=_HINT) from None
        results: list[Result] = []
        for number, line in enumerate(lines, 1):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                if number == len(lines) and results:  # it was cut off
                    break
                raise UserError(f"{path}: line {number} is no JSON", hint=_HINT) from None
            if isinstance(found, dict) and "summary" in found:
                _check_schema(path, found["summary"])
                return cls(path, tuple(results), whole=True, began=str(found["summary"].get("began", "")))
            results.append(_result(path, number, found))
        if not results:
            raise UserError(f"{path} has no results", hint=_HINT)
        return cls(path, tuple(results), whole=False)


def _check_schema(path: Path, summary: Any) -> None:
    schema = summary.get("schema") if isinstance(summary, dict) else None
    if schema != SCHEMA:
        raise UserError(f"{path} has schema {schema}, and this is for {SCHEMA}", hint="compare runs of one version of nfharness")


def _result(path: Path, number: int, line: Any) -> Result:
    try:
        result = Result(line["test"], line["kernel"], line["outcome"], float(line["seconds"]), line["message"])
    except (TypeError, KeyError, ValueError):
        raise UserError(f"{path}: line {number} is no result of a test", hint=_HINT) from None
    if result.outcome not in get_args(Outcome):
        raise UserError(f"{path}: line {number}: unknown outcome {result.outcome!r}", hint=_HINT)
    return result


@dataclass(frozen=True, slots=True)
class ResultChange:
    """What is otherwise with a test in the second run.

    :param kind: ``new failure``, ``fixed``, ``still failing``, ``unsteady`` (it both failed and passed within one run: ``flaky``, or on
        several workers), ``slower``, ``new`` or ``gone``
    :param before: its outcomes; none if it was not there
    """

    kind: str
    test: str
    kernel: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    seconds: tuple[float, float] = (0.0, 0.0)
    message: str = ""


def changes(first: ResultsFile, second: ResultsFile) -> Iterator[ResultChange]:
    """Compare two runs, test by test: those of the second in its order, then what only the first had."""
    old, new = _by_test(first), _by_test(second)
    for place, now in new.items():
        before = old.get(place, [])
        if kind := _kind(before, now):
            seconds = max((one.seconds for one in before), default=0.0), max(one.seconds for one in now)
            message = next((one.message for one in now if not one.good), "")
            yield ResultChange(kind, *place, _outcomes(before), _outcomes(now), seconds, message)
    yield from (ResultChange("gone", *place, _outcomes(before), ()) for place, before in old.items() if place not in new)


def _by_test(run: ResultsFile) -> dict[tuple[str, str], list[Result]]:
    found: dict[tuple[str, str], list[Result]] = {}
    for one in run.results:
        found.setdefault((one.test, one.kernel), []).append(one)
    return found


def _outcomes(results: list[Result]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.outcome for one in results))


def _kind(before: list[Result], now: list[Result]) -> str:
    """What has changed; empty for nothing."""
    bad = [not one.good for one in now]
    if (any(bad) and not all(bad)) or any(one.outcome == "flaky" for one in now):
        return "unsteady"
    failed_before = any(not one.good for one in before)
    if any(bad):
        return "still failing" if failed_before else "new failure"
    if failed_before:
        return "fixed"
    if not before:
        return "new"
    took, takes = (max(one.seconds for one in each) for each in (before, now))
    return "slower" if takes > max(took * _SLOWER, took + _SLOWER_S) else ""


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Files of runs, and those that end with ``.jsonl`` in directories.

    :raises UserError: a directory has none
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if not inside:
            raise UserError(f"{path} has no file that ends with .jsonl", hint=_HINT)
        found += inside
    return found
