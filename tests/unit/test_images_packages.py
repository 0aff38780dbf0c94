"""Packages over the userland: built once for a set of names, whole or not at all, with a reason where they cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.errors import HostError, UserError
from harness.host.progress import Progress
from harness.images import archive, packages
from harness.images.userland import userland_path

_QUIET = Progress(quiet=True)


class _World:
    """A userland and an archive, without a network and without a chroot.

    :ivar asked: what the archive was asked for, each time
    :ivar debs: what it has then
    :ivar error: what it raises instead
    """

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.debs = ["jq_1.7.1-6_amd64.deb", "libonig5_1%3a6.9.9-1_amd64.deb"]
        self.error: Exception | None = None
        self.status = userland_path() / "root/var/lib/dpkg/status"
        self.status.parent.mkdir(parents=True)
        self.status.write_text("Package: libc6\nVersion: 2.41-12\n")

    def download_for(self, root: Path, _suite: str, wanted: Sequence[str], directory: Path) -> list[Path]:
        assert root == userland_path() / "root"
        self.asked.append(list(wanted))
        if self.error:
            raise self.error
        return [directory / name for name in self.debs]

    def in_chroot(self, _root: Path, tree: Path, script: str, *_: object, **_named: object) -> None:
        assert "install /build/debs/*.deb" in script
        for place in ("usr/bin", "etc", "run", "tmp"):
            (tree / place).mkdir(parents=True)

    def ext4_image(self, tree: Path, image: Path, *_: object, **_named: object) -> None:
        image.write_text(" ".join(sorted(path.name for path in tree.iterdir())))

    def packages(self, *names: str) -> Path | None:
        return packages.packages(names, userland_path(), _QUIET)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _World:
    monkeypatch.setenv("NFHARNESS_CACHE", str(tmp_path / "cache"))
    made = _World()
    monkeypatch.setattr(archive, "refresh", lambda **_: None)
    monkeypatch.setattr(archive, "download_for", made.download_for)
    monkeypatch.setattr(packages, "in_chroot", made.in_chroot)
    monkeypatch.setattr(packages, "ext4_image", made.ext4_image)
    return made


def test_an_image_has_what_installing_changes_but_for_what_a_guest_mounts(world: _World) -> None:
    image = world.packages("jq")
    assert image
    assert image.read_text() == "etc usr"
    assert packages.installed(image.parent) == {"jq": "1.7.1-6", "libonig5": "1:6.9.9-1"}
    assert not (image.parent / "tree").exists()


def test_a_set_of_names_is_built_once_in_whatever_order(world: _World) -> None:
    assert world.packages("jq", "ethtool") == world.packages("ethtool", "jq", "jq")
    assert world.asked == [["ethtool", "jq"]]


def test_another_set_and_another_userland_are_other_images(world: _World) -> None:
    paths = [packages.packages_path(names) for names in (["jq"], ["jq", "ethtool"])]
    world.status.write_text("Package: libc6\nVersion: 2.41-13\n")
    paths.append(packages.packages_path(["jq"]))
    assert len(set(paths)) == 3


def test_what_the_userland_has_needs_no_image_and_is_looked_up_once(world: _World) -> None:
    world.debs = []
    assert world.packages("nftables") is None
    assert world.packages("nftables") is None
    assert world.asked == [["nftables"]]


@pytest.mark.parametrize("name", ["", "-y", "jq-", "jq=1", "./jq", "JQ", "a b"])
def test_what_is_no_name_is_not_given_to_apt(world: _World, name: str) -> None:
    with pytest.raises(UserError, match="is no name of a Debian package"):
        world.packages("ethtool", name)
    assert not world.asked


def test_without_a_network_it_is_told_that_the_cache_has_it_not(world: _World) -> None:
    world.error = HostError("downloading jq failed (exit 100): Err:1 …", hint="check the network")
    with pytest.raises(HostError, match=r"^jq: not in the cache, and not to be fetched: downloading jq failed") as caught:
        world.packages("jq")
    assert caught.value.hint == "check the network"


@pytest.mark.parametrize("error", [UserError("trixie has no package jq"), OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_of_what_was_not_finished(world: _World, error: BaseException) -> None:
    world.error = error  # type: ignore[assignment]
    with pytest.raises(type(error) if not isinstance(error, OSError) else HostError):
        world.packages("jq")
    assert not [path for path in packages.packages_path(["jq"]).parent.iterdir() if path.is_dir()]


def test_an_image_is_current_while_its_names_mean_it(world: _World) -> None:
    image = world.packages("jq")
    assert image
    assert packages.is_current(image.parent)
    world.status.write_text("another\n")
    assert not packages.is_current(image.parent)
    (image.parent / "packages.json").unlink()
    assert not packages.is_current(image.parent)
