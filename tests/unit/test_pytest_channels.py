"""Whatever happens in a run of pytest, each of its channels says it."""

from __future__ import annotations

import itertools
import json
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.errors import ExitCode
from tests.channels import OPTIONS, contradictions, summary

pytest_plugins = ["pytester"]

#: What can become of a test, but for the loss of its guest: see tests/e2e/test_pytest_plugin.py.
TESTS = {
    "passes": "def test_{n}(): pass",
    "fails": "def test_{n}(): assert not 'a lone surrogate: \\udcff <&> \\x1b[1m # ok 1'",
    "errs in its setup": "@pytest.fixture\ndef f{n}(): 1 / 0\ndef test_{n}(f{n}): pass",
    "errs in its teardown": "@pytest.fixture\ndef f{n}():\n    yield\n    1 / 0\ndef test_{n}(f{n}): pass",
    "fails, and so does its teardown": "@pytest.fixture\ndef f{n}():\n    yield\n    1 / 0\ndef test_{n}(f{n}): assert 0",
    "skips": "def test_{n}(): pytest.skip('why # not')",
    "is expected to fail": "@pytest.mark.xfail(reason='known')\ndef test_{n}(): assert 0",
    "passes unexpectedly": "@pytest.mark.xfail\ndef test_{n}(): pass",
    "passes unexpectedly, strictly": "@pytest.mark.xfail(strict=True)\ndef test_{n}(): pass",
    "ends its process, so to speak": "def test_{n}(): raise SystemExit(3)",
    "has parts": "@pytest.mark.parametrize('a', ['#', 'a b'])\ndef test_{n}(a): assert a == '#'",
}
#: How a run can end: a file beside the tests, and arguments.
ENDS = {
    "by itself": ("", []),
    "with a file that does not import": ("import nope", []),
    "with a file that does not import, going on": ("import nope", ["--continue-on-collection-errors"]),
    "with a file that is skipped": ("import pytest\npytest.skip('no', allow_module_level=True)", []),
    "interrupted": ("def test_z(): raise KeyboardInterrupt", []),
    "left by a test": ("import pytest\ndef test_z(): pytest.exit('enough')", []),
    "left as if all were well": ("import pytest\ndef test_z(): pytest.exit('enough', returncode=0)", []),
    "left with a status": ("import pytest\ndef test_z(): pytest.exit('enough', returncode=7)", []),
    "broken": ("raise SystemExit(1)", []),
    "in wrong usage": ("", ["test_absent.py"]),
    "at the first failure": ("def test_z(): pass", ["-x"]),
    "without a test": ("", ["-k", "nothing"]),
    "with another's status": ("", ["-p", "fussy"]),
    "with a worker that ends": ("import os\ndef test_z(): os._exit(3)", ["-n1"]),
}
FUSSY = """
import pytest

@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    session.exitstatus = session.exitstatus or 9
"""
_runs = itertools.count(1)


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tests=st.lists(st.sampled_from(sorted(TESTS)), max_size=4), end=st.sampled_from(sorted(ENDS)))
@example(tests=sorted(TESTS), end="by itself")
@example(tests=["passes"], end="with a file that does not import")
@example(tests=["passes", "fails"], end="with a file that does not import, going on")
@example(tests=["passes"], end="with a file that is skipped")
@example(tests=["passes"], end="interrupted")
@example(tests=["passes"], end="left by a test")
@example(tests=["passes"], end="left as if all were well")
@example(tests=["passes"], end="left with a status")
@example(tests=["passes"], end="broken")
@example(tests=["passes"], end="in wrong usage")
@example(tests=["fails", "passes"], end="at the first failure")
@example(tests=["passes"], end="without a test")
@example(tests=["passes"], end="with another's status")
@example(tests=["passes"], end="with a worker that ends")
@example(tests=[], end="by itself")
def test_every_channel_tells_the_same_story(pytester: pytest.Pytester, tests: list[str], end: str) -> None:
    text, arguments = ENDS[end]
    place = pytester.mkdir(f"run{next(_runs)}")
    (place / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    (place / "fussy.py").write_text(FUSSY)
    (place / "test_a.py").write_text("import pytest\n" + "\n".join(TESTS[test].format(n=n) for n, test in enumerate(tests)))
    (place / "test_b.py").write_text(text)
    pytester.chdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        done = pytester.runpytest_inprocess(*OPTIONS, "-p", "no:cacheprovider", f"--rootdir={place}", *arguments, no_reraise_ctrlc=True)
    assert contradictions(place, int(done.ret), summary(done.stdout.str())) == []
    _follows_the_schema_of_jenkins((place / "out.xml").read_text())


def _follows_the_schema_of_jenkins(text: str) -> None:
    """Element → the elements that may be in it, and its attributes, of junit-10.xsd those that pytest and we use."""
    finding: tuple[set[str], set[str]] = (set(), {"type", "message"})
    counts = {"name", "tests", "failures", "errors", "time"}
    grammar: dict[str, tuple[set[str], set[str]]] = {
        "testsuites": ({"testsuite"}, counts), "testsuite": ({"testcase"}, counts | {"skipped", "timestamp", "hostname"}),
        "testcase": ({"failure", "error", "skipped", "system-out", "system-err"}, {"name", "classname", "time"}),
        "failure": finding, "error": finding, "skipped": finding, "system-out": (set(), set()), "system-err": (set(), set()),
    }
    for element in ElementTree.fromstring(text).iter():  # noqa: S314 - our own
        children, attributes = grammar[element.tag]
        assert {child.tag for child in element} <= children
        assert set(element.keys()) <= attributes


@pytest.mark.parametrize(("conftest", "arguments"), [("import nope", []), ("", ["--nope"]), ("", ["--waivers=absent"])])
def test_a_run_that_does_not_begin_leaves_no_earlier_runs_reports(pytester: pytest.Pytester, conftest: str, arguments: list[str]) -> None:
    pytester.makepyfile("def test_it(): pass")
    files = [pytester.path / option.partition("=")[2] for option in OPTIONS]
    assert pytester.runpytest_inprocess(*OPTIONS).ret == 0
    assert all(file.exists() for file in files)
    assert pytester.runpytest_inprocess(*OPTIONS, "--markers").ret == 0
    assert all(file.exists() for file in files)
    pytester.makeconftest(conftest)
    assert pytester.runpytest_inprocess(*OPTIONS, *arguments).ret == pytest.ExitCode.USAGE_ERROR
    assert [file.name for file in files if file.exists()] == []


def test_a_baseline_may_be_the_report_of_the_run_before(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): assert 0")
    assert pytester.runpytest_inprocess(*OPTIONS).ret == 1
    assert pytester.runpytest_inprocess(*OPTIONS, "--baseline=out.jsonl").ret == 0


def test_a_test_that_was_interrupted_has_not_passed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_first(): pass\ndef test_ends_it(): raise KeyboardInterrupt")
    pytester.runpytest_inprocess(*OPTIONS, no_reraise_ctrlc=True)
    lines = [json.loads(line) for line in (pytester.path / "out.jsonl").read_text().splitlines()]
    told = {line["test"].partition("::")[2]: line["outcome"] for line in lines if "test" in line}
    assert told == {"test_first": "passed", "test_ends_it": "error", "interrupted": "error"}
    assert "not ok 2 test_ends_it # ERROR error: the run ended before this test did" in (pytester.path / "out.ktap").read_text()
    cases = [(case.get("name"), [child.tag for child in case])
             for case in ElementTree.parse(pytester.path / "out.xml").iter("testcase")]  # noqa: S314 - our own
    assert cases == [("test_first", []), ("test_ends_it", ["error"]), ("interrupted", ["error"])]


@pytest.mark.parametrize("option", ["--ktap", "--report-jsonl", "--report-html", "--junitxml"])
def test_a_report_on_a_full_disk_is_said_and_no_pass(pytester: pytest.Pytester, option: str) -> None:
    pytester.makepyfile("def test_it(): pass")
    done = pytester.runpytest_inprocess(option, "/dev/full")
    assert done.ret == ExitCode.CANNOT
    done.stdout.no_fnmatch_line("*generated xml file*")
    done.stdout.fnmatch_lines(["*1 passed in *"])
    done.stderr.fnmatch_lines(["nfharness: error: /dev/full was not written: No space left on device", "  hint: *"])


@pytest.mark.parametrize("arguments", [
    ["--ktap", "."], ["--report-html", "."], ["--ktap", "one", "--report-jsonl", "./one"], ["--report-html", "one", "--junitxml", "one"]])
def test_reports_need_a_file_each(pytester: pytest.Pytester, arguments: list[str]) -> None:
    pytester.makepyfile("def test_it(): pass")
    done = pytester.runpytest_inprocess(*arguments)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: --*", "*hint: name a file that can be written*"])


@pytest.mark.parametrize("seconds", ["-3", "0", "nan", "inf"])
def test_a_deadline_is_a_time(pytester: pytest.Pytester, seconds: str) -> None:
    done = pytester.runpytest_inprocess(f"--deadline={seconds}")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"*argument --deadline: {seconds} is no time: seconds, more than 0"])
