"""Debian packages over the userland, for guests that ask for them: what installing them changes, as one read-only image.

apt resolves them against what the userland has; they are installed in a chroot, as their maintainers mean it: their scripts run there,
and services are not started. Kernels and templates know nothing of them: a guest gets the disk when it has been restored.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from harness.errors import HostError, UserError
from harness.host.paths import cache_dir
from harness.host.progress import Progress
from harness.host.store import building, read_record, remove_tree
from harness.images import archive
from harness.images.userland import SUITE, ext4_image, in_chroot, userland_path

__all__ = ("INSTALL", "installed", "is_current", "packages", "packages_path")

#: A shell script for a chroot: installs the packages that lie in ``/build/debs``. They bring all that they need, and nothing is started.
INSTALL = r"""
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get -q -y --no-install-recommends -o APT::Sandbox::User=root -o DPkg::Options::=--force-unsafe-io \
    -o DPkg::Options::=--force-confold install /build/debs/*.deb
rm -r /usr/sbin/policy-rc.d /build
"""
_SCRIPT = f"{INSTALL}rm -rf /var/cache/* /var/log/apt /tmp/*\n"
#: Directories for which a guest has separate file systems.
_NOT_TAKEN = ("dev", "proc", "run", "sys", "tmp")
_IMAGE, _RECORD = "packages.img", "packages.json"
#: Debian Policy 5.6.7; apt takes a ``-`` at the end for the wish to remove a package.
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+]")
_LONGEST = 80


def packages(names: Sequence[str], userland: Path, progress: Progress) -> Path | None:
    """The image with packages *names* and what they need, built if need be; ``None`` if the userland has them all.

    What was built stays as it is, as the userland does: a newer version in the archive is not looked for.

    :raises UserError: there is no such package, or it cannot be installed over the userland
    :raises HostError: no network, no room, or a package's own script failed
    """
    wanted = _checked(names)
    label = ", ".join(wanted)
    path = packages_path(wanted)
    with building(path, waiting=lambda: progress.note(f"waiting for another process to install {label}")) as new:
        if new:
            _build(new, wanted, userland, progress)
    if not installed(path):
        progress.note(f"{label}: the guest's userland has that already")
        return None
    return path / _IMAGE


def packages_path(names: Sequence[str]) -> Path:
    """Where the image of packages *names* is, or would be: over this very userland, with the versions that it has.

    :raises FileNotFoundError: there is no userland
    """
    wanted = sorted(set(names))
    status = (userland_path() / "root/var/lib/dpkg/status").read_bytes()
    digest = hashlib.sha256(repr((wanted, userland_path().name, SUITE, _SCRIPT)).encode() + status).hexdigest()[:12]
    return cache_dir() / "packages" / f"{','.join(wanted)[:_LONGEST]}_{digest}"


def is_current(path: Path) -> bool:
    """Whether the names that an image was built for would mean that very image now."""
    with suppress(HostError, FileNotFoundError):
        return packages_path(read_record(path / _RECORD)["asked"]) == path
    return False


def installed(path: Path) -> dict[str, str]:
    """The packages that an image has, with their versions.

    :raises HostError: its record is damaged
    """
    return dict(read_record(path / _RECORD)["installed"])


def _checked(names: Sequence[str]) -> list[str]:
    for name in names:
        if not _NAME.fullmatch(name):
            raise UserError(f"{name!r} is no name of a Debian package", hint="--with PACKAGE, once for each: --with jq --with ethtool")
    return sorted(set(names))


def _build(new: Path, wanted: Sequence[str], userland: Path, progress: Progress) -> None:
    label = ", ".join(wanted)
    tree, log = new / "tree", new / "build.log"
    try:
        archive.refresh(progress=progress)
        with progress.step(f"packages {label}: from Debian's archive", expected_s=8):
            debs = archive.download_for(userland / "root", SUITE, wanted, tree / "build/debs")
    except HostError as error:
        raise HostError(f"{label}: not in the cache, and not to be fetched: {error.message}", hint=error.hint) from None
    if debs:
        with progress.step(f"packages {label}: installing {len(debs)}", expected_s=8):
            in_chroot(userland / "root", tree, _SCRIPT, log, what=f"installing {label}", every_user=True)
            for leftover in (*(tree / name for name in _NOT_TAKEN), new / ".tree.merged", new / ".tree.work"):
                remove_tree(leftover)
            ext4_image(tree, new / _IMAGE, log, every_user=True)
    remove_tree(tree)
    record = {"asked": list(wanted), "installed": dict(map(_name_and_version, debs))}
    (new / _RECORD).write_text(json.dumps(record, indent=1))


def _name_and_version(deb: Path) -> tuple[str, str]:
    """``jq_1.7.1-6_amd64.deb``: apt writes what a file's name cannot have, as an epoch's colon, in percent."""
    name, version, _ = deb.name.split("_")
    return name, unquote(version)
