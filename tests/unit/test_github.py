"""What GitHub is told: lines that it reads as annotations, and a summary that it can show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.annotated import tell_github
from harness.conformance.matrix import RuleResult
from harness.errors import HostError
from harness.host import github
from harness.host.github import Annotation, commands, place_in_repository, summarise

TABLE = [["kernel", "passed"], ["6.12|x", "3"]]


def test_an_annotation_is_one_line_whatever_a_test_said() -> None:
    finding = Annotation("error", "failed: a, b: c on 6.12", "100% wrong\nsecond\x1b[31m", file="tests/test_a.py", line=7)
    assert commands([finding]) == [
        "::error file=tests/test_a.py,line=7,title=failed%3A a%2C b%3A c on 6.12::100%25 wrong%0Asecond\\x1b[31m"]
    assert commands([Annotation("warning", "a", "b", line=7)]) == ["::warning title=a::b"]


def test_of_many_the_errors_come_first_and_ten_are_shown() -> None:
    found = commands([Annotation("warning", "w", "m"), *[Annotation("error", str(number), "m") for number in range(12)]])
    assert len(found) == 10
    assert all(line.startswith("::error") for line in found)


def test_a_place_is_a_path_in_what_the_job_has_checked_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tests/test_a.py"
    file.parent.mkdir()
    file.touch()
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    assert place_in_repository(file) == ""
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    assert place_in_repository(file) == "tests/test_a.py"
    assert place_in_repository(tmp_path / "tests") == place_in_repository(Path("/elsewhere")) == ""


def test_the_summary_is_added_to_and_shows_markup_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    summarise("Tests", TABLE, [Annotation("error", "<b>", "m", "line\n````\nend")])
    assert file.read_text() == (
        "before\n### Tests\n\n| kernel | passed |\n|---|---|\n| 6.12\\|x | 3 |\n\n"
        "<details><summary>error: &lt;b&gt;: m</summary>\n\n````\nline\n'''\nend\n````\n\n</details>\n\n")


def test_a_summary_that_github_would_not_take_is_cut_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    monkeypatch.setattr(github, "_SUMMARY", 400)
    summarise("Tests", TABLE, [Annotation("error", "t", "m", "x" * 100) for _ in range(5)])
    assert file.stat().st_size <= 400
    assert file.read_text().endswith("and 3 more\n")


def test_a_summary_that_cannot_be_written_is_an_error_and_without_one_nothing_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    summarise("Tests", TABLE, [])
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    with pytest.raises(HostError, match="Is a directory"):
        summarise("Tests", TABLE, [])


def test_a_check_annotates_what_is_not_conformant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    tell_github([RuleResult("order.ascending", "6.12", "conformant", ()),
                 RuleResult("drop.errno", "6.12", "different", (), details=("errno is 1",)),
                 RuleResult("netns.exit", "6.12", "inconclusive", (), reason="the tracer lost 3 events")])
    assert capsys.readouterr().err.splitlines() == [
        "::error title=different%3A drop.errno on 6.12::errno is 1",
        "::warning title=inconclusive%3A netns.exit on 6.12::the tracer lost 3 events"]
    assert "| kernel | conformant | different | inconclusive |\n|---|---|---|---|\n| 6.12 | 1 | 1 | 1 |" in file.read_text()


TESTS = """
def test_passes(): pass
def test_fails(): assert 1 == 2, "as told"
"""


def test_pytest_annotates_a_failure_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(TESTS)
    environment = {**os.environ, "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"), "GITHUB_WORKSPACE": str(tmp_path)}

    def annotated(*options: str) -> list[str]:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), *options, "test_one.py"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done
        return [line for line in done.stderr.splitlines() if line.startswith("::")]

    assert annotated() == []
    assert not (tmp_path / "summary.md").exists()
    (line,) = annotated("--github")
    assert line.startswith("::error file=test_one.py,line=3,title=failed%3A test_fails on host::AssertionError: as told")
    assert "| kernel | passed | failed |\n|---|---|---|\n| host | 1 | 1 |" in (tmp_path / "summary.md").read_text()
