"""``nfharness kselftest``: a kernel's own scripts, and what is reported of one that fails."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.vm import kernels
from harness.vm.paths import cache_dir
from tests.e2e.conftest import CommandLine

COLLECTION = "net/netfilter"
SCRIPTS = {
    "passes": "exit 0",
    "fails": "echo FAILS: as told; exit 1",
    "skips": "echo SKIP: as told; exit 4",
}
REAL = ("conntrack_tcp_unreplied.sh", "nf_nat_edemux.sh")


def test_scripts_of_the_kernels_own_pass_unmodified(nfharness: CommandLine, tmp_path: Path) -> None:
    done = nfharness("kselftest", COLLECTION, *REAL, "-n", "2", "-q", "--ktap", str(tmp_path / "out.ktap"),
                     "--junitxml", str(tmp_path / "out.xml"), "--report-jsonl", str(tmp_path / "out.jsonl"))
    assert done.status == 0, done
    results = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [one["outcome"] for one in results if "test" in one] == ["passed", "passed"]
    assert (tmp_path / "out.ktap").read_text().splitlines()[-1] == "# Totals: pass:2 fail:0 xfail:0 xpass:0 skip:0 error:0"
    suite, = ElementTree.parse(tmp_path / "out.xml").getroot()  # noqa: S314 - our own
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == (kernels.DEFAULT, "2", "0")


@pytest.fixture
def with_scripts_of_ours(nfharness: CommandLine, tmp_path: Path) -> CommandLine:
    """A cache that shares all with the real one but the selftests: among them are scripts that end in each way that there is."""
    assert nfharness("kselftest", COLLECTION, "--list").status == 0
    cache = tmp_path / "cache"
    cache.mkdir()
    for entry in cache_dir().iterdir():
        if entry.name != "selftests":
            (cache / entry.name).symlink_to(entry)
    for package in (cache_dir() / "selftests").iterdir():
        if package.is_dir():
            shutil.copytree(package, cache / "selftests" / package.name, symlinks=True)
            place = cache / "selftests" / package.name / "selftests" / COLLECTION
            for name, text in SCRIPTS.items():
                (place / f"{name}.sh").write_text(f"#!/bin/sh\n{text}\n")
    return CommandLine({"NFHARNESS_CACHE": str(cache)})


def test_a_scripts_exit_status_becomes_its_outcome(with_scripts_of_ours: CommandLine, tmp_path: Path) -> None:
    done = with_scripts_of_ours("kselftest", COLLECTION, "passes.sh", "fails.sh", "skips.sh", "--report-jsonl", str(tmp_path / "out.jsonl"))
    assert done.status == 1, done
    results = {one["test"].partition("-")[2].rstrip("]"): one
               for line in (tmp_path / "out.jsonl").read_text().splitlines() if "test" in (one := json.loads(line))}
    assert {name: one["outcome"] for name, one in results.items()} == {"passes.sh": "passed", "fails.sh": "failed", "skips.sh": "skipped"}
    assert "exit status 1: FAILS: as told" in results["fails.sh"]["message"]


def test_an_unknown_script_or_collection_is_the_users_mistake(nfharness: CommandLine) -> None:
    done = nfharness("kselftest", COLLECTION, "no_such.sh")
    assert done.status == 2
    assert done.error[0].endswith("has no test no_such.sh")
    assert done.error[1] == f"  mend: nfharness kselftest {COLLECTION} --list"
    done = nfharness("kselftest", "net/nowhere")
    assert done.status == 2
    assert "net/nowhere is no collection of this kernel's selftests" in done.error[0]
