"""What no index lists any more, from a pool: found with what it depends on, or missed by name."""

from __future__ import annotations

import functools
import hashlib
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.errors import HostError
from harness.images import archive, archive_pool

VERSION = "7.1.13-1~bpo13+1"
HEADERS, COMMON, KBUILD = "linux-headers-7.1.13+deb13-cloud-amd64", "linux-headers-7.1.13+deb13-common", "linux-kbuild-7.1.13+deb13"
DEPENDS = f"gcc-14-for-host, linux-base (>= 4.12~), {COMMON} (= {VERSION}), {KBUILD}, linux-image-7.1.13"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of our own pool."""
    place = tmp_path / "served" / "pool/main/l/linux"
    place.mkdir(parents=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(tmp_path / "served")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("NFHARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(archive_pool, "address", lambda: f"http://127.0.0.1:{server.server_port}/pool/main/l/linux")
    yield place
    server.shutdown()
    server.server_close()


def _put(shelf: Path, name: str, architecture: str, depends: str = "") -> None:
    root = shelf.parent / name
    (root / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: {VERSION}\nArchitecture: {architecture}\nMaintainer: nobody\nDescription: a test's\n"
    (root / "DEBIAN/control").write_text(control + (f"Depends: {depends}\n" if depends else ""))
    file = shelf / f"{name}_{VERSION}_{architecture}.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", root, file], check=True, capture_output=True)


def _names(found: list[Path]) -> list[str]:
    return sorted(path.name.split("_")[0] for path in found)


def test_a_package_comes_with_what_it_depends_on_of_its_kind(shelf: Path, tmp_path: Path) -> None:
    _put(shelf, HEADERS, "amd64", DEPENDS)
    _put(shelf, COMMON, "all")
    _put(shelf, KBUILD, "amd64", "pahole, libc6 (>= 2.38)")
    found = archive_pool.download([HEADERS], VERSION, ("linux-headers-", "linux-kbuild-"), tmp_path / "debs", tmp_path / "log")
    assert _names(found) == [HEADERS, COMMON, KBUILD]
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
    assert hashes <= set((tmp_path / "log").read_text().split())


def test_what_an_index_had_is_not_asked_for_again(shelf: Path, tmp_path: Path) -> None:
    _put(shelf, HEADERS, "amd64", DEPENDS)
    (tmp_path / "debs").mkdir()
    for name in (COMMON, KBUILD):
        (tmp_path / "debs" / f"{name}_{VERSION}_all.deb").touch()
    found = archive_pool.download([HEADERS], VERSION, ("linux-headers-", "linux-kbuild-"), tmp_path / "debs", tmp_path / "log")
    assert _names(found) == [HEADERS]


@pytest.mark.parametrize("lacking", [HEADERS, COMMON])
def test_what_the_pool_lacks_is_named(shelf: Path, tmp_path: Path, lacking: str) -> None:
    if lacking != HEADERS:
        _put(shelf, HEADERS, "amd64", DEPENDS)
    with pytest.raises(HostError, match="neither Debian's suites nor") as caught:
        archive_pool.download([HEADERS], VERSION, ("linux-headers-",), tmp_path / "debs", tmp_path / "log")
    assert f" have {lacking} {VERSION} any more" in caught.value.message
    assert "nfharness kernels --all" in (caught.value.hint or "")


def test_a_pool_out_of_reach_is_another_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("NFHARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(archive, "mirror", lambda: ("http://127.0.0.1:1/debian", ""))
    with pytest.raises(HostError, match="downloading linux-headers") as caught:
        archive_pool.download([HEADERS], VERSION, ("linux-headers-",), tmp_path / "debs", tmp_path / "log")
    assert "check the network to 127.0.0.1, or set NFHARNESS_MIRROR to a Debian mirror that speaks https" in (caught.value.hint or "")
    assert not list((tmp_path / "debs").iterdir())


@pytest.mark.parametrize("mirror", ["https://mirror.example/debian", "http://mirror.example/debian"])
def test_nothing_unsigned_comes_over_anything_but_tls(monkeypatch: pytest.MonkeyPatch, mirror: str) -> None:
    monkeypatch.setattr(archive, "mirror", lambda: (mirror, ""))
    assert archive_pool.address() == "https://mirror.example/debian/pool/main/l/linux"
