"""What the plugin reports: outcomes from reports of phases, KTAP, JUnit by kernel, the page."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import pytest
from _pytest._code.code import ReprEntryNative, ReprExceptionInfo, ReprFileLocation, ReprTraceback
from _pytest.reports import pytest_report_from_serializable, pytest_report_to_serializable

from harness.pytest_plugin.host.gateway import Lost
from harness.pytest_plugin.host.guests import _lost
from harness.pytest_plugin.host.machines import GUEST
from harness.pytest_plugin.report.junit import rewrite
from harness.pytest_plugin.report.ktap import ktap
from harness.pytest_plugin.report.page import page
from harness.pytest_plugin.report.reports import json_lines
from harness.pytest_plugin.report.results import Result, Results
from harness.pytest_plugin.selection import CANNOT, KERNEL, LOST
from harness.vm.ending import Ending


def report(when: str = "call", outcome: str = "passed", test: str = "t.py::a[6.12]", text: str = "", **more: Any) -> pytest.TestReport:
    properties = [(KERNEL, "6.12"), *more.pop("properties", [])]
    longrepr = ("t.py", 1, f"Skipped: {text}") if outcome == "skipped" else text or None
    made = pytest.TestReport(test, ("t.py", 1, "a"), {}, outcome, longrepr, when, duration=0.5, user_properties=properties)  # type: ignore[arg-type]
    vars(made).update(more)
    return made


def result(*reports: pytest.TestReport) -> Result:
    results = Results()
    for one in reports:
        results.add(one)
    (only,) = results
    return only


@pytest.mark.parametrize(("reports", "outcome"), [
    ([report("setup"), report(), report("teardown")], "passed"),
    ([report("setup"), report(outcome="failed"), report("teardown")], "failed"),
    ([report("setup", "failed")], "error"),
    ([report("setup"), report(), report("teardown", "failed")], "error"),
    ([report("setup"), report(outcome="failed"), report("teardown", "failed")], "failed"),
    ([report("setup", "skipped", text="no")], "skipped"),
    ([report("setup"), report(outcome="skipped", wasxfail="known bug")], "xfailed"),
    ([report("setup"), report(wasxfail="known bug")], "xpassed"),
    ([report(outcome="failed", properties=[(LOST, "it panicked")])], "lost"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_tests_outcome_is_its_worst_phase(reports: list[pytest.TestReport], outcome: str) -> None:
    assert result(*reports).outcome == outcome


def test_a_test_that_failed_twice_says_so() -> None:
    twice = result(report("setup"), report(outcome="failed", text="first"), report("teardown", "failed", text="second"))
    assert (twice.message, twice.detail) == ("first", "first\n\nteardown: second")


def test_a_lost_guest_ranks_above_what_failed_before() -> None:
    lost = report(outcome="failed", text="it panicked", properties=[(LOST, "it panicked")])
    both = result(report("setup"), report(outcome="failed", text="sub a"), lost, report("teardown"))
    assert (both.outcome, both.message, both.detail) == ("lost", "it panicked", "sub a\n\ncall: it panicked")
    assert any("not ok 1 a[6.12] # ERROR lost: it panicked" in line for line in ktap({"6.12": [both]}))
    assert result(lost, report("teardown", "failed", text="later")).outcome == "lost"


def test_of_an_expected_failure_without_a_reason_the_first_line_is_told() -> None:
    trace = ReprTraceback([ReprEntryNative(["[gw0] linux -- Python 3.13 /usr/bin/python3\nmore"])], None, "native")
    shown = ReprExceptionInfo(trace, ReprFileLocation("t.py", 1, "assert 0\nmore"))
    for why in ("", "reason: "):  # of the marker, and of pytest.xfail()
        expected = result(report(outcome="skipped", wasxfail=why, longrepr=shown))
        assert (expected.outcome, expected.message, expected.detail) == ("xfailed", "assert 0", str(shown))


def test_a_skip_without_a_reason_has_none() -> None:
    assert result(report(outcome="skipped")).message == ""


def test_durations_of_phases_add_up() -> None:
    assert result(report("setup"), report(), report("teardown")).seconds == 1.5


def test_a_test_that_could_not_be_run_is_told_apart() -> None:
    results = Results()
    results.add(report("setup", "failed", properties=[(CANNOT, "125")]))
    assert results.cannot == {"t.py::a[6.12]": 125}


KERNELS = {
    "6.1": [Result("t.py::a[6.1]", "6.1"), Result("t.py::b[6.1]", "6.1", "skipped", message="no # egress")],
    "7.3": [Result("t.py::a[7.3]", "7.3", "failed", detail="assert 0\nmore"), Result("u.py::c[7.3]", "7.3", "lost", message="panic"),
            Result("u.py::d[7.3]", "7.3", "xfailed", message="fixed by 0123")],
}


def test_ktap_of_two_kernels() -> None:
    assert list(ktap(KERNELS)) == """\
