"""A build of a kernel's tree: what it compiles, what it leaves when it is cut off. make is real, the sources are tiny."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.commands import nfharness
from harness.doctor import inventory
from harness.errors import HostError, UserError
from harness.host.progress import Progress
from harness.host.store import lock_of, locked
from harness.images import kernel_tree, sources
from harness.images.kernel_build import BuildOrder, build
from harness.requirements import build_requirements
from tests import trees

pytestmark = pytest.mark.skipif(not all(one.found for one in build_requirements()), reason="this host cannot build kernels")

#: As kbuild: what was compiled is noted, olddefconfig drops what it does not know, a linked kernel is as trees.built leaves it.
_MAKEFILE = """\
VERSION = 6
PATCHLEVEL = 99
allnoconfig:
	cp $(KCONFIG_ALLCONFIG) $(KCONFIG_CONFIG)
olddefconfig:
	sed -i '/NO_SUCH/d' $(KCONFIG_CONFIG)
	printf 'CONFIG_X86_64=y\\nCONFIG_OBJTOOL=y\\n' >> $(KCONFIG_CONFIG)
net/netfilter/core.o: net/netfilter/core.c
	! grep broken $<
	echo '  CC      net/netfilter/core.o'
	echo compiled >> compiled
	cp $< $@ && touch net/netfilter/.core.o.cmd
	if grep -q slow $<; then sleep 60; fi
vmlinux: net/netfilter/core.o
	cp -a prepared/. .
	cp .config include/config/auto.conf
