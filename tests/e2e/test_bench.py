"""``nfharness bench``: the form of what it prints. How fast a machine is, no test may judge."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from harness.bench.exploration import UNITS as EXPLORED
from harness.host.paths import cache_dir
from tests.e2e.conftest import DEADLINE_S

pytestmark = pytest.mark.slow

UNITS = {
    "cold_boot_s": "s", "template_save_s": "s", "restore_to_first_output_s": "s", "run_warm_s": "s", "vm_private_mib": "MiB",
    "isolation_test_s": "s", "many_tests_s": "s", "qemu_greeting_s": "s", "restore_to_greeting": "x",
    "edit_to_verdict_s": "s", "edit_to_verdict_cpu_s": "s", "check_one_guest_s": "s", "check_guests_s": "s", "check_one_to_guests": "x",
    "trace_ns_1_hook": "ns", "trace_ns_8_hooks": "ns", "trace_to_pair_1_hook": "x", "trace_to_pair_8_hooks": "x", "pair_ns": "ns",
    "trace_bare_ns_1_hook": "ns", "trace_bare_ns_8_hooks": "ns", "trace_ns_traversal": "ns", "trace_ns_each_hook": "ns",
    "traversals_per_s_without_loss": "1/s",
    "register_unregister_per_s": "1/s", "packets_per_s_untraced": "1/s", "packets_per_s_traced": "1/s",
}


def test_the_metrics_as_json() -> None:
    command = [sys.executable, "-m", "harness", "bench", "--json", "--brief", "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert list(document) == ["metrics"]
    metrics = document["metrics"]
    assert metrics.keys() >= UNITS.keys()
    assert {name: metrics[name]["unit"] for name in UNITS} == UNITS
    for name, metric in metrics.items():
        assert metric.keys() == {"median", "min", "max", "unit"}
        assert metric["min"] <= metric["median"] <= metric["max"]
        # What a tracer adds is a difference of two short times here, which another process may turn round.
        assert metric["min"] > 0 or name.startswith(("trace_", "pair_"))
    # A boot takes longer than a restore, and a tracer costs something, on any machine.
    assert metrics["cold_boot_s"]["min"] > metrics["restore_to_first_output_s"]["max"]
    assert metrics["packets_per_s_untraced"]["max"] > metrics["packets_per_s_traced"]["min"]
    # Of a kernel that was just built more is made than of one that is known; and QEMU greets before the guest in it can.
    assert metrics["edit_to_verdict_s"]["min"] > metrics["run_warm_s"]["min"]
    assert metrics["qemu_greeting_s"]["min"] < metrics["restore_to_first_output_s"]["max"]
    # What an exploration finds is no matter of speed, but it is told.
    for name in EXPLORED:
        assert name in metrics or f"no sample of {name}" in done.stderr
    assert not list((cache_dir() / "bench").iterdir()), "no saved guest is left behind"


def test_no_rounds_at_all_are_refused() -> None:
    command = [sys.executable, "-m", "harness", "bench", "--rounds", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stdout) == (2, "")
