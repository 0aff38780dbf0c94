"""Which files of a directory are tests, what guests are given of it, and whose sources are fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HostError, UserError
from harness.images import suites
from harness.images.suites import KNOWN, Suite, copied, found
from harness.images.upstream import source_version


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "suite"
    for name, mode in (("run.sh", 0o755), ("cases/a_0", 0o755), ("cases/deep/b_1", 0o755), ("cases/data.nft", 0o644), (".hidden", 0o755)):
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("#!/bin/sh\n")
        file.chmod(mode)
    return place


def test_executable_files_are_tests(directory: Path) -> None:
    assert found(directory, Suite()) == ["cases/a_0", "cases/deep/b_1", "run.sh"]
    assert found(directory, Suite(tests=("cases/*",))) == ["cases/a_0", "cases/deep/b_1"]
    assert found(directory, Suite(runner=("run.sh", "--host"))) == ["cases/a_0", "cases/deep/b_1"]


def test_a_directory_without_a_test_says_what_one_is(directory: Path) -> None:
    with pytest.raises(UserError, match="has no executable file that nothing/\\* matches") as raised:
        found(directory, Suite(tests=("nothing/*",)))
    assert "chmod +x" in str(raised.value.hint)


def test_guests_get_what_is_not_hidden_with_its_modes_and_what_links_lead_to(directory: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.sh"
    outside.write_text("said\n")
    (directory / "link").symlink_to(outside)
    (directory / "loop").symlink_to(directory)
    (directory / "gone").symlink_to(tmp_path / "nothing")
    copied(directory, tmp_path / "copy")
    got = sorted(str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*") if path.is_file())
    assert got == ["cases/a_0", "cases/data.nft", "cases/deep/b_1", "link", "run.sh"]
    assert (tmp_path / "copy/link").read_text() == "said\n"
    assert (tmp_path / "copy/cases/a_0").stat().st_mode & 0o111


def test_a_directory_that_is_too_large_is_refused_before_it_is_copied(directory: Path, tmp_path: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "_LIMIT", 4)
    with pytest.raises(UserError, match="guests are given all of it"):
        copied(directory, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_the_sources_are_those_of_the_userlands_version(tmp_path: Path) -> None:
    status = tmp_path / "root/var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.write_text("Package: nftables\nVersion: 1.1.3-1+b2\n\n"
                      "Package: libxtables12\nSource: iptables (1.8.11-2)\nVersion: 1.8.11-2+b1\n\n"
                      "Package: plain\nSource: other\nVersion: 2-1\n")
    assert source_version("nftables", tmp_path) == ("nftables", "1.1.3-1")
    assert source_version("libxtables12", tmp_path) == ("iptables", "1.8.11-2")
    assert source_version("plain", tmp_path) == ("other", "2-1")
    with pytest.raises(HostError, match="has no package nothing"):
        source_version("nothing", tmp_path)


def test_every_suite_with_a_name_says_whose_it_is_and_shares_guests_only_with_a_runner() -> None:
    assert all(suite.package and suite.runner for suite in KNOWN.values())
