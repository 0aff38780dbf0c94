"""``--shell-on-failure`` opens a shell in the guest of a test that failed, with what the test has made still there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.images import kernels
from tests.e2e.conftest import DEADLINE_S, CommandLine
from tests.e2e.terminal import Terminal
from tests.e2e.test_pytest_plugin import run

pytestmark = pytest.mark.slow

FAILING = """
import subprocess
import pytest

pytestmark = pytest.mark.kernel

@pytest.fixture
def namespace():
    subprocess.run(["ip", "netns", "add", "of-the-test"], check=True)
    yield
    subprocess.run(["ip", "netns", "delete", "of-the-test"], check=True)

def test_passes(namespace):
    pass

def test_fails(namespace):
    assert "this" == "that"

@pytest.mark.xfail
def test_is_expected_to_fail():
    assert False

def test_comes_after_it():
    assert subprocess.run(["ip", "netns"], capture_output=True, check=True).stdout == b""
"""

Starter = Callable[..., Terminal]


@pytest.fixture
def started(nfharness: CommandLine, tmp_path: Path) -> Iterator[Starter]:
    """Starts pytest in a terminal, on a file with FAILING."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(FAILING)
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        opened.append(Terminal(nfharness, "test", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-c", str(tmp_path / "pytest.ini"),
                               "--kernel", kernels.DEFAULT, "--shell-on-failure", *arguments, str(tmp_path / "test_it.py")))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def test_the_shell_has_what_the_test_made_and_the_run_goes_on(started: Starter, tmp_path: Path) -> None:
    terminal = started("--report-jsonl", str(tmp_path / "out.jsonl"))
    told = terminal.until(b"nfharness: a shell in this test's guest")
    assert b"AssertionError: assert 'this' == 'that'" in told
    terminal.until(b"# ")
    terminal.type(b"ip netns; stty size; tty\n")
    assert b"\rof-the-test\r\n33 101\r\n" in terminal.until(b"/dev/pts/")
    terminal.until(b"# ")
    terminal.type(b"until stty size | grep '40 120'; do sleep 0.1; done\n")
    terminal.until(b"done\r\n")
    terminal.resize(40, 120)
    terminal.until(b"40 120\r\n")
    terminal.until(b"# ")
    terminal.type(b"sh -c 'echo star\"\"ted; exec sleep 600'\n")
    terminal.until(b"started\r\n")
    terminal.type(b"\x03")
    terminal.until(b"# ")
    terminal.type(b"ip netns add of-mine; sleep 600 & exit\n")
    terminal.until(b" passed")
    assert terminal.process.wait(DEADLINE_S) == 1
    assert terminal.settings() == terminal.before
    results = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [one["outcome"] for one in results if "test" in one] == ["passed", "failed", "xfailed", "passed"]
    # What was done in the shell is not the test's, and no other test sees it.
    assert [one["message"] for one in results if one.get("outcome") == "failed"] == ["AssertionError: assert 'this' == 'that'"]


def test_a_guest_that_dies_of_the_shell_gives_the_terminal_back(started: Starter, tmp_path: Path) -> None:
    terminal = started("--report-jsonl", str(tmp_path / "out.jsonl"), "-k", "test_fails")
    terminal.until(b"# ")
    terminal.type(b"echo c > /proc/sysrq-trigger\n")
    terminal.until(b"Kernel panic - not syncing: sysrq triggered crash (while its shell was open)")
    assert terminal.process.wait(DEADLINE_S) == 1
    assert terminal.settings() == terminal.before
    [result] = [one for line in (tmp_path / "out.jsonl").read_text().splitlines() if "test" in (one := json.loads(line))]
    assert "assert 'this' == 'that'" in result["detail"]


def test_what_is_forgiven_opens_no_shell(started: Starter, tmp_path: Path) -> None:
    (tmp_path / "known.toml").write_text('[[waiver]]\ntest = "*test_fails*"\nforgives = "that"\nwhy = "it is known"\n')
    terminal = started("--waivers", str(tmp_path / "known.toml"))
    assert b"a shell in" not in terminal.until(b"2 xfailed")
    assert terminal.process.wait(DEADLINE_S) == 0


def test_without_a_terminal_it_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(FAILING)
    for arguments, why in (([], "standard input and output are not a terminal"), (["-n2"], "workers of pytest-xdist have no terminal")):
        done = run(tmp_path, "--kernel", kernels.DEFAULT, "--shell-on-failure", *arguments)
        assert done.returncode == 4, done.stdout
        assert why in done.stderr
        assert "  hint: " in done.stderr
