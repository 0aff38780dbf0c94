"""Upstream's sources of a Debian package that the userland has: those of the very version, for the tests that come with them."""

from __future__ import annotations

import re
from pathlib import Path

from debian.deb822 import Deb822

from harness.errors import HostError
from harness.host import process
from harness.host.paths import cache_dir
from harness.host.progress import Progress
from harness.host.store import building, remove_tree
from harness.images import archive
from harness.images.userland import SUITE

__all__ = ("source_version", "sources", "sources_path")

#: A package that was only built again has the version of its sources and this (Debian Developer's Reference 5.10.2.1).
_REBUILT = re.compile(r"\+b\d+$")


def source_version(package: str, userland: Path) -> tuple[str, str]:
    """Name and version of the source package of a package that the userland has.

    :param userland: its directory
    :raises HostError: the userland lacks the package
    """
    with (userland / "root/var/lib/dpkg/status").open() as status:
        for paragraph in Deb822.iter_paragraphs(status):
            if paragraph["Package"] == package:
                name, _, version = paragraph.get("Source", package).partition(" ")
                return name, version.strip("()") or _REBUILT.sub("", paragraph["Version"])
    raise HostError(f"the guests' userland has no package {package}", hint="nfharness image build")


def sources_path(package: str, userland: Path) -> Path:
    """Where the sources of a package are, or would be.

    :raises HostError: the userland lacks the package
    """
    name, version = source_version(package, userland)
    return cache_dir() / "sources" / f"{name}_{version.replace(':', '%3a')}"


def sources(package: str, userland: Path, progress: Progress) -> Path:
    """The directory of upstream's sources of a package, fetched if need be. apt verifies them against Debian's signed index.

    :raises HostError: no network, or the archive has not got the sources of that version
    """
    name, version = source_version(package, userland)
    path = sources_path(package, userland)
    with building(path, waiting=lambda: progress.note(f"waiting for another process to fetch the sources of {name}")) as new:
        if new:
            with progress.step(f"sources of {name} {version}", expected_s=5):
                _fetch(name, version, new)
    return path / "upstream"


def _fetch(name: str, version: str, new: Path) -> None:
    files, upstream = new / ".files", new / "upstream"
    for directory in (files / "lists/partial", files / "cache/archives/partial", upstream):
        directory.mkdir(parents=True)
    (files / "status").touch()
    (files / "sources.list").write_text("".join(
        f"deb-src [signed-by={archive.KEYRING} check-valid-until=no] {address} {suite} main\n"
        for address, suite in zip(archive.mirror(), (SUITE, f"{SUITE}-security"), strict=True)))
    options = [part for key, value in {
        "Dir::Etc::sourcelist": files / "sources.list", "Dir::State::lists": files / "lists", "Dir::State::status": files / "status",
        "Dir::Cache": files / "cache"}.items() for part in ("-o", f"{key}={value}")]
    for what, words in ((f"asking Debian's archive for sources of {name}", ["-o", "APT::Update::Error-Mode=any", "update"]),
                        (f"downloading the sources of {name} {version}", ["source", "--tar-only", f"{name}={version}"])):
        command = ["env", "LC_ALL=C.UTF-8", "apt-get", *archive.options(), *options, "-q", *words]
        try:
            process.run(process.bound(command), what=what, log=new / "fetch.log", timeout=900, cwd=files)
        except process.ProgramFailed as error:
            if "404" in error.output or "Unable to find a source package" in error.output:
                message = f"{archive.mirror()[0]} has not got the sources of {name} {version}"
                hint = f"set NFHARNESS_MIRROR to another Debian mirror, or name a directory with the sources: --source ~/{name}"
                raise HostError(message, hint=hint) from None
            raise HostError(error.message, hint=archive.hint(error)) from None
    (tarball,) = (one for one in files.glob(f"{name}_*.orig.tar.*") if one.suffix != ".asc")
    process.run(process.bound(["tar", "-xf", str(tarball), "--strip-components=1", "--no-same-owner"]),
                what=f"unpacking {tarball.name}", log=new / "fetch.log", timeout=600, cwd=upstream)
    remove_tree(files)
