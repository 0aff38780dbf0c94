"""``nfharness suite``: any directory of programs, those that do harm among them, and the suites that have a name."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.e2e.conftest import DEADLINE_S, CommandLine
from tests.e2e.programs import SAYS, WARNS, Program, fails, hangs, judged, skips, written

pytestmark = pytest.mark.slow

_TAP = "echo 'TAP version 13'; echo 1..4; echo ok 1 - first; echo '# why'; echo not ok 2 second; echo 'ok 3 third # SKIP no tool'; "
PROGRAMS = {
    "passes": Program('echo fine; test "$SAID" = so', "passed", ""),
    "fails": fails(3),
    "deep/skips": skips(77),
    "hangs": hangs(100000),
    "forks": Program("f() { f | f & }; f; sleep 100000", "failed", "it did not end within"),
    "orphans": Program("for i in $(seq 280); do (true &); done", "passed", ""),
    "fills": Program("i=0; while fallocate -l 60M /tmp/$((i += 1)); do :; done; head -c 62M /dev/zero > /tmp/rest", "failed",
                     "the guest's disk is full"),
    "floods": Program("exec yes without end", "failed", "SIGXFSZ: more than 64 MiB"),
    "warns": WARNS,
    "says": SAYS,
    "points": Program(f"{_TAP} echo 'not ok 4 fourth # TODO later'; exit 1", "passed", ""),
    "stops": Program(f"{_TAP} exit 0", "failed", "the plan is 4 tests, and 3 were seen"),
}
POINTS = {"points: first": "passed", "points: second": "failed", "points: third": "skipped", "points: fourth": "xfailed",
          "stops: first": "passed", "stops: second": "failed", "stops: third": "skipped"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "suite"
    written(PROGRAMS, place, "/bin/bash")
    return place


def test_each_program_has_a_result_and_each_point_of_one_that_speaks_tap(nfharness: CommandLine, directory: Path, tmp_path: Path) -> None:
    report, xml = tmp_path / "out.jsonl", tmp_path / "out.xml"
    done = nfharness("suite", str(directory), "--env", "SAID=so", "--deadline", "40", "-n", "2",
                     "--report-jsonl", str(report), "--junitxml", str(xml), deadline_s=3 * DEADLINE_S)
    assert done.status == 1, done
    outcomes = list(judged(PROGRAMS, report, others=POINTS).values())
    suite, = ElementTree.parse(xml).getroot()  # noqa: S314 - our own
    # pytest gives a test a second case for its teardown where both failed: of a busy host a fork bomb may leave processes.
    cases = {case.get("name"): case.find("failure") is not None for case in reversed(suite.findall("testcase"))}
    assert (len(cases), sum(cases.values())) == (len(outcomes), outcomes.count("failed"))


def test_a_waiver_forgives_a_point(nfharness: CommandLine, directory: Path, tmp_path: Path) -> None:
    waivers = tmp_path / "waivers.toml"
    waivers.write_text('[[waiver]]\ntest = "points: second"\nforgives = "why"\nwhy = "known"\n')
    done = nfharness("suite", str(directory), "points", "--waivers", str(waivers))
    assert done.status == 0, done
    assert b"waivers that forgave something: 1 of 1" in done.out


def test_tests_of_iptables_pass_from_debians_sources(nfharness: CommandLine) -> None:
    names = ("testcases/iptables/0002-verbose-output_0", "testcases/chain/0004extra-base_0")
    done = nfharness("suite", "iptables", *names, "-v")
    assert done.status == 0, done
    assert b"2 passed" in done.out


def test_what_cannot_be_run_is_the_users_mistake(nfharness: CommandLine, directory: Path, tmp_path: Path) -> None:
    assert nfharness("suite", str(directory), "pases").error == [
        f"nfharness: error: {directory} has no test pases",
        f"  hint: did you mean passes? nfharness suite {directory} --list",
    ]
    assert nfharness("suite", str(directory), "--runner", "no.sh").error[0] == f"nfharness: error: {directory} has no file no.sh"
    assert nfharness("suite", "nftabels").error == ["nfharness: error: there is no directory nftabels",
                                                    "  hint: name a directory, or one of nftables, iptables"]
    wrong = nfharness("suite", "nftables", "--source", str(tmp_path))
    assert (wrong.status, wrong.error[0]) == (2, f"nfharness: error: there is no directory {tmp_path}/tests/shell")
    assert nfharness("suite", str(directory), "--env", "NAME").status == 2
