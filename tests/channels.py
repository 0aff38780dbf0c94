"""What each channel of a pytest run says: terminal, exit status, JUnit, KTAP, JSON Lines, HTML. They must tell one story."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

__all__ = ("OPTIONS", "contradictions", "summary")

#: The options that write the four files into the current directory.
OPTIONS = ("--ktap=out.ktap", "--report-jsonl=out.jsonl", "--report-html=out.html", "--junitxml=out.xml")
#: Outcome of JSON Lines and HTML → what KTAP and JUnit call it.
_KTAP = {"passed": "ok", "failed": "not ok", "error": "not ok ERROR", "lost": "not ok ERROR", "skipped": "ok SKIP", "xfailed": "ok XFAIL",
         "xpassed": "ok XPASS", "flaky": "ok FLAKY"}
_JUNIT = {"passed": "", "xpassed": "", "failed": "failure", "error": "error", "lost": "failure", "skipped": "skipped", "xfailed": "skipped",
          "flaky": ""}
_BAD = {"failed", "error", "lost"}
_SUMMARY = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed|flaky)")


def contradictions(directory: Path, status: int, terminal: Mapping[str, int]) -> list[str]:
    """What the channels of a run in *directory* do not agree about.

    :param status: pytest's exit status
    :param terminal: outcome → number, of the last line: see :func:`summary`
    """
    lines = [json.loads(line) for line in (directory / "out.jsonl").read_text().splitlines()]
    told = [(line["test"], line["outcome"]) for line in lines if "test" in line]
    outcomes = Counter(outcome for _, outcome in told)
    # Of the test in which a run ended the terminal says that it ended, and counts none.
    in_the_middle = sum(line.get("message") == "the run ended before this test did" for line in lines)
    bad = any(outcomes[outcome] for outcome in _BAD)
    found = {
        "exit status": (bool(status), bad),
        "exit status in the summary": (lines[-1]["summary"]["exitstatus"], status),
        "counts in the summary": (lines[-1]["summary"]["outcomes"], dict(outcomes)),
        "KTAP": (_ktap(directory / "out.ktap"), sorted((_name(test), _KTAP[outcome]) for test, outcome in told)),
        "KTAP's top level": ("not ok" in _ktap_top(directory / "out.ktap"), bad),
        "HTML": (_html(directory / "out.html"), sorted(told)),
        "JUnit": (_junit(directory / "out.xml"), _junit_of(told)),
        # A test that passed, and whose teardown did not, is counted as both there; how a run ended has its own line.
        "terminal": ({name: terminal.get(name, 0) for name in ("skipped", "xfailed", "xpassed", "flaky")},
                     {name: outcomes[name] for name in ("skipped", "xfailed", "xpassed", "flaky")}),
        "terminal's failures": (terminal.get("failed", 0), outcomes["failed"] + outcomes["lost"]),
        "terminal's errors": (terminal.get("errors", 0) + in_the_middle
                              >= sum(one == "error" for test, one in told if not test.startswith("pytest::")), True),
    }
    return [f"{channel}: {said}, JSON Lines: {other}" for channel, (said, other) in found.items() if said != other]


def summary(stdout: str) -> dict[str, int]:
    """Outcome → number, of the terminal's last line."""
    last = [line for line in stdout.splitlines() if re.search(r" in [\d.]+s", line)][-1]
    return {"errors" if name == "error" else name: int(number) for number, name in _SUMMARY.findall(last)}


def _name(test: str) -> str:
    return " ".join((test.partition("::")[2] or test).replace("#", "").split())


def _ktap(file: Path) -> list[tuple[str, str]]:
    found = re.findall(r"^    (ok|not ok) \d+ (.*?)(?: # ([A-Z]+)\b.*)?$", file.read_text(), re.MULTILINE)
    return sorted((name, f"{mark} {directive}".strip()) for mark, name, directive in found)


def _ktap_top(file: Path) -> list[str]:
    return re.findall(r"^(ok|not ok) \d+ ", file.read_text(), re.MULTILINE)


def _html(file: Path) -> list[tuple[str, str]]:
    rows = re.findall(r'<tr><td>(.*?)<td>.*?<td class="(\w+)">', file.read_text())
    return sorted((unescape(test), outcome) for test, outcome in rows)


def _junit(file: Path) -> Counter[str]:
    """Kinds of tests, where one that failed twice has two cases; a suite's own counts must be those of its cases."""
    tests: Counter[str] = Counter()
    for suite in ElementTree.parse(file).getroot().iter("testsuite"):  # noqa: S314 - our own
        cases = [(f"{case.get('classname')} {case.get('name')}", _kind(case)) for case in suite.iter("testcase")]
        own = Counter(kind for _, kind in cases)
        counted = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
        assert counted == {"tests": len(cases), "failures": own["failure"], "errors": own["error"], "skipped": own["skipped"]}
        tests.update(dict(reversed(cases)).values())
    return tests


def _kind(case: ElementTree.Element) -> str:
    return next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "")


def _junit_of(told: list[tuple[str, str]]) -> Counter[str]:
    return Counter(_JUNIT[outcome] for _, outcome in told)
