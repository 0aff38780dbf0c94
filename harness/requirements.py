"""What the host must have, each with why and the hint. Standard library only: the bootstrap reads it before anything is installed."""

from __future__ import annotations

import getpass
import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

__all__ = ("Requirement", "build_requirements", "found_no_network", "known_hint", "missing_packages", "requirements")

_NAMESPACE_HINT = (
    "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), kernel.unprivileged_userns_clone=1 (Debian), or use root; "
    "in a container, one that may mount (docker run --privileged)"
)
#: What a program says that has failed → what puts it right.
_HINTS = (
    ("cannot change root filesystem propagation",
     "this chroot's root is no mount point: outside, mount --bind DIR DIR, then chroot DIR"),
    ("DO NOT MATCH THE HASHES",
     "the package index served another file than requirements.lock names: try again, or name another index with PIP_INDEX_URL"),
    ("CERTIFICATE_VERIFY_FAILED", "apt-get install ca-certificates; where a proxy signs anew, name its certificate with PIP_CERT"),
    ("failed to execute mount", "apt-get install mount"),
    ("contains the PATH separator", "move the checkout to a directory without a colon in its path"),
    ("No space left on device", "make room on that disk"),
)  # fmt: skip
#: What apt and pip say that found no network.
_NO_NETWORK = ("Could not resolve", "Temporary failure", "name resolution", "Could not connect", "Unable to connect", "Connection ",
               "timed out", "Network is unreachable", "No route to host", "Err:", "Failed to fetch", "Release file", "Max retries",
               "No matching distribution found")  # fmt: skip


def known_hint(said: str) -> Optional[str]:  # noqa: UP045 - the bootstrap must at least parse on any Python 3, to say which one it wants
    """What puts right what a program that failed said, where that is known."""
    return next((hint for sign, hint in _HINTS if sign in said), None)


def found_no_network(said: str) -> bool:
    """Whether apt or pip failed for want of a network, by what they said."""
    return known_hint(said) is None and any(sign in said for sign in _NO_NETWORK)


@dataclass(frozen=True)
class Requirement:
    """One thing that the host must have.

    :param why: what it is needed for
    :param found: how it was found, or ``None``
    :param package: Debian package that brings it, if one does
    :param hint: what else puts it right
    """

    name: str
    why: str
    found: Optional[str]  # noqa: UP045
    package: Optional[str] = None  # noqa: UP045
    hint: str = ""


def _program(name: str, why: str, package: str) -> Requirement:
    return Requirement(name, why, _which(name), package)


def _programs(names: str, why: str, package: str) -> Requirement:
    """Several of one package: what is missing is named."""
    missing = [name for name in names.split() if not _which(name)]
    return Requirement(", ".join(missing or names.split()), why, None if missing else "there", package)


def _which(name: str) -> Optional[str]:  # noqa: UP045
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _file(path: str, why: str, package: str) -> Requirement:
    return Requirement(path, why, path if Path(path).exists() else None, package)


def requirements() -> list[Requirement]:
    """All requirements, each looked for now; that takes a few milliseconds."""
    found = [
        Requirement("apt-get", "kernels and the userland come from Debian's archive", shutil.which("apt-get"), None,
                    "use Debian 12 or later, or Ubuntu 24.04 or later"),
        _programs("apt-cache /usr/lib/apt/apt-helper", "reads the archive's indices, and fetches what they no longer list", "apt"),
        _program("qemu-system-x86_64", "runs the kernels", "qemu-system-x86"),
        _program("mmdebstrap", "builds the guest's userland", "mmdebstrap"),
        _file("/usr/share/keyrings/debian-archive-keyring.gpg", "verifies what is downloaded", "debian-archive-keyring"),
        _programs("mke2fs debugfs", "make disk images, and read them", "e2fsprogs"),
        _program("dpkg-deb", "unpacks kernel packages", "dpkg"),
        _program("tar", "unpacks the userland and kernels' selftests", "tar"),
        _program("xz", "unpacks kernels' selftests", "xz-utils"),
        _programs("setpriv unshare setsid", "end what we start with us, and keep builds and their mounts to themselves", "util-linux"),
        _program("mount", "joins the layers that builds work in", "mount"),
        _programs("chroot cp dd du env rm", "copy, measure and enter the trees of builds", "coreutils"),
        _program("sh", "runs the scripts of builds", "dash"),
        Requirement("python3 venv", "makes .venv", "ensurepip" if importlib.util.find_spec("ensurepip") else None, "python3-venv"),
        _namespaces(),
    ]  # fmt: skip
    if os.geteuid() != 0:
        found += [_program("newuidmap", "builds the userland without root", "uidmap"), _subordinate_users()]
    return found


def build_requirements(*, patches: bool = True) -> list[Requirement]:
    """What only building kernels, and reading what these say, needs.

    :param patches: what it needs for patches as well
    """
    why = "builds kernels"
    named = {"make": "make", "gcc": "gcc", "ld": "binutils", "flex": "flex", "bison": "bison", "bc": "bc", "perl": "perl",
             "pahole": "dwarves"} | ({"patch": "patch"} if patches else {})  # fmt: skip
    found = [_program(name, why, package) for name, package in named.items()]
    found.append(_programs("nm addr2line", "show lines of a tree's sources in its kernel's log", "binutils"))
    return [*found, _file("/usr/include/gelf.h", why, "libelf-dev"), _file("/usr/include/x86_64-linux-gnu/sys/types.h", why, "libc6-dev")]


def _namespaces() -> Requirement:
    """Whether we may mount in our own namespaces, as builds do; tried, as what forbids it has many names."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *user, "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        said = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1] if done.returncode else ""
    except OSError as error:
        said = f"{error.filename}: {error.strerror}"
    why = f"build in their own mounts{f'; now: {said}' if said else ''}"
    return Requirement("namespaces", why, None if said else "mounting in one works", None, known_hint(said) or _NAMESPACE_HINT)


def _subordinate_users() -> Requirement:
    """Looked up, not tried: trying needs newuidmap, which may be missing as well."""
    user, number = getpass.getuser(), str(os.getuid())
    lacking = [name for name in ("subuid", "subgid") if not _has_range(Path("/etc", name), (user, number))]
    hint = " ".join(f"--add-{name}s 100000-165535" for name in lacking)
    return Requirement(
        "subordinate users", "own the userland's files while it is built without root", None if lacking else "/etc/subuid, /etc/subgid",
        None, f"sudo usermod {hint} {user}",
    )  # fmt: skip


def _has_range(path: Path, owners: tuple[str, str]) -> bool:
    try:
        return any(line.startswith(tuple(f"{owner}:" for owner in owners)) for line in path.read_text().splitlines())
    except OSError:
        return False


def missing_packages(found: list[Requirement]) -> list[str]:
    """Debian packages that would bring what is missing."""
    return sorted({one.package for one in found if not one.found and one.package})
