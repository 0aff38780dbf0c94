"""Runs of tests, read again and compared: nfharness results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.results import command
from harness.cli.results_page import results_page, rows
from harness.errors import UserError
from harness.pytest_plugin.report.reports import json_lines
from harness.pytest_plugin.report.results import Outcome, Result
from harness.pytest_plugin.report.runs import SCHEMA, ResultsFile, changes

A: dict[str, Outcome] = {"a": "passed", "b": "failed", "c": "passed", "d": "failed", "e": "passed"}
B: dict[str, Outcome] = {"a": "failed", "b": "passed", "c": "passed", "d": "lost", "f": "skipped"}


def written(path: Path, outcomes: dict[str, Outcome], seconds: float = 1.0, *, whole: bool = True, began: str = "2026-01-01") -> Path:
    results = [Result(f"t.py::{name}", "6.12", outcome, seconds, "" if outcome == "passed" else "why")
               for name, outcome in outcomes.items()]
    lines = json_lines(results, {"schema": SCHEMA, "began": began})
    path.write_text("".join(f"{line}\n" for line in (lines if whole else lines[:-1])))
    return path


def test_each_kind_of_change_is_told(tmp_path: Path) -> None:
    first, second = ResultsFile.read(written(tmp_path / "a", A)), ResultsFile.read(written(tmp_path / "b", B))
    assert {change.test[-1]: change.kind for change in changes(first, second)} == {
        "a": "new failure", "b": "fixed", "d": "still failing", "f": "new", "e": "gone"}


@pytest.mark.parametrize(("before", "after", "kinds"), [
    (1.0, 2.5, ["slower"]), (1.0, 1.9, []), (0.1, 0.9, []), (10.0, 19.0, []), (10.0, 21.0, ["slower"])])
def test_slower_is_twice_as_long_and_a_second_more(tmp_path: Path, before: float, after: float, kinds: list[str]) -> None:
    runs = [ResultsFile.read(written(tmp_path / name, {"a": "passed"}, seconds)) for name, seconds in (("1", before), ("2", after))]
    assert [change.kind for change in changes(*runs)] == kinds


def test_a_test_that_failed_and_passed_in_one_run_is_unsteady(tmp_path: Path) -> None:
    path = written(tmp_path / "b", {"a": "failed"})
    path.write_text(written(tmp_path / "a", {"a": "passed"}, whole=False).read_text() + path.read_text())
    first = ResultsFile.read(tmp_path / "a")
    assert [(change.kind, change.after) for change in changes(first, ResultsFile.read(path))] == [("unsteady", ("passed", "failed"))]


@pytest.mark.parametrize(("first", "second", "status"), [(A, B, 1), (A, A, 0), (B, {"b": "passed"}, 0), ({}, {"a": "passed"}, 2)])
def test_the_exit_status_is_that_of_what_is_new(tmp_path: Path, first: dict[str, Outcome], second: dict[str, Outcome], status: int) -> None:
    paths = [str(written(tmp_path / name, outcomes, whole=bool(outcomes))) for name, outcomes in (("1", first), ("2", second))]
    done = CliRunner().invoke(command, ["diff", *paths])
    assert (2 if isinstance(done.exception, UserError) else done.exit_code) == status


def test_json_has_all_changes(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["diff", "--json", str(written(tmp_path / "1", A)), str(written(tmp_path / "2", B))])
    found = json.loads(done.stdout)
    assert found["counts"] == {"new failure": 1, "fixed": 1, "still failing": 1, "new": 1, "gone": 1}
    assert found["changes"][0] == {"kind": "new failure", "test": "t.py::a", "kernel": "6.12", "before": ["passed"], "after": ["failed"],
                                   "seconds": [1.0, 1.0], "message": "why"}


def test_a_run_that_was_cut_off_is_no_pass(tmp_path: Path) -> None:
    second = written(tmp_path / "2", A, whole=False)
    second.write_text(second.read_text() + '{"test": "t.py::e", "ker')
    done = CliRunner().invoke(command, ["diff", str(written(tmp_path / "1", A)), str(second)])
    assert done.exit_code == 125
    assert "was cut off" in done.stderr


@pytest.mark.parametrize(("text", "message"), [
    ("", "has no results"), ("hello\n", "line 1 is no JSON"), ("{}\n", "line 1 is no result"), ("[1]\n", "line 1 is no result"),
    ('{"summary": {"schema": 99}}\n', "has schema 99"), ('{"summary": 1}\n', "has schema None"), ("[" * 100_000 + "\n", "is no JSON"),
    ('{"test": "a", "kernel": "k", "outcome": "great", "seconds": 1, "message": ""}\n', "unknown outcome 'great'"),
])
def test_what_is_no_run_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a").write_text(text)
    with pytest.raises(UserError) as refused:
        ResultsFile.read(tmp_path / "a")
    assert message in refused.value.message


def test_the_page_says_what_fails_since_when(tmp_path: Path) -> None:
    history: list[dict[str, Outcome]] = [
        {"new": "passed", "old": "failed", "flips": "failed", "mended": "failed", "flaky": "passed"},
        {"new": "passed", "old": "failed", "flips": "passed", "flaky": "flaky"},
        {"new": "failed", "old": "lost", "flips": "failed", "mended": "passed", "flaky": "passed"}]
    runs = [ResultsFile.read(written(tmp_path / f"{n}", outcomes, began=f"2026-01-0{n}")) for n, outcomes in enumerate(history, 1)]
    found = {row.test.partition("::")[2]: (row.state, row.since) for row in rows(runs)}
    assert found == {"new": ("failing", 2), "old": ("failing", 0), "flips": ("unsteady", 2), "mended": ("fixed", None),
                     "flaky": ("unsteady", None)}
    page = results_page([runs[2], runs[0], runs[1]])
    assert page.index("2026-01-01") < page.index("2026-01-02") < page.index("2026-01-03")
    assert "failing since 2026-01-03" in page


def test_the_page_replaces_no_run(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", A)
    done = CliRunner().invoke(command, ["page", "--html", str(path), str(tmp_path)])
    assert (done.exit_code, ResultsFile.read(path).whole) == (2, True)


def test_the_page_of_a_directory_is_written(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    written(tmp_path / "runs" / "a.jsonl", {"<b>&\x1b": "failed", "no text \ud800": "failed"})
    done = CliRunner().invoke(command, ["page", "--html", str(tmp_path / "out.html"), str(tmp_path / "runs")])
    assert done.exit_code == 0
    assert "t.py::&lt;b&gt;&amp;\\x1b" in (tmp_path / "out.html").read_text()
