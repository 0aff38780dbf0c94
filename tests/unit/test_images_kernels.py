"""Which kernel a spec means, and which kernels are refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from harness.errors import HostError, UserError
from harness.host.paths import package_file
from harness.images import archive, kernels
from harness.images.config import NEEDED
from harness.images.guest_packages import ROOTS, lock_excerpt
from harness.images.kernels import Kernel, series_of
from harness.images.layers import check_bzimage, check_config

_OFFER = [
    ("6.12.9+deb13-cloud-amd64", "6.12.9-1", "cloud", ()),
    ("6.12.10+deb13-cloud-amd64", "6.12.10-1", "cloud", ()),
    ("6.12.10+deb13-rt-amd64", "6.12.10-1", "rt", ()),
    ("6.12.10+deb13-amd64", "6.12.10-1", "amd64", ()),
    ("6.12.11+deb13-cloud-amd64", "6.12.11-1", "cloud", ("linux-headers",)),
    ("6.1.0-9-cloud-amd64", "6.1.9-1", "cloud", ()),
    ("7.3~rc1-cloud-amd64", "7.3~rc1-1~exp1", "cloud", ()),
    ("7.3.4-cloud-amd64", "7.3.4-1", "cloud", ()),
    ("7.0-cloud-amd64", "7.0-1", "cloud", ("linux-headers",)),
    ("5.99-cloud-amd64", "5.99-1", "cloud", ("linux-headers",)),
]
_CONFIG = [f"CONFIG_{name}={'m' if name == 'VETH' else 'y'}" for names in NEEDED.values() for name in names]


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's suites offer :data:`_OFFER`, and do so freshly."""
    found = [Kernel(release, version, series_of(version), flavour, (), unlisted) for release, version, flavour, unlisted in _OFFER]
    monkeypatch.setattr(kernels, "catalogue", lambda **_: found)
    monkeypatch.setattr(kernels, "_stale", lambda: False)
    monkeypatch.setattr(archive, "refresh", lambda **_: None)


@pytest.mark.parametrize(
    ("spec", "release"),
    [
        ("6.12", "6.12.10+deb13-cloud-amd64"),
        ("6.12-cloud", "6.12.10+deb13-cloud-amd64"),
        ("6.12-rt", "6.12.10+deb13-rt-amd64"),
        ("6.12-amd64", "6.12.10+deb13-amd64"),
        ("6.12.9-1", "6.12.9+deb13-cloud-amd64"),
        ("6.12.10-1-rt", "6.12.10+deb13-rt-amd64"),
        ("6.12.9+deb13-cloud-amd64", "6.12.9+deb13-cloud-amd64"),
        ("6.1", "6.1.0-9-cloud-amd64"),
        ("7.3", "7.3.4-cloud-amd64"),
        ("7.0", "7.0-cloud-amd64"),
        ("6.12.11-1", "6.12.11+deb13-cloud-amd64"),
    ],
)
def test_a_spec_means_the_newest_build_that_suites_list_whole_or_else_the_newest(offered: None, spec: str, release: str) -> None:
    assert kernels.resolve(spec).release == release


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("9.9", "no kernel '9.9' in Debian's suites", "nfharness kernels"),
        ("6.13", "no kernel '6.13'", "did you mean 6.1 or 6.12 or 7.3?"),
        ("6.12,7.3", "no kernel '6.12,7.3'", "name each kernel by itself: --kernel 5.10 --kernel 6.12"),
        ("6.12-arm64", "is a kernel for arm64; nfharness runs amd64 kernels", "6.12"),
        ("", "no kernel ''", "nfharness kernels"),
    ],
)
def test_a_spec_that_means_nothing(offered: None, spec: str, message: str, hint: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        kernels.resolve(spec)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["", "[", "{}", '[{"release": 1}]', "null"])
def test_a_damaged_list_of_kernels_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("NFHARNESS_CACHE", str(tmp_path))
    (tmp_path / "apt").mkdir()
    kernels.catalogue_file().write_text(text)
    assert kernels.catalogue_at_hand() == []


@pytest.mark.parametrize(
    ("version", "series"), [("6.12.117-1", "6.12"), ("7.3.4-1~bpo13+1", "7.3"), ("7.3~rc1-1~exp1", "7.3"), ("5.10.262-1", "5.10")]
)
def test_series(version: str, series: str) -> None:
    assert series_of(version) == series


def test_a_kernel_with_all_that_is_needed_is_taken() -> None:
    check_config("\n".join(_CONFIG), "6.12")


@pytest.mark.parametrize("option", ["KPROBES", "DEBUG_INFO_BTF", "MODULES"])
@pytest.mark.parametrize("how", ["", "# CONFIG_{} is not set", "CONFIG_{}=n", "CONFIG_{}_MORE=y"])
def test_a_kernel_that_lacks_something_is_refused_by_name(option: str, how: str) -> None:
    lines = [line for line in _CONFIG if not line.startswith(f"CONFIG_{option}=")] + [how.format(option)]
    with pytest.raises(HostError, match=f"kernel 6.12 is built without CONFIG_{option}$") as caught:
        check_config("\n".join(lines), "6.12")
    assert "nfharness kernels" in (caught.value.hint or "")


def _image(magic: bytes = b"HdrS", xloadflags: int = 1) -> bytes:
    header = bytearray(0x400)
    header[0x202:0x206] = magic
    struct.pack_into("<H", header, 0x236, xloadflags)
    return bytes(header)


def test_a_64_bit_x86_kernel_is_taken(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz").write_bytes(_image())
    check_bzimage(tmp_path / "vmlinuz")


@pytest.mark.parametrize(
    "image", [_image(xloadflags=0), _image(magic=b"none"), b"MZ\0\0" + bytes(60) + b"ARM\x64" + bytes(0x400), b"\x7fELF", b""]
)
def test_an_image_of_another_architecture_is_refused(tmp_path: Path, image: bytes) -> None:
    (tmp_path / "vmlinuz").write_bytes(image)
    with pytest.raises(HostError, match="vmlinuz is not a 64-bit x86 kernel image"):
        check_bzimage(tmp_path / "vmlinuz")


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("E: Failed to fetch http://x/y.deb  Hash Sum mismatch", "corrupt file"),
        ("W: GPG error: The following signatures were invalid: BADSIG 0E98404D386FA1D9", "corrupt file"),
        ("E: Failed to fetch http://x/y.deb  404  Not Found", "nfharness kernels --refresh"),
        ("E: Could not connect to 127.0.0.1:1", "check the network"),
    ],
)
def test_a_download_that_fails_says_what_to_do(said: str, hint: str) -> None:
    assert hint in archive.hint(HostError(said, hint="see log"))


def test_the_guest_gets_what_the_lock_says(tmp_path: Path) -> None:
    excerpt = lock_excerpt(package_file("requirements.lock"), ROOTS)
    for root in ROOTS:
        assert f"\n{root}==" in f"\n{excerpt}"
    assert "\npluggy==" in excerpt
    assert "\nmypy==" not in excerpt
    assert all("--hash=sha256:" in entry for entry in excerpt.split("\n    --hash", 1)[1:])
