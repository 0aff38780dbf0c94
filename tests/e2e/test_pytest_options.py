"""pytest's own options, and the plugin's, on tests for a kernel."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ExitCode, KernelDied, Mistake
from harness.host.again import ATTEMPTS
from harness.images import kernels
from harness.pytest_plugin.vm import VirtualMachines
from harness.vm import guest, qemu
from tests.channels import OPTIONS, contradictions, summary
from tests.e2e.test_pytest_plugin import marked, run

KERNEL = kernels.DEFAULT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ready")]

FIRST = """
import pytest
from pathlib import Path

pytestmark = pytest.mark.kernel
MARK = Path("/run/mark")

def test_leaves_a_mark():
    MARK.touch()

def test_sees_the_mark():
    assert MARK.exists()

@pytest.mark.isolation("test")
def test_has_a_kernel_of_its_own():
    assert not MARK.exists()
    MARK.touch()

def test_has_another_one():
    assert not MARK.exists()
    MARK.touch()
"""
SECOND = """
import pytest
from pathlib import Path

pytestmark = [pytest.mark.kernel, pytest.mark.isolation("module")]

def test_sees_no_mark_of_another_file():
    assert not Path("/run/mark").exists()
"""
FAILING = """
import pytest

pytestmark = pytest.mark.kernel

@pytest.mark.parametrize("number", range(4))
def test_number(number):
    assert number != 1
"""


ORDERED = """
import pytest
from pathlib import Path

pytestmark = pytest.mark.kernel
ORDER = Path("/run/order")

@pytest.mark.parametrize("number", range(8))
def test_number(number):
    with ORDER.open("a") as file:
        file.write(f"{number}")
    pytest.fail(ORDER.read_text())
"""

WAITING = """
import pytest, time

pytestmark = pytest.mark.kernel

def test_first(): pass

def test_waits():
    print("it waits")
    time.sleep(20)

def test_last(): pass
"""
PANICKING = """
import pytest, sys
from pathlib import Path

pytestmark = pytest.mark.kernel

def test_first():
    print("out of the first")
    print("err of the first", file=sys.stderr)

def test_panics():
    print("out of the second")
    print("err of the second", file=sys.stderr)
    Path("/proc/sysrq-trigger").write_text("c")
"""
LAB = """
import pytest
from pathlib import Path

MARK = Path("/run/mark")

def test_fails(lab):
    net = lab.router()
    lab.hook(net.router, "ipv4", "FORWARD", priority=0, verdict="DROP")
    lab.nft("table ip t { chain c { type filter hook forward priority 0; }; }")
    MARK.touch()
    assert not list(Path("/run/netns").iterdir())

def test_finds_the_same_kernel_as_it_was(kernel):
    assert MARK.exists()
    assert not list(Path("/run/netns").iterdir())

def test_exits(kernel): pytest.exit("enough")

