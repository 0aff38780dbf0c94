"""How a kernel's own tests are found and run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.images import selftests
from harness.pytest_plugin.guest import programs
from harness.pytest_plugin.guest.kselftests import run

#: A worker in a guest is the subreaper of what it starts (PR_SET_CHILD_SUBREAPER).
_WORKER = """
import ctypes, pathlib, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
from harness.pytest_plugin.guest.kselftests import run
from harness.pytest_plugin.guest.state import children
run(pathlib.Path(sys.argv[1]), "forks.sh", slow=False, limit_s=None)
assert not list(children())
"""
_MAKEFILE = """
TEST_PROGS := b.sh \\
\ta.sh # two
TEST_PROGS += gone.sh
TEST_PROGS_EXTENDED = slow.sh
TEST_GEN_PROGS = program nowhere
TEST_GEN_FILES += helper
include ../../lib.mk
"""


def _script(directory: Path, text: str, name: str = "one.sh") -> str:
    (directory / name).write_text(f"#!/bin/sh\n{text}\n")
    return name


def _failure(directory: Path, text: str, *, slow: bool = False, limit_s: float | None = 60) -> str:
    with pytest.raises(pytest.fail.Exception) as failed:
        run(directory, _script(directory, text), slow=slow, limit_s=limit_s)
    return str(failed.value)


@pytest.mark.parametrize(("slow", "said"), [(True, "slow: yes"), (False, "slow: no")])
def test_an_emulated_guest_is_a_slow_machine_to_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str], slow: bool, said: str) -> None:
    run(tmp_path, _script(tmp_path, "echo slow: ${KSFT_MACHINE_SLOW:-no}"), slow=slow, limit_s=60)
    assert said in capsys.readouterr().out


def test_what_a_script_leaves_running_is_neither_awaited_nor_left_behind(tmp_path: Path) -> None:
    _script(tmp_path, "timeout 100000 sleep 100000 &", "forks.sh")
    subprocess.run([sys.executable, "-c", _WORKER, str(tmp_path)], check=True, timeout=60)


@pytest.mark.parametrize(("output", "reason"), [
    ("SKIP: no jq\nmore", "SKIP: no jq"), ("ok 1 a # SKIP no jq\nend", "ok 1 a # SKIP no jq"), ("[SKIP] no jq\nend", "[SKIP] no jq"),
    ("conf: TEST_SKIP_slow=n\nI: [SKIPPED] 1/1 a\nTest skipped due to json=n\nend", "Test skipped due to json=n"), ("a\nb", "b"),
])
def test_the_reason_of_a_skip_is_the_line_that_says_it(output: str, reason: str) -> None:
    assert programs.skip_reason(output) == reason


@pytest.mark.parametrize(("output", "telling"), [
    ("a\nFAIL: the ping\nend", "FAIL: the ping"), ("conf: TEST_FAIL_ON_SKIP=n\nW: [FAILED] 1/1 a\nend", "W: [FAILED] 1/1 a"),
    ("ok 1 a\nnot ok 2 b\nend", "not ok 2 b"), ("x: not found\nend", "x: not found"), ("a\nend", "end"),
])
def test_what_tells_of_a_failure_is_no_name_that_has_the_word_in_it(output: str, telling: str) -> None:
    assert programs.telling(output) == telling


def test_statuses_are_those_of_kselftest(tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match="SKIP: no such tool"):
        run(tmp_path, _script(tmp_path, "echo SKIP: no such tool; echo more; exit 4"), slow=False, limit_s=60)
    with pytest.raises(pytest.xfail.Exception, match="as known"):
        run(tmp_path, _script(tmp_path, "echo as known; exit 2"), slow=False, limit_s=60)
    assert _failure(tmp_path, "echo x: not found; echo FAIL: the ping; echo end; exit 1") == "exit status 1: FAIL: the ping"
    assert _failure(tmp_path, "exit 3") == "exit status 3: it said nothing"


def test_a_script_that_does_not_end_has_failed_and_its_output_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _failure(tmp_path, "echo begun; exec sleep 1000", limit_s=0.5) == "it did not end within 0 s (--deadline); its last words: begun"
    assert "begun" in capsys.readouterr().out


def test_a_failure_in_an_emulated_guest_tells_the_scripts_own_limits(tmp_path: Path) -> None:
    script = "echo ERROR: no reply; exit 1\nMY_TIMEOUT=15\ntimeout=0\ntimeout 5 cat\nlocal timeout=5\nsysctl udp_timeout=60\n"
    assert _failure(tmp_path, script) == "exit status 1: ERROR: no reply"
    _, told = _failure(tmp_path, script, slow=True).splitlines()
    assert told == ("It gives what it waits for 5, 15 s, which may be too short for this emulated guest; "
                    "only a host with KVM is faster.")
    assert _failure(tmp_path, "exit 1", slow=True) == "exit status 1: it said nothing"


def test_a_program_that_could_not_be_compiled_has_failed(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="program could not be compiled"):
        run(tmp_path, "program", slow=False, limit_s=60)


def test_scripts_find_the_ebtables_that_knows_broute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    legacy = tmp_path / _script(tmp_path, "echo legacy", "ebtables-legacy")
    legacy.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    run(tmp_path, _script(tmp_path, '[ "$(ebtables)" = legacy ]'), slow=False, limit_s=60)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory ``selftests`` with some collections."""
    place = tmp_path / "net/netfilter"
    for name in ("net/netfilter", "net", "netns", "empty"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "Makefile").write_text("")
    (place / "Makefile").write_text(_MAKEFILE)
    for name in ("a.sh", "b.sh", "slow.sh", "program.c", "helper.c"):
        (place / name).touch()
    return tmp_path


def test_a_collections_tests_are_its_scripts_and_what_is_compiled_of_its_programs(tree: Path) -> None:
    assert selftests.tests(tree, "net/netfilter") == ["a.sh", "b.sh", "program"]


@pytest.mark.parametrize(("name", "others"), [("netfilter", "net/netfilter"), ("net/nothing", "net, net/netfilter"),
                                              ("nothing", "empty, net, netns"), ("..", "empty, net, netns"), ("/etc", "empty, net, netns")])
def test_an_unknown_collection_gets_those_named_that_could_be_meant(tree: Path, name: str, others: str) -> None:
    with pytest.raises(UserError, match="is no collection of this kernel's selftests") as raised:
        selftests.tests(tree, name)
    assert raised.value.hint == f"one of {others}"


def test_a_collection_without_tests_of_its_own_is_an_error(tree: Path) -> None:
    with pytest.raises(UserError, match="empty of this kernel's selftests has no tests but those of collections in it"):
        selftests.tests(tree, "empty")


@pytest.mark.parametrize(("settings", "seconds"), [("timeout=1800\n", 1800), ("timeout=0\n", None), (None, 45)])
def test_a_tests_time_is_the_collections_own_or_what_kselftest_gives(tree: Path, settings: str | None, seconds: float | None) -> None:
    if settings:
        (tree / "net/netfilter/settings").write_text(settings)
    assert selftests.limit(tree, "net/netfilter") == seconds
