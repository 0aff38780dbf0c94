"""What CI and pre-commit call is there, and the subject of a commit has its form."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import click
import pytest

from harness.cli.commands import nfharness

ROOT = Path(__file__).parents[2]
WORKFLOWS = {path.name: path.read_text() for path in sorted(ROOT.glob(".github/workflows/*.yml"))}
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_calls_scripts_and_commands_that_there_are(name: str) -> None:
    scripts = re.findall(r"run: (\.ci/\w+)", WORKFLOWS[name])
    commands = re.findall(r"run: python3 -m harness (\w+)", WORKFLOWS[name])
    assert scripts
    assert all(os.access(ROOT / script, os.X_OK) for script in scripts)
    assert set(commands) <= set(nfharness.list_commands(click.Context(nfharness)))


def test_every_script_of_ci_is_called_by_a_workflow_or_a_hook() -> None:
    called = re.findall(r"(?:run|entry): (\.ci/\w+)", "".join([*WORKFLOWS.values(), HOOKS]))
    assert {str(path.relative_to(ROOT)) for path in ROOT.glob(".ci/*")} == set(called)


def test_a_hook_calls_a_tool_of_the_lock() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    tools = re.findall(r"entry: \.venv/bin/([\w-]+)", HOOKS)
    assert sorted(tools) == ["clang-format", "mypy", "ruff"]
    assert all(re.search(rf"^{tool}==", lock, re.MULTILINE) for tool in tools)


@pytest.mark.parametrize(("subject", "passes"), [
    ("trace: see the calls of NAT's own loop, and name base chains", True), ("pytest, cli: say so", True), ("fixup! trace: see", True),
    ("Say what is so", False), ("trace:see", False), ("trace: " + "x" * 66, False), ("trace: " + "x" * 65, True), ("", False),
    ("trace: " + "→" * 65, True), ("trace: " + "→" * 66, False), ("kmod: need less", True), ("kmod: added more", False),
    ("trace: seeing all", False), ("nonsense: say so", False), ("trace, nonsense: say so", False), ("trace: say so", True),
    ("check: say so", True), ("kmod, tests, docs: say so", True), ("rules: say so", True), ("ci: say so", True),
])
def test_a_subject_names_its_subsystem_in_72_characters(subject: str, passes: bool, tmp_path: Path) -> None:
    message = tmp_path / "message"
    message.write_text(f"{subject}\n\nbody\n")
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run([ROOT / ".ci/subject", message], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode == 0) is passes, done.stderr


def test_the_weekly_job_fuzzes_and_names_tests_that_there_are() -> None:
    named = re.findall(r"(tests/\w+/\w+\.py)(?:::(\w+))?", (ROOT / ".ci/long").read_text())
    assert "tests/e2e/test_fuzz.py" in dict(named)
    assert [file for file, function in named if f"def {function}" not in (ROOT / file).read_text()] == []