def test_is_not_run(kernel): pass
"""


def suite(directory: Path, **files: str) -> Path:
    (directory / "pytest.ini").write_text("[pytest]\n")
    for name, text in files.items():
        (directory / f"{name}.py").write_text(text)
    return directory


def outcomes(file: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in file.read_text().splitlines():
        one: dict[str, Any] = json.loads(line)
        if "test" in one:
            found.setdefault(one["outcome"], []).append(one["test"].partition("::")[2].replace(f"{KERNEL}-", ""))
    return found


def test_isolation_is_by_worker_module_or_test(tmp_path: Path) -> None:
    done = run(suite(tmp_path, test_first=FIRST, test_second=SECOND), "--kernel", KERNEL)
    assert done.returncode == 0, done.stdout


def test_x_ends_a_run_and_lf_repeats_what_failed(tmp_path: Path) -> None:
    suite(tmp_path, test_it=FAILING)
    done = run(tmp_path, "--kernel", KERNEL, "-x", "-p", "cacheprovider", "--report-jsonl", "first.jsonl")
    assert (done.returncode, outcomes(tmp_path / "first.jsonl")) == (1, {"passed": ["test_number[0]"], "failed": ["test_number[1]"]})
    done = run(tmp_path, "--kernel", KERNEL, "--lf", "-p", "cacheprovider", "--report-jsonl", "again.jsonl")
    assert (done.returncode, outcomes(tmp_path / "again.jsonl")) == (1, {"failed": ["test_number[1]"]})


def test_each_runs_every_test_on_every_worker(tmp_path: Path) -> None:
    done = run(suite(tmp_path, test_it=FAILING), "--kernel", KERNEL, "--dist", "each", "--tx", "2*popen")
    assert done.returncode == 1
    assert "2 failed, 6 passed" in done.stdout


def test_worksteal_runs_every_test_once(tmp_path: Path) -> None:
    done = run(suite(tmp_path, test_it=FAILING, test_more=FAILING), "--kernel", KERNEL, "--dist", "worksteal", "-n", "2",
               "--report-jsonl", "out.jsonl")
    assert done.returncode == 1, done.stdout
    assert {outcome: sorted(tests) for outcome, tests in outcomes(tmp_path / "out.jsonl").items()} == {
        "failed": ["test_number[1]"] * 2, "passed": sorted([f"test_number[{number}]" for number in (0, 2, 3)] * 2)}


def test_a_random_order_is_the_guests_too_and_its_seed_repeats_it(tmp_path: Path) -> None:
    def order(name: str, *arguments: str) -> tuple[str, str]:
        done = run(tmp_path, "--kernel", KERNEL, "--report-jsonl", name, *arguments)
        seed = re.search(r"random order: --random-order-seed (\d+)", done.stdout)
        assert seed, done.stdout
        results = [one for line in (tmp_path / name).read_text().splitlines() if "test" in (one := json.loads(line))]
        assert [one["test"][-2] for one in results] == list(results[-1]["message"].removeprefix("Failed: "))
        return seed[1], results[-1]["message"]

    suite(tmp_path, test_it=ORDERED)
    seed, first = order("first.jsonl", "--random-order")
    assert order("again.jsonl", "--random-order-seed", seed) == (seed, first)
    assert order("other.jsonl", "--random-order-seed", str(int(seed) + 1))[1] != first


def test_ktap_on_standard_output(tmp_path: Path) -> None:
    done = run(suite(tmp_path, test_it=FAILING), "--kernel", KERNEL, "-q", "--ktap", "-", "--random-order-seed", "7")
    lines = done.stdout.splitlines()
    assert "KTAP version 1" in lines
    assert "# Totals: pass:3 fail:1 xfail:0 xpass:0 skip:0 error:0" in lines


def test_nothing_of_a_lab_is_left_after_a_failure_and_exit_ends_the_run(tmp_path: Path) -> None:
    done = run(suite(tmp_path, test_it=LAB), "--kernel", KERNEL, "--report-jsonl", "out.jsonl")
    assert outcomes(tmp_path / "out.jsonl") == {
        "failed": [f"test_fails[{KERNEL}]", f"test_exits[{KERNEL}]"], "passed": [f"test_finds_the_same_kernel_as_it_was[{KERNEL}]"],
        "error": ["interrupted"]}, done.stdout
    assert (done.returncode, "called pytest.exit(): enough" in done.stdout) == (2, True)


@pytest.mark.parametrize(("times", "outcomes", "status"), [
    (1, ["passed", "passed", "passed"], 0), (ATTEMPTS, ["passed", "error", "passed"], ExitCode.CANNOT)])
def test_a_test_whose_qemu_is_killed_is_tried_again_and_what_it_printed_was_seen_at_once(
        tmp_path: Path, times: int, outcomes: list[str], status: int) -> None:
    command = [sys.executable, "-m", "pytest", "-v", "-s", "-p", "no:cacheprovider", "--kernel", KERNEL, "--report-jsonl", "out.jsonl"]
    environment = {**os.environ, "NFHARNESS_MARK": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=suite(tmp_path, test_it=WAITING), env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout
        assert any("PASSED" in line for line in running.stdout)
        for _ in range(times):
            assert any("it waits" in line for line in running.stdout)
            for pid, name in marked(tmp_path).items():
                if "qemu" in name:
                    os.kill(pid, signal.SIGKILL)
        said, _ = running.communicate(timeout=600)
    results = [one for line in (tmp_path / "out.jsonl").read_text().splitlines() if "test" in (one := json.loads(line))]
    assert ([one["outcome"] for one in results], running.returncode) == (outcomes, status), said
    if times == ATTEMPTS:
        assert re.search(rf"QEMU was killed by SIGKILL.*\({ATTEMPTS} times", results[1]["message"])
    else:
        assert "QEMU was killed by SIGKILL: that is this host's doing, not the kernel's; trying again" in said


UNSTEADY = """
import pytest
from pathlib import Path