modules: vmlinux
.PHONY: vmlinux modules allnoconfig olddefconfig
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What unpacking has left in the cache, and nothing is built of yet: 6.99+plain."""
    monkeypatch.setenv("NFHARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path / "state"))
    tree = kernel_tree.built_path("6.99", "plain")
    trees.in_tree(tree / "prepared")
    for name in (".config", "include/config/auto.conf"):
        (tree / "prepared" / name).unlink()
    for name in ("arch/x86", "include/linux", "net/netfilter"):
        shutil.copytree(tree / "prepared" / name, tree / name)
    (tree / "Makefile").write_text(_MAKEFILE)
    (tree / "net/netfilter/core.c").write_text("// core\n")
    (tree / "net/netfilter/Makefile").write_text("obj-y := core.o\n")
    for name in ("Makefile", "net/netfilter/core.c"):
        (tree / "prepared" / name).unlink()
    _made(tree, "plain")
    return tree


def _made(tree: Path, flavour: str) -> None:
    (tree / ".nfharness").mkdir(exist_ok=True)
    (tree / ".nfharness/made.json").write_text(json.dumps({"series": "6.99", "version": "6.99.1-1", "flavour": flavour}))


def _build(order: BuildOrder | None = None, directory: Path | None = None) -> kernel_tree.Tree:
    return build(order or BuildOrder("6.99"), directory, Progress(quiet=True), jobs=1)


def _compiled(tree: Path) -> int:
    return (tree / "compiled").read_text().count("compiled")


def test_a_second_run_compiles_only_what_has_changed(tree: Path) -> None:
    found = _build()
    assert (found.build, found.release) == (tree, trees.RELEASE)
    _build()
    assert _compiled(tree) == 1
    (tree / "net/netfilter/core.c").write_text("// another core\n")
    assert _build().build == tree
    assert _compiled(tree) == 2


def test_what_was_built_is_a_kernel_by_its_name(tree: Path) -> None:
    with pytest.raises(HostError, match=r"6.99\+gcov is not built") as told:
        kernel_tree.read("6.99+gcov")
    assert told.value.hint == "nfharness kernel build --source 6.99 --flavour gcov"
    _build()
    assert kernel_tree.means_tree("6.99+plain")
    assert kernel_tree.from_anywhere("6.99+plain") == "6.99+plain"
    assert kernel_tree.read("6.99+plain").build == tree
    assert not kernel_tree.means_tree("6.12.118+deb13-cloud-amd64")
    assert [(item.kind, item.name, item.current) for item in inventory.items()] == [("built kernel", "6.99+plain", True)]


def test_a_build_that_failed_is_no_kernel_until_one_has_not(tree: Path) -> None:
    _build()
    (tree / "net/netfilter/core.c").write_text("broken\n")
    with pytest.raises(HostError, match=r"compiling 6.99\+plain failed"):
        _build()
    with pytest.raises(HostError, match="is half built") as told:
        kernel_tree.read("6.99+plain")
    assert told.value.hint == "nfharness kernel build --source 6.99"
    (tree / "net/netfilter/core.c").write_text("// mended\n")
    _build()
    kernel_tree.read("6.99+plain")


def test_a_build_that_is_killed_leaves_no_process_and_what_it_wrote_is_made_again(tree: Path) -> None:
    (tree / "net/netfilter/core.c").write_text("// slow\n")
    running = subprocess.Popen([sys.executable, "-m", "harness", "kernel", "build", "--source", "6.99"], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not (tree / "compiled").exists():
            assert running.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    with pytest.raises(HostError, match="is half built"):
        kernel_tree.read("6.99+plain")
    (tree / "net/netfilter/core.c").write_text("// core\n")
    half, command = tree / "net/netfilter/core.o", tree / "net/netfilter/.core.o.cmd"
    half.write_text("ha")  # newer than its command, and than its source: make would keep it
    now = time.time()
    for path, age in ((tree / "net/netfilter/core.c", 30), (command, 20), (half, 10)):
        path.touch()
        _set_age(path, now - age)
    _build()
    assert half.read_text() == "// core\n"


def _set_age(path: Path, when: float) -> None:
    os.utime(path, (when, when))


def test_only_one_builds_at_a_time(tree: Path) -> None:
    said: list[str] = []

    class Told(Progress):
        def note(self, text: str) -> None:
            said.append(text)
            (tree / "net/netfilter/core.c").write_text("// by the other\n")

    holder = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); "
                               "print(flush=True); time.sleep(2)", str(lock_of(tree))], stdout=subprocess.PIPE)
    assert holder.stdout
    holder.stdout.readline()
    build(BuildOrder("6.99"), None, Told(quiet=True), jobs=1)
    assert said == [f"waiting for another build of {tree}"]
    assert (tree / "net/netfilter/core.o").read_text() == "// by the other\n"
    holder.wait()


def test_an_option_that_was_dropped_leaves_the_configuration_that_was(tree: Path) -> None:
    _build()
    before = (tree / ".config").read_bytes()
    with pytest.raises(HostError, match="did not keep CONFIG_NO_SUCH=y"):
        _build(BuildOrder("6.99", fragments=({"NO_SUCH": "y"},)))
    assert (tree / ".config").read_bytes() == before


def test_an_edited_configuration_stays(tree: Path) -> None:
    _build()
    with (tree / ".config").open("a") as file:
        file.write("CONFIG_MINE=y\n")
    _build()
    assert "CONFIG_MINE=y" in (tree / ".config").read_text()


def test_gcov_counts_what_was_asked_for(tree: Path) -> None:
    _made(tree, "gcov")
    order = BuildOrder("6.99", "gcov")
    _build(order, tree)
    makefile = tree / "net/netfilter/Makefile"
    assert "GCOV_PROFILE_core.o := y" in makefile.read_text()
    before = makefile.stat().st_mtime_ns
    _build(order, tree)
    assert makefile.stat().st_mtime_ns == before
    (tree / "net/netfilter/nf_queue.c").touch()
    _build(BuildOrder("6.99", "gcov", profiled=("net/netfilter/nf_queue.c",)), tree)
    assert [line.split()[0] for line in makefile.read_text().splitlines()] == ["obj-y", "GCOV_PROFILE_nf_queue.o"]
    with pytest.raises(UserError, match=r"no\.c is no source file"):
        _build(BuildOrder("6.99", "gcov", profiled=("net/no.c",)), tree)


def test_another_kernel_than_a_directory_holds_is_refused(tree: Path) -> None:
    for order in (BuildOrder("6.98"), BuildOrder("6.99", "kasan"), BuildOrder("6.99.2-1")):
        with pytest.raises(UserError, match=r"holds 6.99.1-1\+plain, not"):
            _build(order, tree)
    assert _build(BuildOrder("6.99.1-1"), tree).build == tree
    assert _build(BuildOrder(), tree).build == tree


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").touch()
    for place, message in (("mine", "did not make"), ("mine/file", "is a file"), ("a b", "space or colon")):
        with pytest.raises(UserError, match=message):
            _build(directory=tmp_path / place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


def test_sources_that_the_archive_lacks_are_told_with_those_that_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "packages", lambda _series, _progress: [])
    monkeypatch.setattr(sources, "series", lambda: ["6.1", "6.12"])
    with pytest.raises(UserError, match=r"no sources of 6\.98") as told:
        _build(BuildOrder("6.98"), tmp_path / "new")
    assert told.value.hint == "one of 6.1, 6.12"
    assert list(tmp_path.iterdir()) == []


def test_what_the_host_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **found: None if name in ("bison", "pahole") else which(name, **found))
    with pytest.raises(HostError, match="this host lacks bison, pahole") as told:
        _build(directory=tmp_path / "new")
    assert told.value.hint == "apt-get install bison dwarves"


def test_what_is_being_built_is_not_pruned(tree: Path) -> None:
    new = tree.with_name(f".{tree.name}.new")
    tree.rename(new)
    with locked(lock_of(new)):
        result = CliRunner().invoke(nfharness, ["image", "prune"])
    assert (result.exit_code, new.is_dir()) == (0, True)
    assert "deleted built kernel unfinished 6.99+plain" in CliRunner().invoke(nfharness, ["image", "prune"]).output
    assert not new.exists()
