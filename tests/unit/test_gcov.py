"""What gcov counted in each rule becomes what each rule reaches. The counters are real ones, of a program that gcc compiles here."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from harness.cli.check import Checking
from harness.cli.coverage import _of_tests, _read
from harness.conformance import reach
from harness.conformance.collect import EachRule
from harness.conformance.coverage import FUNCTIONS
from harness.conformance.gcov import Counts, Profiled
from harness.conformance.matrix import RuleResult
from harness.conformance.reach import Reach
from harness.conformance.statements import CORE, CoreSource, pinned
from harness.errors import GuestError, HostError, UserError
from harness.host.unpacked import unpack
from harness.images import specs
from harness.images.kernel_tree import Tree
from harness.pytest_plugin.host import coverage as kept
from harness.pytest_plugin.host.runner import file_name

pytestmark = pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("gcov")), reason="this host has no gcc or no gcov")

_SOURCE = """\
int f(int a)
{
	if (a > 1)
		return 1;
	return 0;
}
int main(int n, char **words)
{
	return f(n) - f(n);
}
"""
_FILE = "net/netfilter/core.c"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A build whose core.c is a program, with its notes."""
    source = tmp_path / _FILE
    source.parent.mkdir(parents=True)
    source.write_text(_SOURCE)
    subprocess.run(["gcc", "--coverage", "-o", "run", "-c", _FILE, "-o", "net/netfilter/core.o"], cwd=tmp_path, check=True)
    subprocess.run(["gcc", "--coverage", "net/netfilter/core.o", "-o", "run"], cwd=tmp_path, check=True)
    version = subprocess.run(["gcc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return Tree(tmp_path, tmp_path, "6.99.0-own", {"GCOV_KERNEL": "y", "CC_VERSION_TEXT": version}, tmp_path / "vmlinux", (), "id")


def _counters(tree: Tree, *words: str) -> bytes:
    """As they are after one more run."""
    subprocess.run([tree.build / "run", *words], check=True)
    return (tree.build / "net/netfilter/core.gcda").read_bytes()


def test_what_runs_between_two_readings_is_their_difference(tree: Tree) -> None:
    profiled = Profiled(tree, _FILE)
    before, after = profiled.read(_counters(tree)), profiled.read(_counters(tree, "more"))
    assert (before.lines[4], before.lines[5], after.lines[4]) == (0, 2, 2)
    change = after - before
    assert {number: change.lines[number] for number in (3, 4, 5)} == {3: 2, 4: 2, 5: 0}
    assert sorted(change.branches[3]) == [0, 2]
    assert change.functions[4] == "f"
    assert profiled.read(b"") == Counts()


def test_a_line_is_linked_to_the_rules_that_reach_it(tree: Tree) -> None:
    profiled = Profiled(tree, _FILE)
    first, second = profiled.read(_counters(tree)), profiled.read(_counters(tree, "more"))
    found = Reach.of(_FILE, profiled.text, Counts(), {"a.one": first, "b.two": second - first}, {})
    lines = {line.number: line for line in found.lines}
    assert (lines[3].rules, lines[4].rules, lines[5].rules) == (("a.one", "b.two"), ("b.two",), ("a.one",))
    assert (found.reached, found.branches, list(found.gaps()), found.untaken()) == (len(lines), (2, 2, 2), [], [])
    assert found.as_json()["lines"] == {"total": len(lines), "reached": len(lines)}


def test_what_is_never_reached_is_told_with_its_reason(tree: Tree) -> None:
    profiled = Profiled(tree, _FILE)
    counts = profiled.read(_counters(tree))
    found = Reach.of(_FILE, profiled.text, counts, {}, {3: "no caller", 4: "no caller"})
    assert [(gap.function, gap.numbers, gap.reason) for gap in found.gaps()] == [("f", "4", "no caller")]
    assert [(line.number, line.reason) for line in found.untaken()] == [(3, "no caller")]
    assert found.branches == (2, 2, 1)


def test_a_tracefile_has_a_test_for_each_rule() -> None:
    text = reach.lcov("/core.c", Counts(), {"drop.eperm": Counts({3: 2, 4: 0}, {3: (2, 0), 4: (0,)})})
    assert text == ("TN:boot\nSF:/core.c\nLF:0\nLH:0\nend_of_record\n"
                    "TN:drop_eperm\nSF:/core.c\nBRDA:3,0,0,2\nBRDA:3,0,1,0\nBRDA:4,0,0,-\nDA:3,2\nDA:4,0\nLF:2\nLH:1\nend_of_record\n")


def test_core_c_s_reasons_are_those_of_the_table() -> None:
    core = CoreSource(CORE, pinned().lines)
    found = reach.reasons(CORE, core, ["accept.all"])
    branch = next(branch for function in FUNCTIONS for branch in function.branches if branch.uncovered and not branch.newer)
    assert found[branch.lines[0]] == branch.uncovered
    assert "drop.eperm" in found[516]
    assert "and " in found[516]
    assert found[516].startswith("promised by rules that did not run: ")
    assert reach.reasons("net/netfilter/nf_queue.c", core, []) == {}


@pytest.mark.parametrize(("options", "message"), [
    ({"GCOV_KERNEL": ""}, "is built without CONFIG_GCOV_KERNEL"),
    ({"CC_IS_CLANG": "y"}, "whose counters gcc's gcov does not read"),
    ({"CC_VERSION_TEXT": "gcc-99 (None 99.1.0-1) 99.1.0"}, r"this host lacks the gcov of gcc-99"),
])
def test_a_kernel_that_counts_nothing_or_not_for_this_gcov_is_told(tree: Tree, options: Mapping[str, str], message: str) -> None:
    other = Tree(tree.build, tree.source, tree.release, {**tree.options, **options}, tree.image, (), "id")
    with pytest.raises(HostError, match=message):
        Profiled(other, _FILE)


def test_a_file_that_is_not_counted_is_told(tree: Tree) -> None:
    (tree.build / "net/netfilter/nf_queue.c").touch()
    with pytest.raises(HostError, match=r"nf_queue\.c is built without counters") as told:
        Profiled(tree, "net/netfilter/nf_queue.c")
    assert "--flavour gcov --profile net/netfilter/nf_queue.c" in (told.value.hint or "")
    with pytest.raises(UserError, match=r"no\.c is no source file"):
        Profiled(tree, "net/no.c")


def test_counters_of_another_build_or_compiler_are_refused(tree: Tree) -> None:
    profiled, counters = Profiled(tree, _FILE), _counters(tree)
    stamp = bytes([counters[8] ^ 1])
    with pytest.raises(HostError, match="are not of the build"):
        profiled.read(counters[:8] + stamp + counters[9:])
    version = b"*90B"  # gcc 9.0's, as it lies in memory
    with pytest.raises(HostError, match="are another compiler's"):
        profiled.read(counters[:4] + version + counters[8:])
    with pytest.raises(HostError, match="does not understand"):
        profiled.read(b"no counters")


@pytest.mark.parametrize(("collected", "why"), [
    (EachRule("glob", lost=["drop.eperm"]), "every guest died before it could be asked"),
    (EachRule("glob", [b""], {"drop.eperm": (b"", b"")}), "no guest has /sys/kernel/debug/gcov/"),
])
def test_a_kernel_whose_guests_have_no_counters_is_told(tree: Tree, collected: EachRule, why: str) -> None:
    with pytest.raises(GuestError, match=f"no counters of {_FILE}: {why}"):
        _read(Profiled(tree, _FILE), collected, Checking(()))


def test_what_ran_before_the_rules_is_the_least_that_any_guest_had(tree: Tree) -> None:
    """A guest that took the place of one that died has run no more than another at its first rule."""
    profiled = Profiled(tree, _FILE)
    first, second, third = _counters(tree), _counters(tree), _counters(tree, "more")
    collected = EachRule("glob", [second, first], {"accept.all": (first, second), "drop.eperm": (second, third)})
    checking = Checking(())
    checking.results = [RuleResult(rule, "k", "conformant", ()) for rule in ("drop.eperm", "accept.all")]
    before, rules = _read(profiled, collected, checking)
    assert (before.lines[3], before.lines[4]) == (2, 0)
    assert list(rules) == ["drop.eperm", "accept.all"]
    assert (rules["accept.all"].lines[5], rules["drop.eperm"].lines[4], rules["drop.eperm"].lines[5]) == (2, 2, 0)


def _packed(counters: bytes) -> str:
    """As a guest packs them: under the path in debugfs that the tree had when it was built."""
    buffer, member = io.BytesIO(), tarfile.TarInfo("sys/kernel/debug/gcov/root/.cache/tree/net/netfilter/core.gcda")
    member.size = len(counters)
    with tarfile.open(fileobj=buffer, mode="w|") as archive:
        archive.addfile(member, io.BytesIO(counters))
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture
def _is_the_tree(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """``--kernel own`` is the tree."""
    for module in (kept, specs):
        monkeypatch.setattr(module, "resolved", lambda _spec, _progress: tree.kernel())
    kept.place_of.cache_clear()
    yield
    kept.place_of.cache_clear()


@pytest.mark.usefixtures("_is_the_tree")
def test_a_line_is_linked_to_the_tests_that_reach_it(tree: Tree, tmp_path: Path) -> None:
    profiled, place = Profiled(tree, _FILE), kept.place_of(str(tmp_path / "kept"), "own")
    before = _counters(tree)
    for test, words in {"a": (), "b": ("more",), "c": ()}.items():
        (tree.build / "net/netfilter/core.gcda").unlink()  # as a guest begins each test with counters of 0
        kept.keep(place, file_name(f"test_x.py::test_{test}[own]", ""),
                  json.dumps({"before": _packed(before if test == "a" else b"of a later guest"), "test": _packed(_counters(tree, *words))}))
    ran = _of_tests(profiled, tmp_path / "kept", "own")
    assert list(ran.counts) == ["test_x.py::test_a[own]", "test_x.py::test_b[own]", "test_x.py::test_c[own]"]
    assert (ran.before.lines[4], ran.before.lines[5], ran.status) == (0, 2, 0)
    found = Reach.of(_FILE, profiled.text, ran.before, ran.counts, {}, kind=ran.kind)
    lines = {line.number: line for line in found.lines}
    assert lines[4].rules == ("test_x.py::test_b[own]",)
    assert found.as_json()["tests"] == list(ran.counts)
    assert {"before_tests", "tests"} < set(found.as_json()["source"][0])


@pytest.mark.usefixtures("_is_the_tree")
def test_counters_of_another_build_s_tests_are_told_from_those_of_this_one(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "kept/6.99.0-own#another").mkdir(parents=True)
    with pytest.raises(UserError, match=r"has no counters of 6\.99\.0-own#id, but 6\.99\.0-own#another"):
        _of_tests(Profiled(tree, _FILE), tmp_path / "kept", "own")


@pytest.mark.usefixtures("_is_the_tree")
def test_tests_that_have_not_counted_the_file_are_told(tree: Tree, tmp_path: Path) -> None:
    (kept.place_of(str(tmp_path / "kept"), "own") / "test").mkdir(parents=True)
    with pytest.raises(GuestError, match=f"no counters of {_FILE}"):
        _of_tests(Profiled(tree, _FILE), tmp_path / "kept", "own")


def test_what_is_unpacked_takes_the_place_of_what_was_there_or_leaves_it_whole(tmp_path: Path) -> None:
    place = tmp_path / "test"
    packed = base64.b64decode(_packed(b"counters"))
    (place / "old").mkdir(parents=True)
    assert unpack(packed, place) == 1
    assert [file.read_bytes() for file in place.rglob("*") if file.is_file()] == [b"counters"]
    with pytest.raises(tarfile.ReadError):
        unpack(packed[:700], place)
    assert [one.name for one in tmp_path.iterdir()] == ["test"]
    assert len(list(place.rglob("core.gcda"))) == 1
