"""``--backend ssh=HOST``: a guest in which sshd runs is the machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import HERE
from tests.e2e.ssh_box import HOST, box

pytestmark = pytest.mark.slow

_DEADLINE_S = 900


@pytest.fixture
def environment(ready: None, tmp_path: Path) -> Iterator[dict[str, str]]:
    if not shutil.which("ssh"):
        pytest.skip("openssh-client is not installed")
    place = tmp_path / "place"
    place.mkdir()
    with box(place) as known:
        yield {**{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}, **known}


def test_a_machine_that_goes_away_costs_the_test_that_ran_and_the_rest_say_why(environment: dict[str, str], tmp_path: Path) -> None:
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "pytest.ini").write_text("[pytest]\n")
    shutil.copy(HERE / "leaving_tests.py", suite / "test_it.py")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--backend", f"ssh={HOST}", *arguments]
        return subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)

    done = run("--report-jsonl", "out.jsonl")
    assert done.returncode == 1, done.stdout + done.stderr
    told = [one for line in (suite / "out.jsonl").read_text().splitlines() if "test" in (one := json.loads(line))]
    (release,) = {one["kernel"] for one in told}
    assert release.startswith("6.12")
    assert [(one["test"].partition("::")[2], one["outcome"]) for one in told] == [
        (f"test_a_rule_drops[{release}]", "passed"), (f"test_panics[{release}]", "lost"), (f"test_comes_after_that[{release}]", "error")]
    gone = "the connection to the machine is gone: "
    assert told[1]["message"].startswith(f"the session on {HOST} was lost: {gone}")
    assert told[2]["message"].startswith(f"the kernel of {HOST} is spoilt: {gone}")
    assert told[2]["message"].endswith(f"(test_it.py::test_panics[{release}])")

    again = run()
    assert again.returncode == 125
    assert f"{HOST} cannot be reached: " in again.stderr
    assert "no tests ran" not in again.stdout
