"""What earlier builds of a developer's tree leave in the cache goes, but for the last of them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from harness.vm import inventory, layers, tree
from harness.vm.kernels import Kernel
from tests import trees


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NFHARNESS_CACHE", str(tmp_path / "cache"))
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
    inventory.forget_older_builds(_build("c"))
    assert [path.exists() for path in builds] == [False, True, True]
    assert [(cache / "modules" / f"{path.name}_module").exists() for path in builds] == [False, True, True]
    assert all(path.exists() for path in others)


def test_a_build_is_current_while_its_tree_holds_it(cache: Path, tmp_path: Path) -> None:
    build = trees.in_tree(tmp_path / "linux")
    assert layers.trees_here() == []
    path = _made(cache, tree.read(str(build)).kernel(), 0)
    assert [one.tree for one in layers.trees_here()] == [str(build)]
    assert [(item.kind, item.current) for item in inventory.items() if item.path == path] == [("kernel layer", True)]
    (build / "vmlinux").write_bytes(trees.elf(b"\x02" * 20))
    assert [(item.kind, item.current) for item in inventory.items() if item.path == path] == [("kernel layer", False)]
