"""What the host must have, each with why and the mend. Standard library only: the bootstrap reads it before anything is installed."""

from __future__ import annotations

import getpass
import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

__all__ = ("Requirement", "missing_packages", "requirements")


@dataclass(frozen=True)
class Requirement:
    """One thing that the host must have.

    :param why: what it is needed for
    :param found: how it was found, or ``None``
    :param package: Debian package that brings it, if one does
    :param mend: what else puts it right
    """

    name: str
    why: str
    found: Optional[str]  # noqa: UP045 - the bootstrap must at least parse on any Python 3, to say which one it wants
    package: Optional[str] = None  # noqa: UP045
    mend: str = ""


def _program(name: str, why: str, package: str) -> Requirement:
    return Requirement(name, why, shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"), package)


def _file(path: str, why: str, package: str) -> Requirement:
    return Requirement(path, why, path if Path(path).exists() else None, package)


def requirements() -> list[Requirement]:
    """Everything, looked for now. Costs a few milliseconds."""
    found = [
        Requirement("apt-get", "kernels and the userland come from Debian's archive", shutil.which("apt-get"), None,
                    "use Debian 12 or later, or Ubuntu 24.04 or later"),
        _program("qemu-system-x86_64", "runs the kernels", "qemu-system-x86"),
        _program("mmdebstrap", "builds the guest's userland", "mmdebstrap"),
        _file("/usr/share/keyrings/debian-archive-keyring.gpg", "verifies what is downloaded", "debian-archive-keyring"),
        _program("mke2fs", "makes disk images", "e2fsprogs"),
        _program("dpkg-deb", "unpacks kernel packages", "dpkg"),
        _program("setpriv", "ties QEMU's life to ours", "util-linux"),
        _program("unshare", "keeps builds and their mounts to themselves", "util-linux"),
        Requirement("python3 venv", "makes .venv", "ensurepip" if importlib.util.find_spec("ensurepip") else None, "python3-venv"),
    ]  # fmt: skip
    if os.geteuid() != 0:
        found += [_program("newuidmap", "builds the userland without root", "uidmap"), _user_namespaces(), _subordinate_users()]
    return found


def _user_namespaces() -> Requirement:
    works = _can_unshare()
    return Requirement(
        "user namespaces",
        "build without root",
        "an unprivileged mount works" if works else None,
        None,
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), kernel.unprivileged_userns_clone=1 (Debian), or use root",
    )


def _subordinate_users() -> Requirement:
    """Looked up, not tried: trying needs newuidmap, which may be missing as well."""
    user, number = getpass.getuser(), str(os.getuid())
    lacking = [name for name in ("subuid", "subgid") if not _has_range(Path("/etc", name), (user, number))]
    mend = " ".join(f"--add-{name}s 100000-165535" for name in lacking)
    return Requirement(
        "subordinate users", "own the userland's files while it is built without root", None if lacking else "/etc/subuid, /etc/subgid",
        None, f"sudo usermod {mend} {user}",
    )  # fmt: skip


def _has_range(path: Path, owners: tuple[str, str]) -> bool:
    try:
        return any(line.startswith(tuple(f"{owner}:" for owner in owners)) for line in path.read_text().splitlines())
    except OSError:
        return False


def _can_unshare() -> bool:
    """Whether an unprivileged user may mount in namespaces of its own."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def missing_packages(found: list[Requirement]) -> list[str]:
    """Debian packages that would bring what is missing."""
    return sorted({one.package for one in found if not one.found and one.package})
