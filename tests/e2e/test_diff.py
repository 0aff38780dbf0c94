"""``nfharness diff``, as it is typed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.conformance import RULES
from harness.images.kernels import DEFAULT
from tests.e2e.conftest import DEADLINE_S, CommandLine

OLDEST, NEWEST = "5.10", "7.3"
SOME = ("stolen.errno", "netdev.egress-absent", "order.stable", "local-in")
BOTH = ("--kernel", OLDEST, "--kernel", NEWEST, "--jobs", "1")


@pytest.mark.parametrize(("arguments", "said"), [
    (["--kernel", DEFAULT], "two kernels are compared, and --kernel is given 1 times"),
    (["--kernel", "6.1", "--kernel", DEFAULT, "--kernel", "7.3"], "two kernels are compared, and --kernel is given 3 times"),
    (["--kernel", DEFAULT, "--kernel", DEFAULT, "order"], f"{DEFAULT} and {DEFAULT} are the same kernel, {DEFAULT}."),
    (["--kernel", "5.10", "--kernel", DEFAULT, "order.acsending"], "no rule, scenario or file \"order.acsending\""),
    (["--kernel", "5.10", "--kernel", DEFAULT, "/nowhere/bundle.json"], "/nowhere/bundle.json: No such file or directory"),
    (["--kernel", "5.10", "--kernel", DEFAULT, "--html", "/nowhere/page", "order"], "/nowhere/page: No such file or directory"),
    (["--kernel", "5.10", "--kernel", "4.99", "order"], "4.99"),
])
def test_a_mistake_is_told_before_any_kernel_is_asked(nfharness: CommandLine, arguments: list[str], said: str) -> None:
    done = nfharness("diff", *arguments)
    assert (done.status, done.out, len(done.error)) == (2, b"", 2), done
    assert said in done.error[0]


@pytest.mark.slow
def test_what_differs_is_told_with_what_explains_it(nfharness: CommandLine, tmp_path: Path) -> None:
    html = tmp_path / "page.html"
    done = nfharness("diff", *BOTH, "--json", "--html", str(html), *SOME)
    assert done.status == 0, done
    document = json.loads(done.out)
    old, new = (kernel["kernel"] for kernel in document["kernels"])
    causes = {note["cause"]: note for note in document["notes"]}
    assert document["outcome"] == "explained"
    assert causes["stolen_errno"]["values"] == {old: False, new: True}
    assert [one["case"] for one in document["alike"]] == ["order.stable"]
    cases = {one["case"]: one for one in document["cases"]}
    stolen = {one["where"]: (one[old], one[new], one["causes"]) for one in cases["stolen.errno"]["differences"]}
    assert stolen["steps[2]"] == ("success", "EHOSTUNREACH", ["stolen_errno"])
    assert cases["netdev.egress-absent"]["causes"] == ["netdev_egress"]
    assert cases["scenario.local-in"]["causes"] == ["drop_reasons"]
    assert all(f'id="{case}"' in html.read_text() for case in cases)


@pytest.mark.slow
def test_text_a_full_disk_and_a_reader_that_goes(nfharness: CommandLine) -> None:
    done = nfharness("diff", *BOTH, "--explained-is-different", "--html", "/dev/full", "stolen.errno")
    assert (done.status, done.error[0]) == (125, "nfharness: error: /dev/full: No space left on device"), done
    told = done.out.decode()
    assert "stolen_errno: no → yes" in told
    assert told.splitlines()[-1].endswith("1 explained; 1 field of the profile differs")
    assert nfharness("diff", *BOTH, "--explained-is-different", "stolen.errno").status == 1
    shell = f"{sys.executable} -m harness diff {' '.join(BOTH)} stolen.errno | true; echo ${{PIPESTATUS[0]}}"
    gone = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    assert gone.stdout.split() == ["141"]


@pytest.mark.slow
def test_an_interruption_reports_what_was_found_so_far(nfharness: CommandLine, tmp_path: Path, eventually: Callable[..., None]) -> None:
    errors = tmp_path / "stderr"
    with errors.open("wb") as stderr:
        process = nfharness.start("diff", *BOTH, "--json", stderr=stderr)
    eventually(lambda: b"  conformant  " in errors.read_bytes(), "a result", by=process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130, errors.read_text()
    document = json.loads(out)
    assert document["outcome"] == "inconclusive"
    assert set(document["not_run"]) & set(RULES)
    assert "stolen_errno" in {note["cause"] for note in document["notes"]}
    assert errors.read_text().splitlines()[-1] == "nfharness: interrupted"
