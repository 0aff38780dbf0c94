"""A guest that dies at once of damaged files is the host's affair: the damage is named, and what is damaged is gone."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.doctor import examine, inventory
from harness.doctor.inventory import Item
from harness.errors import GuestError, HostError, KernelDied
from harness.host.store import building
from harness.vm import guest
from harness.vm.channel import Request
from harness.vm.guest import VirtualGuest
from harness.vm.qemu import TCG, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Files of a template, a userland and a kernel's layer."""
    for place, names in {"template": ("ram", "state"), "userland": ("root.img",), "layer": ("vmlinuz", "initrd", "layer.img")}.items():
        with building(tmp_path / place) as new:
            assert new is not None
            for name in names:
                (new / name).write_bytes(b"as it was written")
    layer = tmp_path / "layer"
    disks = (tmp_path / "userland/root.img", layer / "layer.img")
    return Machine(layer / "vmlinuz", layer / "initrd", disks, TCG, ram=tmp_path / "template/ram")


def examined(machine: Machine, *, heard: bool = False, lived_s: float = 0, hangs: bool = False) -> Any:
    """What is said of a guest's death."""
    async def run() -> object:
        one = VirtualGuest(cast(Any, SimpleNamespace(machine=machine)))
        one.channel = cast(Any, SimpleNamespace(heard=heard))
        one._since = time.monotonic() - lived_s
        return await one.examined(KernelDied("Kernel panic"), hangs=hangs)

    return asyncio.run(run())


@pytest.mark.parametrize("name", ["template/ram", "template/state", "userland/root.img", "layer/vmlinuz", "layer/initrd",
                                  "layer/layer.img"])
def test_damage_is_named_and_the_damaged_thing_is_gone(machine: Machine, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"as it was wriTten")
    error = examined(machine)
    assert isinstance(error, HostError)
    assert error.message == f"{tmp_path / name} is damaged: its content is not what was written, by its checksum"
    assert error.hint == "try again: it is deleted, and built anew"
    assert not (tmp_path / name).parent.exists()
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"template", "userland", "layer"} - {Path(name).parent.name}


def test_without_damage_the_kernel_is_what_died(machine: Machine) -> None:
    assert isinstance(examined(machine), KernelDied)


@pytest.mark.parametrize(("life", "looks"), [
    ((False, 100, False), True), ((True, 0.5, False), True), ((True, 100, False), False), ((True, 100, True), True)])
def test_only_a_guest_that_has_hardly_lived_or_that_hangs_is_looked_into(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, life: tuple[bool, float, bool], looks: bool,
) -> None:
    monkeypatch.setattr(guest, "slowness", lambda: 1.0)
    (tmp_path / "template/ram").write_bytes(b"as it was wriTten")
    assert isinstance(examined(machine, heard=life[0], lived_s=life[1], hangs=life[2]), HostError if looks else KernelDied)


def test_a_guest_that_starts_nothing_is_looked_into(machine: Machine, tmp_path: Path) -> None:
    async def refuses(_request: object) -> None:
        raise GuestError("the guest's agent did not start a process")

    async def run() -> None:
        one = VirtualGuest(cast(Any, SimpleNamespace(machine=machine)))
        one.channel = cast(Any, SimpleNamespace(heard=True, open=refuses))
        await one.open(Request(argv=("true",)))

    with pytest.raises(GuestError):
        asyncio.run(run())
    (tmp_path / "template/ram").write_bytes(b"as it was wriTten")
    with pytest.raises(HostError, match="is damaged"):
        asyncio.run(run())


def test_doctor_tells_of_damage_on_demand(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quoted = tmp_path / "it's"
    quoted.mkdir()
    shutil.move(tmp_path / "template", quoted / "template")
    items = [Item("template", place.name, place, 0, current=True)
             for place in (quoted / "template", tmp_path / "userland", tmp_path / "layer")]
    monkeypatch.setattr(inventory, "items", lambda: items)
    (whole,) = examine._contents()
    assert (whole.state, whole.found) == ("ok", "3 entries are as they were written")
    (tmp_path / "layer/.sums.json").unlink()
    (quoted / "template/state").write_bytes(b"as it was wriTten")
    (damaged,) = examine._contents()
    assert (damaged.state, damaged.hint.partition(": ")[0]) == ("missing", "it is built anew once it is gone")
    assert shlex.split(damaged.hint.partition(": ")[2]) == ["rm", "-r", str(quoted / "template")]
    assert str(quoted / "template/state") in damaged.found
