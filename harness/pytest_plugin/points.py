"""The points that a test which speaks TAP or KTAP has in its report, as reports like those of tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from harness.pytest_plugin.selection import KERNEL, POINTS

__all__ = ("failed_points", "phases_of_points")

_Judgement = tuple[Literal["passed", "failed", "skipped"], Any, dict[str, str]]


def failed_points(report: pytest.TestReport) -> str:
    """The names of the points that failed; empty if none did, or the test speaks no TAP."""
    points = json.loads(str(dict(report.user_properties).get(POINTS, "[]"))) if report.when == "call" else []
    return "\n".join(f"not ok: {point['name']}" for point in points if point["outcome"] == "failed")


def phases_of_points(report: pytest.TestReport) -> list[pytest.TestReport]:
    """The reports of the points in a test's report, which has no points any more; those of its call only."""
    points = _taken(report)
    return list(_reports(report, points)) if report.when == "call" else []


def _taken(report: pytest.TestReport) -> list[dict[str, Any]]:
    """The points in a report, which has none any more."""
    text = dict(report.user_properties).get(POINTS, "[]")
    report.user_properties = [one for one in report.user_properties if one[0] != POINTS]
    found: list[dict[str, Any]] = json.loads(str(text))
    return found


def _reports(report: pytest.TestReport, points: list[dict[str, Any]]) -> Iterator[pytest.TestReport]:
    """The phases of each point. Their node IDs are those of the test with the point's name among the parameters, each another one."""
    properties = [one for one in report.user_properties if one[0] == KERNEL]
    seen: dict[str, int] = {}
    for point in points:
        seen[point["name"]] = number = seen.get(point["name"], 0) + 1
        name = point["name"] if number == 1 else f"{point['name']} ({number})"
        nodeid = f"{report.nodeid.removesuffix(']')}: {name}]"
        location = (*report.location[:2], nodeid.partition("::")[2])
        end: _Judgement = ("passed", None, {})
        phases: tuple[tuple[Literal["call", "teardown"], _Judgement], ...] = ("call", _judged(point, report)), ("teardown", end)
        for when, (outcome, longrepr, more) in phases:
            made = pytest.TestReport(nodeid, location, {}, outcome, longrepr, when, (), 0.0, report.start, report.stop, properties, **more)
            if hasattr(report, "node"):
                made.node = report.node  # type: ignore[attr-defined]
            yield made


def _judged(point: dict[str, Any], report: pytest.TestReport) -> _Judgement:
    """Outcome and reason of a point, and what pytest keeps beside them."""
    match point["outcome"]:
        case "failed":
            return "failed", "\n".join((f"not ok: {point['name']}", *point["detail"])), {}
        case "skipped":
            return "skipped", (report.location[0], report.location[1] or 0, f"Skipped: {point['why'] or 'no reason given'}"), {}
        case "xfailed":
            return "skipped", None, {"wasxfail": point["why"] or "TODO"}
        case _:
            return "passed", None, {}
