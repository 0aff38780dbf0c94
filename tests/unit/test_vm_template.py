"""Which saved guests go when newer code is saved, and what they do not depend on."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from harness.host.store import keep
from harness.vm.qemu import TCG, Machine
from harness.vm.template import _forget_older


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