pytestmark = pytest.mark.kernel

def test_leaves_a_mark():
    Path("/run/mark").touch()

def test_finds_none():
    assert not Path("/run/mark").exists(), "a mark"

def test_never_passes():
    assert 0, "always"
"""


def test_what_passes_in_another_guest_is_flaky_and_every_channel_says_so(tmp_path: Path) -> None:
    done = run(suite(tmp_path, test_it=UNSTEADY), "--kernel", KERNEL, "--flaky", "1", *OPTIONS)
    assert outcomes(tmp_path / "out.jsonl") == {"passed": [f"test_leaves_a_mark[{KERNEL}]"], "flaky": [f"test_finds_none[{KERNEL}]"],
                                                "failed": [f"test_never_passes[{KERNEL}]"]}, done.stdout
    told = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert told[1]["message"] == "AssertionError: a mark"
    assert "in guest 1:" in dict(told[2]["sections"])["Earlier failures of this test"]
    assert (done.returncode, contradictions(tmp_path, 1, summary(done.stdout))) == (1, [])
    assert run(tmp_path, "--kernel", KERNEL, "--flaky", "1", "-k", "mark or none").returncode == 0


UNCLEAR = """
import os
from pathlib import Path

import pytest
from harness.errors import Inconclusive

pytestmark = pytest.mark.kernel

def test_leaves_a_mark():
    Path("/run/mark").touch()

def test_is_unclear_once():
    if Path("/run/mark").exists():
        raise Inconclusive("inconclusive: a mark")

def test_is_never_clear():
    raise Inconclusive("inconclusive: always")

def test_fails_as_well():
    os.sched_setaffinity(0, {0})
    raise Inconclusive("inconclusive: but the process is changed")

@pytest.mark.xfail(raises=Inconclusive)
def test_is_to_be_unclear():
    raise Inconclusive("inconclusive: as it should be")

def test_next(): pass
"""


def test_what_was_inconclusive_runs_again_in_another_guest(tmp_path: Path) -> None:
    done = run(suite(tmp_path, test_it=UNCLEAR), "--kernel", KERNEL, *OPTIONS)
    assert outcomes(tmp_path / "out.jsonl") == {
        "passed": [f"test_{name}[{KERNEL}]" for name in ("leaves_a_mark", "is_unclear_once", "next")],
        "xfailed": [f"test_is_to_be_unclear[{KERNEL}]"],
        "failed": [f"test_is_never_clear[{KERNEL}]", f"test_fails_as_well[{KERNEL}]"]}, done.stdout
    told = [one for one in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines()) if one.get("outcome") == "failed"]
    assert [dict(one["sections"]).get("Earlier failures of this test", "").count("in guest ") for one in told] == [2, 0]
    assert (done.stdout + done.stderr).count("the tracer lost something; trying again") == 3
    assert (done.returncode, contradictions(tmp_path, 1, summary(done.stdout))) == (1, [])


WIDE = """
import pytest
from pathlib import Path

pytestmark = pytest.mark.kernel

@pytest.fixture(scope="module")
def wide():
    Path("/run/mark").touch()
    yield
    raise RuntimeError("in the module's teardown")

@pytest.fixture(scope="session")
def widest():
    yield
    assert not "in the session's teardown"

