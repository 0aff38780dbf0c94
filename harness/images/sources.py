"""Sources of Debian's kernels: the archive's package ``linux-source-6.12``, for a kernel's own tests and for builds."""

from __future__ import annotations

from pathlib import Path

from harness.host import process
from harness.host.progress import Progress
from harness.host.store import remove_tree
from harness.images import archive

__all__ = ("packages", "series", "unpack")

_PREFIX = "linux-source-"


def packages(series: str, progress: Progress) -> list[archive.Package]:
    """Every version of the package of a series' sources that the suites offer, oldest first; empty if there is none.

    :param series: ``6.12``
    :raises HostError: no indices at hand and no network
    """
    archive.refresh(progress=progress)
    name = _PREFIX + series
    return sorted((one for one in archive.packages([name]) if one.name == name), key=lambda one: one.sort_key)


def series() -> list[str]:
    """Series whose sources the archive has, from the indices at hand, oldest first."""
    found = (name.removeprefix(_PREFIX) for name in archive.names(_PREFIX))
    return sorted((one for one in found if one[:1].isdigit()), key=lambda one: [int(part) for part in one.split(".") if part.isdigit()])


def unpack(package: archive.Package, new: Path, log: Path, *, strip: int = 1, only: str = "") -> None:
    """Fetch a package and unpack its tarball into *new*; neither stays.

    :param strip: leading directories of each name in the tarball that are dropped
    :param only: pattern of the names that are wanted, as ``tar --wildcards`` has it
    :raises HostError: no network, or an archive that is not what the index says
    """
    debs, unpacked = new / ".debs", new / ".unpacked"
    (deb,) = archive.download([package], debs)
    process.run(process.bound(["dpkg-deb", "-x", str(deb), str(unpacked)]), what=f"unpacking {deb.name}", log=log, timeout=600)
    (tarball,) = (unpacked / "usr/src").glob("linux-source-*.tar.xz")
    command = ["tar", "-xJf", str(tarball), f"--strip-components={strip}", "--no-same-owner", *(["--wildcards", only] if only else [])]
    process.run(process.bound(command), what=f"unpacking {tarball.name}", log=log, timeout=900, cwd=new)
    for leftover in (debs, unpacked):
        remove_tree(leftover)
