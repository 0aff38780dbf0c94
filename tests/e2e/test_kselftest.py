"""``nfharness kselftest``: a kernel's own scripts, and what is reported of one that fails."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.host.paths import cache_dir
from harness.images import kernels
from tests.e2e.conftest import CommandLine
from tests.e2e.programs import SAYS, WARNS, Program, fails, hangs, judged, skips, written

pytestmark = pytest.mark.slow

COLLECTION = "net/netfilter"
SCRIPTS = {
    "passes": Program("read taint < /proc/sys/kernel/tainted; exit $taint", "passed", ""),
    "fails": fails(1),
    "skips": skips(4),
    "hangs": hangs(1000),
    "warns": WARNS,
    "says": SAYS,
    "leaves": Program("nft 'table ip t { chain c { type filter hook input priority 7; }; }'", "error",
                      "a table of nftables is left behind in namespace init: ip t"),
}
#: A script, one that needs a helper compiled, and a program.
REAL = ("vxlan_mtu_frag.sh", "conntrack_reverse_clash.sh", "conntrack_dump_flush")


def test_scripts_of_the_kernels_own_pass_unmodified(nfharness: CommandLine, tmp_path: Path) -> None:
    done = nfharness("kselftest", COLLECTION, *REAL, "-n", "2", "-q", "--ktap", str(tmp_path / "out.ktap"),
                     "--junitxml", str(tmp_path / "out.xml"), "--report-jsonl", str(tmp_path / "out.jsonl"))
    assert done.status == 0, done
    results = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [one["outcome"] for one in results if "test" in one] == ["passed"] * len(REAL)
    assert (tmp_path / "out.ktap").read_text().splitlines()[-1] == "# Totals: pass:3 fail:0 xfail:0 xpass:0 skip:0 error:0"
    suite, = ElementTree.parse(tmp_path / "out.xml").getroot()  # noqa: S314 - our own
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == (kernels.DEFAULT, "3", "0")


@pytest.fixture
def with_scripts_of_ours(nfharness: CommandLine, tmp_path: Path) -> CommandLine:
    """A cache that shares all with the real one but the selftests: among them are scripts that end in each way that there is."""
    assert nfharness("kselftest", COLLECTION, "--list").status == 0
    cache = tmp_path / "cache"
    cache.mkdir()
    for entry in cache_dir().iterdir():
        if entry.name not in ("selftests", "collections"):
            (cache / entry.name).symlink_to(entry)
    for package in (cache_dir() / "selftests").glob(f"linux-source-{kernels.DEFAULT}_*"):
        shutil.copytree(package, cache / "selftests" / package.name, symlinks=True)
        place = cache / "selftests" / package.name / "selftests" / COLLECTION
        written(SCRIPTS, place, "/bin/sh", ".sh")
    return CommandLine({"NFHARNESS_CACHE": str(cache)})


def test_a_script_has_the_kernel_as_it_is_and_answers_for_what_it_does_to_it(with_scripts_of_ours: CommandLine, tmp_path: Path) -> None:
    names = [f"{name}.sh" for name in SCRIPTS]
    report = tmp_path / "out.jsonl"
    done = with_scripts_of_ours("kselftest", COLLECTION, *names, "--deadline", "4", "-n", "2", "--report-jsonl", str(report))
    assert done.status == 1, done
    judged(SCRIPTS, report, ".sh")


def test_an_unknown_script_or_collection_is_the_users_mistake(nfharness: CommandLine) -> None:
    done = nfharness("kselftest", COLLECTION, "no_such.sh")
    assert done.status == 2
    assert done.error[0].endswith("has no test no_such.sh")
    listing = f"nfharness kselftest {COLLECTION} --kernel {kernels.DEFAULT} --list"
    assert done.error[1] == f"  hint: {listing}"
    assert nfharness("kselftest", COLLECTION, "nft_nat", "-n", "2").error[1] == f"  hint: did you mean nft_nat.sh? {listing}"
    assert nfharness("kselftest", "netfilter").error == [
        "nfharness: error: netfilter is no collection of this kernel's selftests",
        f"  hint: one of {COLLECTION}",
    ]