def test_uses(wide, widest): pass
def test_finds_none(): assert not Path("/run/mark").exists(), "a mark"
def test_next(): pass
"""


def test_wider_fixtures_are_torn_down_before_a_test_runs_again_in_another_guest(tmp_path: Path) -> None:
    done = run(suite(tmp_path, test_it=WIDE), "--kernel", KERNEL, "-n", "1", "--flaky", "2", *OPTIONS)
    assert outcomes(tmp_path / "out.jsonl") == {"passed": [f"test_uses[{KERNEL}]", f"test_next[{KERNEL}]"],
                                                "error": [f"test_finds_none[{KERNEL}]"]}, done.stdout
    line, = (line for line in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines()) if "finds_none" in line.get("test", ""))
    assert sorted(line["detail"].splitlines()) == [
        "in guest 1: the teardown of a wider fixture failed: AssertionError: assert not \"in the session's teardown\"",
        "the teardown of a wider fixture failed: RuntimeError: in the module's teardown"]
    assert "AssertionError: a mark" in dict(line["sections"])["Earlier failures of this test"]
    assert (done.returncode, contradictions(tmp_path, 1, summary(done.stdout))) == (1, [])


LAST = """
import pytest

pytestmark = pytest.mark.kernel

@pytest.fixture(scope="module")
def wide():
    yield
    raise RuntimeError("in the module's teardown")

def test_uses(wide): pass
def test_last(subtests):
    with subtests.test("part"):
        pass
"""


def test_a_wider_fixture_of_a_test_before_is_not_forgiven(tmp_path: Path) -> None:
    done = run(suite(tmp_path, test_it=LAST), "--kernel", KERNEL, "--flaky", "1", *OPTIONS)
    assert outcomes(tmp_path / "out.jsonl") == {"passed": [f"test_uses[{KERNEL}]"], "error": [f"test_last[{KERNEL}]"]}, done.stdout
    assert "in guest 1: the teardown of a wider fixture failed: RuntimeError: in the module's teardown" in done.stdout
    assert (done.returncode, contradictions(tmp_path, 1, summary(done.stdout))) == (1, [])


PARTS = """
import pytest
from pathlib import Path

pytestmark = pytest.mark.kernel

def test_leaves_a_mark(): Path("/run/mark").touch()

def test_parts(subtests):
    with subtests.test("part"):
        assert not Path("/run/mark").exists(), "a mark"
"""


def test_a_test_with_subtests_is_flaky_as_any(tmp_path: Path) -> None:
    done = run(suite(tmp_path, test_it=PARTS), "--kernel", KERNEL, "--flaky", "1", *OPTIONS)
    assert outcomes(tmp_path / "out.jsonl") == {"passed": [f"test_leaves_a_mark[{KERNEL}]"], "flaky": [f"test_parts[{KERNEL}]"]}
    assert (done.returncode, contradictions(tmp_path, 0, summary(done.stdout))) == (0, [])
    assert "1 flaky" in done.stdout
    again = run(tmp_path, "--kernel", KERNEL, *OPTIONS)
    assert outcomes(tmp_path / "out.jsonl")["failed"] == [f"test_parts[{KERNEL}]"]
    assert f"FAILED test_it.py::test_parts[{KERNEL}] - contains 1 failed subtest" in again.stdout
    assert (again.returncode, contradictions(tmp_path, 1, summary(again.stdout))) == (1, ["terminal's failures: 2, JSON Lines: 1"])


METHOD = """
import unittest
import pytest

@pytest.fixture(autouse=True)
def wanted(kernel): pass

class TestOld(unittest.TestCase):
    def test_it(self): pass
