"""``nfharness coverage`` on a kernel that gcov counts. To build one takes most of an hour: without one these skip."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.images.kernel_tree import built_path, built_specs
from tests.e2e.conftest import CommandLine

pytestmark = pytest.mark.slow

_SPEC = "6.12+gcov"


@pytest.fixture
def source() -> list[str]:
    """The lines of that kernel's core.c."""
    if _SPEC not in built_specs():
        pytest.skip(f"no {_SPEC} is built here: nfharness kernel build --source 6.12 --flavour gcov")
    return (built_path("6.12", "gcov") / "net/netfilter/core.c").read_text().splitlines()


def test_lines_are_linked_to_the_rules_that_reach_them(nfharness: CommandLine, source: list[str], tmp_path: Path) -> None:
    page, trace = tmp_path / "page.html", tmp_path / "trace.info"
    result = nfharness("coverage", "--kernel", _SPEC, "accept.all", "drop.eperm", "--jobs", "1", "--json", "--html", str(page),
                       "--lcov", str(trace))  # fmt: skip
    assert result.status == 0, result
    found = json.loads(result.out)
    lines = {one["line"]: one for one in found["source"]}
    (begin,) = (number for number, line in enumerate(source, 1) if line.startswith("int nf_hook_slow("))

    def first(text: str) -> int:
        return next(number for number, line in enumerate(source, 1) if number > begin and text in line)

    assert lines[first("kfree_skb_reason(")]["rules"] == ["drop.eperm"]
    assert lines[first("switch (verdict & NF_VERDICT_MASK)")]["rules"] == ["accept.all", "drop.eperm"]
    assert lines[first("nf_queue(skb")]["count"] == 0
    assert "promised by rules that did not run: " in lines[first("nf_queue(skb")]["reason"]
    booted = next(one for one in found["source"] if one["function"] == "netfilter_init")
    assert (booted["before_rules"], booted["rules"]) == (1, [])
    assert (found["lost"], found["rules"]) == ([], ["accept.all", "drop.eperm"])
    assert 0 < found["lines"]["reached"] < found["lines"]["total"]
    assert "kfree_skb_reason(" in page.read_text()
    assert [line for line in trace.read_text().splitlines() if line.startswith("TN:")] == ["TN:boot", "TN:accept_all", "TN:drop_eperm"]


_TESTS = """
from scapy.layers.inet import IP, UDP

from harness.pytest_plugin import Delivered, Dropped

def fate(lab, verdict):
    net = lab.pair()
    lab.hook(net.host, "ipv4", "INPUT", verdict=verdict)
    return lab.send(net.peer, IP(dst=net.host.address) / UDP(dport=9)).fate

def test_drops(lab):
    assert fate(lab, "DROP") == Dropped("EPERM")

def test_accepts(lab):
    assert fate(lab, "ACCEPT") == Delivered()
"""


def test_lines_are_linked_to_the_tests_that_reach_them(nfharness: CommandLine, source: list[str], tmp_path: Path) -> None:
    (tmp_path / "test_counted.py").write_text(_TESTS)
    kept = str(tmp_path / "kept")
    done = nfharness("test", "--kernel", _SPEC, "--coverage", kept, f"--rootdir={tmp_path}", str(tmp_path / "test_counted.py"),
                     deadline_s=1200)
    assert done.status == 0, done
    assert f"coverage --kernel {_SPEC} --read {kept}" in done.out.decode()
    result = nfharness("coverage", "--kernel", _SPEC, "--read", kept, "--json", deadline_s=120)
    assert result.status == 0, result
    found = json.loads(result.out)
    accepts, drops = (f"test_counted.py::test_{name}[{_SPEC}]" for name in ("accepts", "drops"))
    assert found["tests"] == [accepts, drops]
    lines = {one["line"]: one for one in found["source"]}
    (begin,) = (number for number, line in enumerate(source, 1) if line.startswith("int nf_hook_slow("))
    drop = next(number for number, line in enumerate(source, 1) if number > begin and "kfree_skb_reason(" in line)
    verdict = next(number for number, line in enumerate(source, 1) if number > begin and "switch (verdict & NF_VERDICT_MASK)" in line)
    assert (lines[drop]["tests"], lines[verdict]["tests"]) == ([drops], [accepts, drops])
    booted = next(one for one in found["source"] if one["function"] == "netfilter_init")
    assert (booted["before_tests"], booted["tests"]) == (1, [])


def test_a_file_without_counters_is_told_before_anything_is_booted(nfharness: CommandLine, source: list[str]) -> None:
    result = nfharness("coverage", "--kernel", _SPEC, "--file", "net/netfilter/nf_log.c", deadline_s=60)
    assert result.status == 125
    assert "nf_log.c is built without counters" in result.error[0]
    assert "--profile net/netfilter/nf_log.c" in result.error[1]


def test_a_kernel_of_debian_s_counts_nothing(nfharness: CommandLine) -> None:
    result = nfharness("coverage", "--kernel", "6.12", deadline_s=60)
    assert result.status == 125
    assert "nfharness kernel build --source 6.12 --flavour gcov" in result.error[1]
