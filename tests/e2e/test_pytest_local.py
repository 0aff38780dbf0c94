"""``pytest --backend local``: a guest is the machine, whose kernel ends with the run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e import carried
from tests.e2e.conftest import DEADLINE_S, HERE, CommandLine

pytestmark = pytest.mark.slow

#: What the machine has of nfharness: probes, cgroups, namespaces.
_LEFT = "wc -l </sys/kernel/tracing/kprobe_events; find /sys/fs/cgroup -mindepth 1 -type d; ls /run/netns"


def test_a_spoilt_kernel_runs_no_other_test(nfharness: CommandLine, tmp_path: Path) -> None:
    shutil.copy(HERE / "lasting_tests.py", tmp_path / "test_it.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\nkernels = 6.1\n")
    machine = tmp_path / "machine.tar"
    carried.packed(machine, [tmp_path / "test_it.py", tmp_path / "pytest.ini"])
    script = (f"{carried.unpack(machine)} && python3 -m pytest -p no:cacheprovider --backend local -n 2 "
              f"--report-jsonl out.jsonl >&2; echo $?; uname -r; {_LEFT}; cat out.jsonl")
    result = nfharness("exec", "--bare", "--file", str(machine), "--", "sh", "-c", script, deadline_s=3 * DEADLINE_S)
    lines = result.out.decode().splitlines()
    status, release, *left = [line for line in lines if not line.startswith("{")]
    assert status == "1", result
    assert left == ["0", "forgotten"]
    assert "-n 2 is more guests than one machine holds; using -n 1" in result.err
    told = {one["test"].partition("::")[2]: one for line in lines if line.startswith("{") and "test" in (one := json.loads(line))}
    assert {name: one["outcome"] for name, one in told.items()} == {f"{name}[{release}]": outcome for name, outcome in (
        ("test_a_rule_drops", "passed"), ("test_wants_a_fresh_kernel", "error"), ("test_fails_and_leaves_nothing", "failed"),
        ("test_changes_its_process", "error"), ("test_has_a_process_as_it_was", "passed"), ("test_is_unclear_once", "passed"),
        ("test_leaves_a_namespace", "error"), ("test_comes_after_that", "error"))}  # fmt: skip
    assert {one["kernel"] for one in told.values()} == {release}
    messages = {name.partition("[")[0]: one["message"] for name, one in told.items()}
    assert messages["test_wants_a_fresh_kernel"].startswith("isolation('test') wants a fresh kernel")
    assert messages["test_comes_after_that"] == ("this machine's kernel is spoilt: network namespaces are left behind: forgotten "
                                                 f"(test_it.py::test_leaves_a_namespace[{release}])")
    assert result.err.count("preparing this machine for tests …") == 3, "a changed process costs a session, an unclear test too"