"""


def test_a_method_of_a_test_case_is_for_no_kernel_and_the_reason_is_told(tmp_path: Path) -> None:
    done = run(suite(tmp_path, test_it=METHOD), "--kernel", KERNEL)
    assert done.returncode == 1
    assert "pytest does not repeat it for each, as it is a method of a unittest.TestCase" in done.stdout


def test_a_panic_that_was_seen_live_is_told_once_with_what_its_own_test_printed(tmp_path: Path) -> None:
    done = run(suite(tmp_path, test_it=PANICKING), "-s", "--kernel", KERNEL, "--report-jsonl", "out.jsonl")
    live, _, failures = (done.stdout + done.stderr).partition("= FAILURES =")
    assert all(f"{stream} of the {test}" in live for stream in ("out", "err") for test in ("first", "second"))
    assert live.count("the guest died: Kernel panic - not syncing: sysrq triggered crash") == 1
    assert ("Call Trace" in live, failures.count("Call Trace")) == (False, 1)
    last = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[1])
    assert last["sections"] == [["Guest's standard error", "out of the second\nerr of the second"]]


def test_a_guest_whose_agent_is_silent_is_dead(monkeypatch: pytest.MonkeyPatch, vm: VirtualMachines) -> None:
    monkeypatch.setattr(guest, "_BEAT_S", 0.1)
    machine = vm.start()
    assert machine.run("true").status == 0
    monkeypatch.setattr(guest, "_SILENCE_S", 3)
    monkeypatch.setattr(qemu, "_QMP_DEADLINE_S", 2)  # asked in vain where its processors are
    threading.Timer(1, os.kill, (machine._guest.qemu.pid, signal.SIGSTOP)).start()  # type: ignore[attr-defined]
    with pytest.raises(KernelDied, match="did not answer within 3 s"):
        machine.run("sleep", "1000")


@pytest.mark.parametrize("command", [(), ("",), ("ls", "a\0b")], ids=str)
def test_a_command_that_no_kernel_runs_is_a_mistake(vm: VirtualMachines, command: tuple[str, ...]) -> None:
    with pytest.raises(Mistake, match="the command is"):
        vm.start().run(*command)


def test_a_bare_kernel_is_untainted_and_has_no_lab(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(
        "import pathlib\nimport pytest\n\n@pytest.mark.kernel\ndef test_taint():\n"
        "    assert pathlib.Path('/proc/sys/kernel/tainted').read_text() == '0\\n'\n\ndef test_lab(lab):\n    pass\n")
    done = run(tmp_path, "--kernel", KERNEL, "--bare")
    assert "1 passed, 1 error" in done.stdout, done.stdout
    assert "a bare kernel has no nfharness.ko, which probes it and makes hooks: run this test without --bare" in done.stdout


TRACED = """
import socket
from scapy.layers.inet import IP, UDP

def test_sends(lab):
    net = lab.router()
    before = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with net.client.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as untraced:
        untraced.sendto(b"between", (net.server.address, 11))
    lab.send(net.client, IP(dst=net.server.address) / UDP(sport=9, dport=12))
    before.close()

def test_fails(lab):
    net = lab.pair()
    with lab.trace():
        net.peer.run("ping", "-c1", "-W1", net.host.address)
        assert False

def test_has_no_lab(kernel):
    pass
"""


def test_trace_all_keeps_each_tests_packets_whatever_became_of_it(tmp_path: Path) -> None:
    from scapy.layers.inet import ICMP, IP, UDP  # noqa: PLC0415
    from scapy.utils import PcapNgReader  # noqa: PLC0415

    (tmp_path / "test_traced.py").write_text(TRACED)
    done = run(tmp_path, "--kernel", KERNEL, "--trace-all", "kept", "-n", "1")
    assert done.returncode == 1, done
    files = {path.name.partition("%3A%3A")[2].partition("[")[0]: path for path in (tmp_path / "kept").iterdir()}
    assert sorted(files) == ["test_fails", "test_sends"]
    blocks = {}
    for name, path in files.items():
        with PcapNgReader(str(path)) as reader:
            blocks[name] = list(reader)
    assert {block[UDP].dport for block in blocks["test_sends"] if UDP in block} == {11, 12}
    assert any(ICMP in block and block[IP].src.startswith("10.") for block in blocks["test_fails"])


def test_trace_all_wants_a_directory_and_a_tracer(tmp_path: Path) -> None:
    (tmp_path / "test_traced.py").write_text(TRACED)
    (tmp_path / "file").touch()
    assert "--trace-all file: File exists" in run(tmp_path, "--kernel", KERNEL, "--trace-all", "file").stderr
    assert "a bare kernel has no tracer" in run(tmp_path, "--kernel", KERNEL, "--trace-all", "kept", "--bare").stderr


def test_coverage_wants_a_kernel_that_gcov_counts(tmp_path: Path) -> None:
    (tmp_path / "test_traced.py").write_text(TRACED)
    done = run(tmp_path, "--kernel", KERNEL, "--coverage", "kept")
    assert done.returncode == 4, done
    assert f"--coverage: {KERNEL} is Debian's kernel, which gcov does not count" in done.stderr
    assert f"nfharness kernel build --source {KERNEL} --flavour gcov" in done.stderr
