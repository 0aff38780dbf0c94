"""What the documentation of test runs shows can be typed: its commands, and the CI job that is there to be copied."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.requirements import requirements

#: Packages of every Debian and Ubuntu, and what only a bare checkout needs.
EVERYWHERE = {None, "apt", "coreutils", "dash", "dpkg", "e2fsprogs", "mount", "tar", "util-linux", "xz-utils", "python3-venv"}
RUNNING = (Path(__file__).parents[2] / "harness" / "docs" / "running-tests.md").read_text()


def _workflow() -> str:
    (text,) = re.findall(r"```yaml\n(.*?)```", RUNNING, re.DOTALL)
    return str(text)


def test_pytest_has_each_option_that_is_shown() -> None:
    commands = [line for line in RUNNING.replace("\\\n", "").splitlines() if re.match(r"( {4}|\s*- run: )pytest ", line)]
    shown = {option for line in commands for option in re.findall(r"(?<=\s)--?[a-z-]+", line.partition("#")[0])}
    shown |= set(re.findall(r"^\| `(--[a-z-]+)", RUNNING, re.MULTILINE))
    help_text = subprocess.run([sys.executable, "-m", "pytest", "--help"], capture_output=True, text=True, check=True).stdout
    known = {*re.findall(r"(?<=[\s,])--?[a-z-]+", help_text), "--junitxml"}  # which the help calls --junit-xml
    assert {"--kernel", "-n", "--tx", "--report-html"} <= shown <= known


def test_the_job_installs_what_the_first_run_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    (line,) = re.findall(r"apt-get install -y (.*)", _workflow())
    assert {one.package for one in requirements()} - EVERYWHERE == set(line.split())


def test_nipas_results_are_made_of_a_report_as_the_page_shows(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "harness" / "docs" / "ci.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (printed,) = re.findall(r'```\n(\{"test".*?)```', page, re.DOTALL)
    ran = (("conntrack_dump_flush", "passed", 6.83), ("nf_conntrack_packetdrill.sh", "skipped", 8.078))
    lines = [{"test": f"test_kselftest.py::test[6.12-{name}]", "outcome": outcome, "seconds": seconds} for name, outcome, seconds in ran]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (*lines, {"summary": {"schema": 1}})))
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == printed
