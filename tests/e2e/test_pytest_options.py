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

from harness.errors import KernelDied
from harness.pytest_plugin.vm import VirtualMachines
from harness.vm import guest, kernels
from tests.e2e.test_pytest_plugin import marked, run

KERNEL = kernels.DEFAULT

pytestmark = pytest.mark.usefixtures("ready")

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

def test_waits(): time.sleep(1000)

def test_last(): pass
"""
LAB = """
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


def test_nothing_of_a_lab_is_left_after_a_failure(tmp_path: Path) -> None:
    done = run(suite(tmp_path, test_it=LAB), "--kernel", KERNEL, "--report-jsonl", "out.jsonl")
    assert outcomes(tmp_path / "out.jsonl") == {"failed": [f"test_fails[{KERNEL}]"],
                                                "passed": [f"test_finds_the_same_kernel_as_it_was[{KERNEL}]"]}, done.stdout


def test_a_guest_whose_qemu_is_killed_costs_its_test(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--kernel", KERNEL, "--report-jsonl", "out.jsonl"]
    environment = {**os.environ, "NFHARNESS_MARK": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=suite(tmp_path, test_it=WAITING), env=environment, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert any("PASSED" in line for line in running.stdout)
        for pid, name in marked(tmp_path).items():
            if "qemu" in name:
                os.kill(pid, signal.SIGKILL)
        running.communicate(timeout=300)
    results = [one for line in (tmp_path / "out.jsonl").read_text().splitlines() if "test" in (one := json.loads(line))]
    assert [one["outcome"] for one in results] == ["passed", "lost", "passed"]
    assert "QEMU was killed by SIGKILL" in results[1]["message"]


def test_a_guest_whose_agent_is_silent_is_dead(monkeypatch: pytest.MonkeyPatch, vm: VirtualMachines) -> None:
    monkeypatch.setattr(guest, "_BEAT_S", 0.1)
    machine = vm.start()
    assert machine.run("true").status == 0
    monkeypatch.setattr(guest, "_SILENCE_S", 3)
    qemu = machine._guest.qemu.pid  # type: ignore[attr-defined]
    threading.Timer(1, os.kill, (qemu, signal.SIGSTOP)).start()
    with pytest.raises(KernelDied, match="did not answer within 3 s"):
        machine.run("sleep", "1000")


def test_a_bare_kernel_is_untainted_and_has_no_lab(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(
        "import pathlib\nimport pytest\n\n@pytest.mark.kernel\ndef test_taint():\n"
        "    assert pathlib.Path('/proc/sys/kernel/tainted').read_text() == '0\\n'\n\ndef test_lab(lab):\n    pass\n")
    done = run(tmp_path, "--kernel", KERNEL, "--bare")
    assert "1 passed, 1 error" in done.stdout, done.stdout
    assert "a bare kernel has no nfharness.ko, which probes it and makes hooks: run this test without --bare" in done.stdout
