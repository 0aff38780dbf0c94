"""Failures that a file of waivers forgives, or that an earlier run had."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.pytest_plugin.report.known import waivers
from tests.channels import OPTIONS, contradictions, summary

pytest_plugins = ["pytester"]

TESTS = """
import pytest

@pytest.fixture
def dirty():
    yield
    raise RuntimeError("devices were left behind: dummy1")

def test_leaves(dirty): pass
def test_fails_and_leaves(dirty): assert 0
@pytest.mark.parametrize("name", ["fib_tests.sh", "nat.sh"])
def test(name): assert name == "nat.sh", "no route"
def test_passes(): pass
"""
LEAVES = '[[waiver]]\ntest = "*leaves"\nforgives = "left behind: dummy\\\\d"\nwhy = "its own fault"\n'


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(test_it=TESTS)
    return pytester


def outcomes(pytester: pytest.Pytester) -> dict[str, str]:
    lines = [json.loads(line) for line in (pytester.path / "out.jsonl").read_text().splitlines()]
    return {line["test"].partition("::")[2]: line["outcome"] for line in lines if "test" in line}


def test_a_waiver_forgives_that_and_nothing_else(suite: pytest.Pytester) -> None:
    (suite.path / "known.toml").write_text(LEAVES)
    done = suite.runpytest_inprocess(*OPTIONS, "--waivers", "known.toml")
    assert outcomes(suite) == {"test_leaves": "xfailed", "test_fails_and_leaves": "failed", "test[fib_tests.sh]": "failed",
                               "test[nat.sh]": "passed", "test_passes": "passed"}
    done.stdout.fnmatch_lines(["nfharness: waivers that forgave something: 1 of 1"])
    told = json.loads((suite.path / "out.jsonl").read_text().splitlines()[0])
    assert told["message"] == "waived: its own fault"


def test_every_channel_says_that_it_was_forgiven(suite: pytest.Pytester) -> None:
    (suite.path / "known.toml").write_text('[[waiver]]\ntest = "*"\nforgives = "."\nwhy = "all is well"\n')
    done = suite.runpytest_inprocess(*OPTIONS, "--waivers", "known.toml")
    assert done.ret == 0
    assert contradictions(suite.path, done.ret, summary(done.stdout.str())) == []


def test_a_waiver_names_a_test_by_its_parameters(suite: pytest.Pytester) -> None:
    (suite.path / "known.toml").write_text('[[waiver]]\ntest = "fib_tests.sh"\nforgives = "no route"\nwhy = "none here"\nkernel = "host"\n')
    suite.runpytest_inprocess(*OPTIONS, "--waivers", "known.toml")
    assert outcomes(suite)["test[fib_tests.sh]"] == "xfailed"


def test_a_waiver_that_was_not_needed_is_named(suite: pytest.Pytester) -> None:
    (suite.path / "known.toml").write_text('[[waiver]]\ntest = "*test_passes"\nforgives = "."\nwhy = "w"\n'
                                           '[[waiver]]\ntest = "another"\nforgives = "."\nwhy = "w"\n')
    done = suite.runpytest_inprocess("--waivers", "known.toml")
    done.stdout.fnmatch_lines(["nfharness: waivers that forgave something: 0 of 2; about tests that did not run: 1",
                               "nfharness: not needed, their tests did not fail so: [*]test_passes"])


def test_a_kernel_that_is_not_meant_is_not_forgiven(suite: pytest.Pytester) -> None:
    (suite.path / "known.toml").write_text(LEAVES + 'kernel = "6.12*"\n')
    suite.runpytest_inprocess(*OPTIONS, "--waivers", "known.toml")
    assert outcomes(suite)["test_leaves"] == "error"


def test_the_setting_names_a_file_as_well(suite: pytest.Pytester) -> None:
    (suite.path / "known.toml").write_text(LEAVES)
    suite.makeini("[pytest]\nwaivers = known.toml\n")
    suite.runpytest_inprocess(*OPTIONS)
    assert outcomes(suite)["test_leaves"] == "xfailed"


def test_with_workers_it_is_the_same(suite: pytest.Pytester) -> None:
    (suite.path / "known.toml").write_text(LEAVES)
    suite.runpytest_inprocess(*OPTIONS, "--waivers", "known.toml", "-n2")
    assert outcomes(suite)["test_leaves"] == "xfailed"
    assert outcomes(suite)["test_fails_and_leaves"] == "failed"


def test_of_a_baseline_only_what_is_new_fails(suite: pytest.Pytester) -> None:
    suite.runpytest_inprocess(*OPTIONS)
    (suite.path / "out.jsonl").rename(suite.path / "before.jsonl")
    assert suite.runpytest_inprocess(*OPTIONS, "--baseline", "before.jsonl").ret == 0
    other = TESTS.replace("def test_passes(): pass", "def test_passes(): assert 0").replace('"nat.sh", "no', '"fib_tests.sh", "no')
    suite.makepyfile(test_it=other)
    done = suite.runpytest_inprocess(*OPTIONS, "--baseline", "before.jsonl")
    assert done.ret == 1
    assert outcomes(suite) == {"test_leaves": "xfailed", "test_fails_and_leaves": "xfailed", "test[fib_tests.sh]": "passed",
                               "test[nat.sh]": "failed", "test_passes": "failed"}
    done.stdout.fnmatch_lines(["nfharness: failures known from the baseline: 2", "nfharness: no failure any more: *fib_tests.sh*"])


@pytest.mark.parametrize(("text", "message"), [
    ("waiver = 3", "something else than waivers"), ("", "something else than waivers"), ("[[waiver]\n", "Expected"),
    ('[[waiver]]\ntest = "a"\nforgives = "b"\n', "waiver 1: why is missing"),
    ('[[waiver]]\ntest = "a"\nforgives = ""\nwhy = "c"\n', "waiver 1: forgives is missing"),
    ('[[waiver]]\ntest = "a"\nforgives = "("\nwhy = "c"\n', "waiver 1: forgives is no regular expression"),
    ('[[waiver]]\ntest = "a"\nforgives = "b"\nwhy = "c"\nuntl = 3\n', "waiver 1: unknown key 'untl'"),
    ('[[waiver]]\ntest = "a"\nforgives = "b"\nwhy = "c"\nuntil = "soon"\n', "waiver 1: until is 'soon'"),
    ('[[waiver]]\ntest = "a"\nforgives = "b"\nwhy = "c"\nuntil = 2026-01-31\n', "waiver 1 (a) has ended on 2026-01-31"),
])
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "known.toml").write_text(text)
    with pytest.raises(UserError) as refused:
        waivers(tmp_path / "known.toml", date(2026, 2, 1))
    assert message in refused.value.message


def test_a_waiver_holds_on_its_last_day(tmp_path: Path) -> None:
    (tmp_path / "known.toml").write_text(LEAVES + "until = 2026-02-01\n")
    assert [waiver.test for waiver in waivers(tmp_path / "known.toml", date(2026, 2, 1))] == ["*leaves"]


@pytest.mark.parametrize("option", ["--waivers", "--baseline"])
def test_a_file_that_is_not_there_ends_the_run(suite: pytest.Pytester, option: str) -> None:
    done = suite.runpytest_inprocess(option, "absent")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: absent: No such file or directory", "*hint: *"])
