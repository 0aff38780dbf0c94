"""What earlier builds of a developer's tree leave in the cache goes, but for the last of them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.commands import nfharness
from harness.doctor import inventory
from harness.host.store import locked
from harness.images import kernel_tree, layers
from harness.images.kernels import Kernel
from harness.vm import template
from harness.vm.qemu import TCG
from tests import trees


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NFHARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path / "state"))
    return tmp_path / "cache"


def _made(cache: Path, kernel: Kernel, age: int) -> Path:
    """A layer and a module of a kernel, made *age* seconds ago."""
    path = layers.layer_path(kernel)
    path.mkdir(parents=True)
    (path / "kernel.json").write_text(json.dumps(asdict(kernel)))
    os.utime(path / "kernel.json", (10**9 - age, 10**9 - age))
    (cache / "modules" / f"{path.name}_module").mkdir(parents=True)
    return path


def _build(version: str, tree: str = "/home/me/linux") -> Kernel:
    return Kernel("6.99.0-own", version, "6.99", "tree", (), tree=tree)


def test_all_but_the_last_of_a_tree_s_earlier_builds_go(cache: Path) -> None:
    builds = [_made(cache, _build(version), age) for version, age in (("a", 30), ("b", 20), ("c", 10))]
    others = [_made(cache, _build("d", "/home/me/other"), 40),
              _made(cache, Kernel("6.12-cloud-amd64", "6.12-1", "6.12", "cloud", ()), 50)]  # fmt: skip
    template.forget_older_builds(_build("c"))
    assert [path.exists() for path in builds] == [False, True, True]
    assert [(cache / "modules" / f"{path.name}_module").exists() for path in builds] == [False, True, True]
    assert all(path.exists() for path in others)


def test_a_build_is_current_while_its_tree_holds_it(cache: Path, tmp_path: Path) -> None:
    build = trees.in_tree(tmp_path / "linux")
    assert layers.trees_here() == []
    path = _made(cache, kernel_tree.read(str(build)).kernel(), 0)
    assert [one.tree for one in layers.trees_here()] == [str(build)]
    assert [(item.kind, item.current) for item in inventory.items() if item.path == path] == [("kernel layer", True)]
    (build / "vmlinux").write_bytes(trees.elf(b"\x02" * 20))
    assert [(item.kind, item.current) for item in inventory.items() if item.path == path] == [("kernel layer", False)]


@pytest.mark.parametrize(("append", "current"), [("", True), ("slub_debug=FZP", True), ("another", False)])
def test_a_template_is_of_a_kernel_and_its_command_line(
    cache: Path, monkeypatch: pytest.MonkeyPatch, append: str, current: bool
) -> None:
    monkeypatch.setattr(template, "remembered", object)
    monkeypatch.setattr(template, "accelerator", lambda _proof: TCG)
    kernel = Kernel("6.12-cloud-amd64", "6.12-1", "6.12", "cloud", ())
    _made(cache, kernel, 0)
    path = template.template_path(kernel, append=append)
    assert path is not None
    path.mkdir(parents=True)
    (path / "template.json").write_text(json.dumps({"append": append.removeprefix("another")}))
    assert [item.current for item in inventory.items() if item.path == path] == [current]


def test_what_a_process_builds_at_this_moment_is_neither_stale_nor_to_be_pruned(cache: Path) -> None:
    for name in ("built", "killed"):
        (cache / "modules" / f".{name}.new").mkdir(parents=True)
        (cache / "modules" / f".{name}.lock").touch()
    with locked(cache / "modules/.built.lock"):
        listed = CliRunner().invoke(nfharness, ["image", "list"]).stdout
        doomed = CliRunner().invoke(nfharness, ["image", "prune", "--all", "--dry-run"]).stdout
    rows = [" ".join(word for word in line.split() if word != "0.0") for line in listed.splitlines()[1:-1]]
    assert rows == ["module built being built", "module unfinished killed stale"]
    assert doomed.splitlines()[:-1] == ["would delete module unfinished killed"]


def test_sources_and_trees_are_read_once_for_however_many_entries(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def noted(name: str) -> None:
        real = getattr(inventory, name)

        def call(*of: object) -> object:
            read.append(name)
            return real(*of)

        monkeypatch.setattr(inventory, name, call)

    noted("code_archive")
    noted("is_current")
    _made(cache, _build("a"), 0)
    for number in range(9):
        (cache / f"templates/{number}").mkdir(parents=True)
        (cache / f"modules/{number}").mkdir()
    assert len(inventory.items()) == 20
    assert sorted(read) == ["code_archive", "is_current"]
