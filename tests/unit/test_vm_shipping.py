"""For whom an exported file is, and that a template's name has no place of its host in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.vm import qemu, shipping
from harness.vm.qemu import KVM, TCG, Machine
from harness.vm.shipping import Manifest

MANIFEST = Manifest(1, "project", ["userland/abc"], ["6.12.118"], ["7.2.0", "digest"], "tcg", "")
FILE = Path("nfharness-6.12.118-0123456789abcdef.tar.zst")


@pytest.fixture(autouse=True)
def this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("project_identity", "project"), ("qemu_identity", "digest"), ("qemu_version", "7.2.0"),
                        ("processor_identity", "Some CPU 01")):
        monkeypatch.setattr(shipping, name, lambda value=value: value)
    monkeypatch.setattr(shipping, "remembered", lambda: {"accelerator": "tcg"})


def test_what_fits_is_not_refused() -> None:
    shipping._refuse(MANIFEST, FILE)


@pytest.mark.parametrize(("changed", "said"), [
    ({"qemu": ["8.2.1", "other"]}, "was saved by QEMU 8.2.1, and this host has 7.2.0"),
    ({"qemu": ["7.2.0", "other"]}, "another build of the same version"),
    ({"processor": "Another CPU 02", "accelerator": "kvm"}, "was saved with KVM on Another CPU 02, and this host is Some CPU 01"),
    ({"processor": "Some CPU 01", "accelerator": "kvm"}, "was saved with kvm, and guests have tcg on this host"),
    ({"project": "older"}, "was made by another version of nfharness"),
])
def test_what_does_not_fit_is_refused_and_says_why(changed: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        shipping._refuse(replace(MANIFEST, **changed), FILE)  # type: ignore[arg-type]


def test_a_templates_identity_is_the_same_in_every_cache() -> None:
    def machine(cache: str) -> Machine:
        return Machine(Path(cache, "kernels/6.12_a/vmlinuz"), Path(cache, "kernels/6.12_a/initrd"),
                       (Path(cache, "userland/b/root.img"), Path(cache, "kernels/6.12_a/layer.img")), TCG)

    here = machine("/here")
    assert machine("/somewhere/else").identity() == here.identity() != here.arguments()
    assert replace(here, kernel=Path("/here/kernels/6.12_other/vmlinuz")).identity() != here.identity()
    assert replace(here, disks=(Path("/here/userland/other/root.img"), here.disks[1])).identity() != here.identity()
    assert replace(here, accelerator=KVM).identity() != here.identity()


def test_qemus_digest_is_read_once_for_each_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NFHARNESS_CACHE", str(tmp_path / "cache"))
    binary = tmp_path / "qemu"
    binary.write_bytes(b"one build")
    read = qemu._digest.__wrapped__
    first = read(binary)
    kept = (tmp_path / "cache/qemu.json").read_text()
    (tmp_path / "cache/qemu.json").write_text(kept.replace(first, "as kept"))
    assert read(binary) == "as kept"
    binary.write_bytes(b"another build")
    assert read(binary) not in (first, "as kept")


def test_qemus_digest_is_told_where_the_cache_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(qemu, "cache_dir", lambda: tmp_path / "file/cache")
    binary = tmp_path / "qemu"
    binary.write_bytes(b"")
    assert qemu._digest.__wrapped__(binary).startswith("e3b0c442")