KTAP version 1
1..2
  KTAP version 1
  # Subtest: 6.1
  1..1
    KTAP version 1
    # Subtest: t.py
    1..2
    ok 1 a[6.1]
    ok 2 b[6.1] # SKIP no egress
    # Totals: pass:1 fail:0 xfail:0 xpass:0 skip:1 error:0
  ok 1 t.py
  # Totals: pass:1 fail:0 xfail:0 xpass:0 skip:1 error:0
ok 1 6.1
  KTAP version 1
  # Subtest: 7.3
  1..2
    KTAP version 1
    # Subtest: t.py
    1..1
    # assert 0
    # more
    not ok 1 a[7.3]
    # Totals: pass:0 fail:1 xfail:0 xpass:0 skip:0 error:0
  not ok 1 t.py
    KTAP version 1
    # Subtest: u.py
    1..2
    not ok 1 c[7.3] # ERROR lost: panic
    ok 2 d[7.3] # XFAIL fixed by 0123
    # Totals: pass:0 fail:0 xfail:1 xpass:0 skip:0 error:1
  not ok 2 u.py
  # Totals: pass:0 fail:1 xfail:1 xpass:0 skip:0 error:1
not ok 2 7.3
# Totals: pass:1 fail:1 xfail:1 xpass:0 skip:1 error:1""".splitlines()


def test_junit_is_taken_apart_by_kernel(tmp_path: Path) -> None:
    file = tmp_path / "out.xml"
    file.write_text("""<testsuites><testsuite name="pytest" tests="3" failures="1" errors="0" skipped="0" time="3">
        <testcase name="a[6.1]" time="1"><properties><property name="kernel" value="6.1"/></properties></testcase>
        <testcase name="a[7.3]" time="1"><properties><property name="kernel" value="7.3"/><property name="own" value="1"/></properties>
        <failure/></testcase>
        <testcase name="h" time="0.5"/></testsuite></testsuites>""")
    rewrite(file, [Result("pytest::interrupted", "host", "error", message="\x1b!")])
    suites = ElementTree.parse(file).getroot()  # noqa: S314 - our own
    assert [(one.get("name"), one.get("tests"), one.get("failures"), one.get("errors"), one.get("time")) for one in suites] == [
        ("6.1", "1", "0", "0", "1.000"), ("7.3", "1", "1", "0", "1.000"), ("host", "2", "0", "1", "0.500")]
    assert [one.get("name") for one in suites.iter("property")] == ["own"]
    assert [one.get("message") for one in suites.iter("error")] == ["\ufffd!"]


def test_the_page_escapes_what_tests_say() -> None:
    bad = Result("t.py::<a>", "6.1", "failed", detail="<script>", sections=[("Console", "a < b")])
    text = page({"6.1": [bad]}, 1.0)
    assert "<script>" not in text
    assert "a &lt; b" in text


def test_of_a_lost_test_pytests_short_summary_has_a_headline_and_every_report_the_console() -> None:
    item = SimpleNamespace(nodeid="t.py::test_a", location=("t.py", 4, "test_a"))
    console = "[    1.0] Kernel panic\n[    1.1] Call Trace:"
    made = _lost(cast(pytest.Item, item), Lost("the guest died: Kernel panic", Ending(console=console, see="see log"), "said"), 0.0, GUEST,
                 "call")
    # As from an xdist worker.
    data = pytest_report_to_serializable(made)
    assert data is not None
    report = pytest_report_from_serializable(data)
    assert isinstance(report, pytest.TestReport)
    assert report.longrepr.reprcrash.message == "the guest was lost: the guest died: Kernel panic"  # type: ignore[union-attr]
    results = Results()
    results.add(report)
    assert [(one.outcome, one.message, one.detail, one.sections) for one in results] == [
        ("lost", "the guest was lost: the guest died: Kernel panic",
         f"the guest was lost: the guest died: Kernel panic\n{console}\n  hint: see log",
         [("Guest's standard error", "said")])]


NASTY = "\x1b[31m\x00\x7f\x9b\u202e\udcff ]]> <x>"


def test_no_report_takes_a_tests_control_characters_as_they_are() -> None:
    bad = {"6.1": [Result("t.py::a", "6.1", "error", message=f"setup {NASTY}", detail=f"{NASTY}\n{NASTY}", sections=[(NASTY, NASTY)]),
                   Result("t.py::b", "6.1", "skipped", message=NASTY)]}
    lines = list(ktap(bad))
    assert all(line.isprintable() for line in lines)
    assert r"    not ok 1 a # ERROR error: setup \x1b[31m\x00\x7f\x9b\u202e\udcff ]]> <x>" in lines
    assert page(bad, 1.0).replace("\n", "").isprintable()
    assert all(line.isprintable() for line in json_lines(bad["6.1"], {}))
