"""What the plugin reports: outcomes from reports of phases, KTAP, JUnit by kernel, the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from harness.pytest_plugin.junit import split_by_kernel
from harness.pytest_plugin.ktap import ktap
from harness.pytest_plugin.page import page
from harness.pytest_plugin.results import Result, Results
from harness.pytest_plugin.selection import CANNOT, KERNEL, LOST


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
        <testcase name="a[7.3]" time="1"><properties><property name="kernel" value="7.3"/></properties><failure/></testcase>
        <testcase name="h" time="0.5"/></testsuite></testsuites>""")
    split_by_kernel(file)
    suites = ElementTree.parse(file).getroot()  # noqa: S314 - our own
    assert [(one.get("name"), one.get("tests"), one.get("failures"), one.get("time")) for one in suites] == [
        ("6.1", "1", "0", "1.000"), ("7.3", "1", "1", "1.000"), ("host", "1", "0", "0.500")]


def test_the_page_escapes_what_tests_say() -> None:
    bad = Result("t.py::<a>", "6.1", "failed", detail="<script>", sections=[("Console", "a < b")])
    text = page({"6.1": [bad]}, 1.0)
    assert "<script>" not in text
    assert "a &lt; b" in text
