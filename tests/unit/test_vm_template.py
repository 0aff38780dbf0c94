"""Which saved guests go when newer code is saved, and what they do not depend on."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness.host.progress import Progress
from harness.host.store import keep
from harness.images.kernels import Kernel
from harness.images.layers import Layer
from harness.vm import template
from harness.vm.code import code_archive
from harness.vm.qemu import TCG, Accelerator, Machine
from harness.vm.template import _forget_lean, _forget_older, _path


def saved(cache: Path, name: str, age: int) -> Path:
    path = cache / name
    path.mkdir()
    (path / "template.json").write_text("{}")
    os.utime(path, (1000 - age, 1000 - age))
    return path


def test_earlier_code_goes_but_for_the_last_and_for_what_a_process_uses(tmp_path: Path) -> None:
    base = saved(tmp_path, "6.12_abc", 9)
    used, gone, last, newest = (saved(tmp_path, f"6.12_abc_{name}", age) for name, age in (("a", 4), ("b", 3), ("c", 2), ("d", 1)))
    keep(used / "template.json")
    _forget_older(newest, base)
    assert [path.exists() for path in (base, used, gone, last, newest)] == [True, True, False, True, True]


def test_a_template_does_not_depend_on_the_packages_of_its_guests() -> None:
    machine = Machine(Path("vmlinuz"), Path("initrd"), (Path("root.img"),), TCG)
    assert replace(machine, packages=Path("packages.img")).arguments() == machine.arguments()


@pytest.fixture
def layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layer:
    """A kernel that is emulated, in a cache that has nothing of it."""
    async def proved(*_: object) -> Accelerator:
        return TCG

    monkeypatch.setenv("NFHARNESS_CACHE", str(tmp_path))
    monkeypatch.setattr(template, "proved", proved)
    return Layer(Kernel("6.12-cloud-amd64", "6.12-1", "6.12", "cloud", ()), tmp_path / "kernels/own")


def test_a_template_with_everything_serves_who_asks_for_a_lean_one(layer: Layer, tmp_path: Path) -> None:
    places = [_path(layer, tmp_path, TCG, kind, "") for kind in ("lean", "template", "bare")]
    assert len(set(places)) == len(places)
    places[1].mkdir(parents=True)
    (places[1] / "ram").touch()
    (places[1] / "template.json").write_text(json.dumps({"code": code_archive().identity, "facts": {}}))
    found = asyncio.run(template.template(layer, tmp_path, Progress(quiet=True), "lean"))
    assert (found.state.parent, found.machine.ram) == (places[1], places[1] / "ram")


def test_a_lean_template_goes_with_what_newer_code_made_of_it_unless_a_process_uses_it(tmp_path: Path) -> None:
    lean, renewed, other = (saved(tmp_path, name, 0) for name in ("6.12_lean", "6.12_lean_code", "6.12_other"))
    keep(renewed / "template.json")
    _forget_lean(lean)
    assert [path.exists() for path in (lean, renewed, other)] == [False, True, True]
