"""A cache that cannot be written, of another user or mounted read-only: a template that is whole there is used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.host.paths import cache_dir
from harness.host.process import in_namespace
from harness.host.progress import Progress
from harness.vm import template as room
from harness.vm.qemu import TCG, Machine, reads_sealed_ram
from harness.vm.template import Template
from tests.e2e.conftest import CommandLine

pytestmark = pytest.mark.slow

_SEALED = 'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@"'


def test_a_template_of_a_cache_that_is_mounted_read_only(nfharness: CommandLine, tmp_path: Path) -> None:
    nfharness.env = {"NFHARNESS_STATE": str(tmp_path)}
    before = tuple(in_namespace(["sh", "-ec", _SEALED, str(cache_dir())]))
    first, second = (nfharness("exec", "--", "echo", "fine", before=before) for _ in range(2))
    assert (first.out, second.out) == (b"fine\n", b"fine\n"), (first, second)
    copies = list((tmp_path / "templates").glob("*/ram"))
    assert len(copies) == (0 if reads_sealed_ram() else 1)
    assert "template: copying its RAM" not in second.err
    (disk,) = [one for one in json.loads(nfharness("doctor", "--json", before=before).out) if one["name"] == "disk"]
    assert (disk["state"], "its templates are used" in disk["found"]) == ("ok", True)


@pytest.mark.parametrize("sealed", [True, False])
def test_qemu_is_asked_whether_it_reads_sealed_ram(sealed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(room, "reads_sealed_ram", lambda: sealed)
    monkeypatch.setattr(room, "is_writable", lambda _path: False)
    ram = tmp_path / "6.12_abc/ram"
    ram.parent.mkdir()
    ram.write_bytes(b"x" * 4096)
    machine = Machine(Path("vmlinuz"), Path("initrd"), (), TCG, ram=ram)
    used = room._readable(Template(machine, Path("state"), "", {}), Progress(quiet=True)).machine
    copy = tmp_path / f"state/templates/6.12_abc_{ram.stat().st_mtime_ns:x}/ram"
    assert used == (replace(machine, sealed=True) if sealed else replace(machine, ram=copy))
    assert copy.exists() != sealed
    shares = [part for part in used.arguments() if part.startswith("memory-backend-file")]
    assert ("share=off,readonly=on,rom=off," in shares[0]) == sealed
